//! What signs: a private key at hand or elsewhere, and the certificates that speak for it.

use super::bundle::Material;
use super::{KeyError, PrivateKey, PublicKey, dsse};
use crate::canonical::Canonical;
use crate::manifest::PAYLOAD_TYPE;

/// Signs a message with a key that modelseal never sees: the DSSE pre-authentication encoding in, a signature
/// out, in DER or as `r` and `s` one after the other.
pub type SignElsewhere = Box<dyn Fn(&[u8]) -> Result<Vec<u8>, KeyError>>;

/// Signs seals.
pub struct Signer {
    key: Key,
    public: PublicKey,
    /// In DER, the signer's own first; empty: the verifier has the key.
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
    /// A key that somebody else holds; every signature is checked before it is used.
    pub fn elsewhere(public: PublicKey, shown: String, sign: SignElsewhere) -> Self {
        Self { key: Key::Elsewhere { sign, shown }, public, certificates: Vec::new() }
    }

    /// The certificate of this key, and those that lead to its root, each followed by its issuer's.
    #[must_use]
    pub fn with_certificates(self, certificates: Vec<Vec<u8>>) -> Self {
        Self { certificates, ..self }
    }

    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// What its bundles offer to those who check them.
    pub fn material(&self) -> Material {
        match self.certificates.is_empty() {
            true => Material::Key { hint: Some(self.public.hint().to_string()) },
            false => Material::Certificates(self.certificates.clone()),
        }
    }

    /// Signs an in-toto payload as DSSE, in the one form in which we write signatures.
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
            .ok_or_else(|| wrong("what it printed is not a signature by this kind of key"))?;
        self.public.verify(payload, &signature).map_err(|_| {
            wrong("its signature is not by the key that `--key` names, or over something else")
        })?;
        Ok(signature)
    }
}
