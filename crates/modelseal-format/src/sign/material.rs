//! What comes with a signature.

/// What a bundle provides for checking its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// A key that the verifier must have. The hint is the SHA-256 of its PEM text in hex, as modelseal and OMS name it,
    /// or another tool's name for it, or absent. It is only ever compared.
    Key { hint: Option<String> },
    /// The signer's certificate first, in DER, then the issuer of each.
    Certificates(Vec<Vec<u8>>),
    /// A short-lived certificate of an identity, in DER, with entries of a transparency log.
    Identity {
        certificate: Vec<u8>,
        /// The text of the bundle as it was read.
        whole: Vec<u8>,
    },
}

/// Which encodings of a signature and its bundle are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The one that modelseal writes. The signature is in DER, with the lower of the two possible S.
    Canonical,
    /// Any that other tools write. The signature is in DER.
    Foreign,
}
