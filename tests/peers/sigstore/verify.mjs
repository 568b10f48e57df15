// Verifies a bundle by a key: node verify.mjs BUNDLE KEY.pub. Exits with 0 only if the signature is right.
import crypto from 'node:crypto';
import fs from 'node:fs';
import { bundleFromJSON } from '@sigstore/bundle';
import { Verifier, toSignedEntity, toTrustMaterial } from '@sigstore/verify';

const [file, pem] = process.argv.slice(2);
const publicKey = crypto.createPublicKey(fs.readFileSync(pem));
const bundle = bundleFromJSON(JSON.parse(fs.readFileSync(file)));
const trusted = toTrustMaterial(
  { mediaType: '', tlogs: [], certificateAuthorities: [], ctlogs: [], timestampAuthorities: [] },
  () => ({ publicKey, validFor: () => true }),
);
new Verifier(trusted, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 })
  .verify(toSignedEntity(bundle));
