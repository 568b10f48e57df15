//! A signer: a private key in memory or elsewhere, and its certificates.

use super::{KeyError, KeySource, Material, PrivateKey, PublicKey, dsse, read_private_key};
use crate::canonical::Canonical;
use crate::manifest::PAYLOAD_TYPE;

/// Signs a message with a key that modelseal never sees. The input is the DSSE pre-authentication encoding. The output
/// is a signature in DER, or `r` followed by `s`.
pub type SignElsewhere = Box<dyn Fn(&[u8]) -> Result<Vec<u8>, KeyError>>;

/// Signs seals.
pub struct Signer {
    key: Key,
    public: PublicKey,
    /// In DER, the signer's own certificate first. Empty if the verifier has the key.
    certificates: Vec<Vec<u8>>,
}

enum Key {
    AtHand(PrivateKey),
    Elsewhere {
        sign: SignElsewhere,
        /// Names the key in errors.
        shown: String,
    },
}

impl From<PrivateKey> for Signer {
    fn from(key: PrivateKey) -> Self {
        let public = key.public_key();
        Self { key: Key::AtHand(key), public, certificates: Vec::new() }
    }
}

impl Signer {
    /// Reads a private key that no password protects. For others, see [`read_private_key`].
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(source: &KeySource) -> Result<Self, KeyError> {
        read_private_key(source, &mut |_| Ok(None)).map(Self::from)
    }

    /// A key that an external program or service holds. Every signature is verified before it is used.
    pub fn elsewhere(public: PublicKey, shown: String, sign: SignElsewhere) -> Self {
        Self { key: Key::Elsewhere { sign, shown }, public, certificates: Vec::new() }
    }

    /// Adds the certificate of this key and those that lead to its root. Each certificate is followed by its issuer's.
    #[must_use]
    pub fn with_certificates(self, certificates: Vec<Vec<u8>>) -> Self {
        Self { certificates, ..self }
    }

    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// What its bundles provide to verifiers.
    pub fn material(&self) -> Material {
        match self.certificates.is_empty() {
            true => Material::Key { hint: Some(self.public.hint().to_string()) },
            false => Material::Certificates(self.certificates.clone()),
        }
    }

    /// Signs an in-toto payload as DSSE, in the one signature form that modelseal writes.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn sign(&self, payload: &impl Canonical) -> Result<Vec<u8>, KeyError> {
        let (sign, shown) = match &self.key {
            Key::AtHand(key) => return key.sign(payload),
            Key::Elsewhere { sign, shown } => (sign, shown),
        };
        let answer = sign(&dsse::pre_authentication_encoding(PAYLOAD_TYPE, payload))?;
        let wrong = |reason: &str| KeyError::Signer { key: shown.clone(), reason: reason.to_string() };
        let signature = self
            .public
            .canonical_signature(&answer)
            .ok_or_else(|| wrong("its output is not a signature by this kind of key"))?;
        self.public
            .verify(payload, &signature)
            .map_err(|_| wrong("its signature is by another key, or over other data"))?;
        Ok(signature)
    }
}
