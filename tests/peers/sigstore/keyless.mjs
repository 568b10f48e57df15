// Signs in-toto statements as an identity: the client of sigstore-js, with an authority and logs of its
// own, in this process. Nothing reaches the network.
//
//   node keyless.mjs OUTPUT_DIRECTORY IDENTITY ISSUER STATEMENT...
//
// Writes trusted_root.json, and for each statement NAME.sigstore.json.
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import nock from 'nock';
import { DSSEBundleBuilder, FulcioSigner, RekorWitness } from '@sigstore/sign';
import { bundleToJSON } from '@sigstore/bundle';
import {
  fulcioHandler, initializeCA, initializeCTLog, initializeTLog, rekorHandler,
} from '@sigstore/mock';

const [output, identity, issuer, ...statements] = process.argv.slice(2);
const urls = { fulcio: 'https://fulcio.test', rekor: 'https://rekor.test' };
nock.disableNetConnect();

const pair = () => crypto.generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const start = new Date(Date.now() - 60_000);
const ctlog = await initializeCTLog(pair());
const ca = await initializeCA(pair(), ctlog);
const tlog = await initializeTLog(urls.rekor, pair());

// What Rekor writes down of a proposed `dsse` entry: hashes, signatures and who can check them.
const sha256 = (bytes) => ({ algorithm: 'sha256', value: crypto.createHash('sha256').update(bytes).digest('hex') });
const write = tlog.log.bind(tlog);
tlog.log = (entry) => {
  const { envelope, verifiers } = entry.spec.proposedContent;
  const { payload, signatures } = JSON.parse(envelope);
  return write({
    apiVersion: entry.apiVersion,
    kind: entry.kind,
    spec: {
      envelopeHash: sha256(envelope),
      payloadHash: sha256(Buffer.from(payload, 'base64')),
      signatures: signatures.map(({ sig }) => ({ signature: sig, verifier: verifiers[0] })),
    },
  });
};

const serve = (url, handler) =>
  nock(url).persist().post(handler.path).reply(async (_, body) => {
    const answer = await handler.fn(typeof body === 'string' ? body : JSON.stringify(body));
    return [answer.statusCode, answer.response, { 'Content-Type': answer.contentType || 'text/plain' }];
  });
serve(urls.fulcio, fulcioHandler(ca, {}));
serve(urls.rekor, rekorHandler(tlog, {}));

const encode = (claims) => Buffer.from(JSON.stringify(claims)).toString('base64url');
const token = `${encode({ alg: 'none' })}.${encode({ sub: identity, iss: issuer })}.`;
const builder = new DSSEBundleBuilder({
  signer: new FulcioSigner({
    fulcioBaseURL: urls.fulcio,
    identityProvider: { getToken: async () => token },
  }),
  witnesses: [new RekorWitness({ rekorBaseURL: urls.rekor, entryType: 'dsse' })],
});

for (const statement of statements) {
  const bundle = await builder.create({
    data: fs.readFileSync(statement),
    type: 'application/vnd.in-toto+json',
  });
  const name = path.basename(statement, '.json') + '.sigstore.json';
  fs.writeFileSync(path.join(output, name), JSON.stringify(bundleToJSON(bundle)));
}

const log = (key, id) => ({
  baseUrl: urls.rekor,
  hashAlgorithm: 'SHA2_256',
  publicKey: {
    rawBytes: key.toString('base64'),
    keyDetails: 'PKIX_ECDSA_P256_SHA_256',
    validFor: { start: start.toISOString() },
  },
  logId: { keyId: id.toString('base64') },
});
const authority = (uri, certificate) => ({
  subject: { organization: 'sigstore.mock', commonName: 'sigstore' },
  uri,
  certChain: { certificates: [{ rawBytes: certificate.toString('base64') }] },
  validFor: { start: start.toISOString() },
});
fs.writeFileSync(
  path.join(output, 'trusted_root.json'),
  JSON.stringify({
    mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
    tlogs: [log(tlog.publicKey, crypto.createHash('sha256').update(tlog.publicKey).digest())],
    certificateAuthorities: [authority(urls.fulcio, ca.rootCertificate)],
    ctlogs: [log(ctlog.publicKey, ctlog.logID)],
    timestampAuthorities: [],
  }),
);
