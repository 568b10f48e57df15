//! Verifies the signatures of certificates, logs and timestamps, with the same pure Rust cryptography as everything
//! else: ECDSA on the three NIST curves, Ed25519 and RSA.

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::traits::PublicKeyParts as _;
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A signature scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Ecdsa(Curve, Hash),
    Ed25519,
    RsaPkcs1(Hash),
    RsaPss(Hash),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(super) fn of(self, message: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha256 => Sha256::digest(message).to_vec(),
            Hash::Sha384 => Sha384::digest(message).to_vec(),
            Hash::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}

/// RSA keys below 2048 bits can be factored. Keys above 8192 bits only cost time.
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;

/// Whether the signature over a message is valid. `key` is the content of a `subjectPublicKey`.
pub(super) fn verify(scheme: Scheme, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    match scheme {
        Scheme::Ecdsa(_, hash) | Scheme::RsaPkcs1(hash) | Scheme::RsaPss(hash) => {
            verify_hashed(scheme, key, &hash.of(message), signature)
        }
        Scheme::Ed25519 => {
            let key = <[u8; 32]>::try_from(key).ok();
            let key = key.and_then(|key| ed25519_dalek::VerifyingKey::from_bytes(&key).ok());
            let signature = ed25519_dalek::Signature::from_slice(signature).ok();
            key.zip(signature).is_some_and(|(key, signature)| key.verify_strict(message, &signature).is_ok())
        }
    }
}

/// Like [`verify`], over the hash of a message. Ed25519 does not sign hashes.
pub(super) fn verify_hashed(scheme: Scheme, key: &[u8], hash: &[u8], signature: &[u8]) -> bool {
    macro_rules! ecdsa {
        ($curve:ident, $size:literal) => {{
            let key = $curve::ecdsa::VerifyingKey::from_sec1_bytes(key).ok();
            let signature = $curve::ecdsa::Signature::from_der(signature).ok();
            // Padded to the width of the curve: a shorter hash is a smaller number.
            let mut wide = vec![0; usize::saturating_sub($size, hash.len())];
            wide.extend_from_slice(hash);
            key.zip(signature).is_some_and(|(key, signature)| key.verify_prehash(&wide, &signature).is_ok())
        }};
    }
    match scheme {
        Scheme::Ecdsa(Curve::P256, _) => ecdsa!(p256, 32),
        Scheme::Ecdsa(Curve::P384, _) => ecdsa!(p384, 48),
        Scheme::Ecdsa(Curve::P521, _) => ecdsa!(p521, 66),
        Scheme::Ed25519 => false,
        Scheme::RsaPkcs1(algorithm) => rsa_key(key).is_some_and(|key| {
            let Ok(signature) = rsa::pkcs1v15::Signature::try_from(signature) else { return false };
            match algorithm {
                Hash::Sha256 => {
                    rsa::pkcs1v15::VerifyingKey::<Sha256>::new(key).verify_prehash(hash, &signature)
                }
                Hash::Sha384 => {
                    rsa::pkcs1v15::VerifyingKey::<Sha384>::new(key).verify_prehash(hash, &signature)
                }
                Hash::Sha512 => {
                    rsa::pkcs1v15::VerifyingKey::<Sha512>::new(key).verify_prehash(hash, &signature)
                }
            }
            .is_ok()
        }),
        Scheme::RsaPss(algorithm) => rsa_key(key).is_some_and(|key| {
            let Ok(signature) = rsa::pss::Signature::try_from(signature) else { return false };
            match algorithm {
                Hash::Sha256 => rsa::pss::VerifyingKey::<Sha256>::new(key).verify_prehash(hash, &signature),
                Hash::Sha384 => rsa::pss::VerifyingKey::<Sha384>::new(key).verify_prehash(hash, &signature),
                Hash::Sha512 => rsa::pss::VerifyingKey::<Sha512>::new(key).verify_prehash(hash, &signature),
            }
            .is_ok()
        }),
    }
}

fn rsa_key(key: &[u8]) -> Option<rsa::PublicKey> {
    let key = rsa::PublicKey::from_pkcs1_der(key).ok()?;
    RSA_BITS.contains(&key.n().bit_width()).then_some(key)
}

/// One combination of key and signature algorithm for certificates.
#[derive(Debug)]
struct Algorithm {
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    scheme: Scheme,
}

impl SignatureVerificationAlgorithm for Algorithm {
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }

    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        verify(self.scheme, key, message, signature).then_some(()).ok_or(InvalidSignature)
    }
}

const fn ecdsa(curve: Curve, hash: Hash) -> Algorithm {
    let key = match curve {
        Curve::P256 => alg_id::ECDSA_P256,
        Curve::P384 => alg_id::ECDSA_P384,
        Curve::P521 => alg_id::ECDSA_P521,
    };
    let signature = match hash {
        Hash::Sha256 => alg_id::ECDSA_SHA256,
        Hash::Sha384 => alg_id::ECDSA_SHA384,
        Hash::Sha512 => alg_id::ECDSA_SHA512,
    };
    Algorithm { key, signature, scheme: Scheme::Ecdsa(curve, hash) }
}

const fn rsa(signature: AlgorithmIdentifier, scheme: Scheme) -> Algorithm {
    Algorithm { key: alg_id::RSA_ENCRYPTION, signature, scheme }
}

/// Every accepted combination of key and signature algorithm for certificates.
pub(super) static ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 16] = [
    &ecdsa(Curve::P256, Hash::Sha256),
    &ecdsa(Curve::P256, Hash::Sha384),
    &ecdsa(Curve::P256, Hash::Sha512),
    &ecdsa(Curve::P384, Hash::Sha256),
    &ecdsa(Curve::P384, Hash::Sha384),
    &ecdsa(Curve::P384, Hash::Sha512),
    &ecdsa(Curve::P521, Hash::Sha256),
    &ecdsa(Curve::P521, Hash::Sha384),
    &ecdsa(Curve::P521, Hash::Sha512),
    &Algorithm { key: alg_id::ED25519, signature: alg_id::ED25519, scheme: Scheme::Ed25519 },
    &rsa(alg_id::RSA_PKCS1_SHA256, Scheme::RsaPkcs1(Hash::Sha256)),
    &rsa(alg_id::RSA_PKCS1_SHA384, Scheme::RsaPkcs1(Hash::Sha384)),
    &rsa(alg_id::RSA_PKCS1_SHA512, Scheme::RsaPkcs1(Hash::Sha512)),
    &rsa(alg_id::RSA_PSS_SHA256, Scheme::RsaPss(Hash::Sha256)),
    &rsa(alg_id::RSA_PSS_SHA384, Scheme::RsaPss(Hash::Sha384)),
    &rsa(alg_id::RSA_PSS_SHA512, Scheme::RsaPss(Hash::Sha512)),
];

#[cfg(test)]
mod tests;
