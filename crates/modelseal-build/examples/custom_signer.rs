//! Seals a model with a key that modelseal never sees, as a key service or a hardware token holds it.
//!
//! ```sh
//! cargo run -p modelseal-build --example custom_signer -- PROJECT ARCHIVE
//! ```

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use modelseal_build::recipe::Recipe;
use modelseal_build::run::{Confinement, Scope};
use modelseal_build::{Options, build};
use modelseal_format::sign::{PublicKey, Signer};
use modelseal_verify::trust::TrustedSigner;
use modelseal_verify::{Target, verify};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::EncodePublicKey;

/// Stands for the client of your key service.
struct KeyService(SigningKey);

impl KeyService {
    fn new() -> Result<Self, Box<dyn Error>> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        Ok(Self(SigningKey::from_slice(&secret)?))
    }

    fn public_key(&self) -> Result<PublicKey, Box<dyn Error>> {
        let der = self.0.verifying_key().to_public_key_der()?;
        Ok(PublicKey::from_der(der.as_bytes(), "of the key service")?)
    }

    /// ECDSA over the SHA-256 of the message, in DER.
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.0.sign(message);
        signature.to_der().as_bytes().to_vec()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [project, archive] = &arguments[..] else {
        return Err("usage: custom_signer PROJECT ARCHIVE".into());
    };
    let service = Arc::new(KeyService::new()?);
    let public_key = service.public_key()?;

    // Called when no command of the recipe runs any more. modelseal checks each signature before it uses it.
    let mut open_key = || {
        let service = Arc::clone(&service);
        let sign = move |message: &[u8]| Ok(service.sign(message));
        Ok(Signer::elsewhere(public_key.clone(), "the key service".to_string(), Box::new(sign)))
    };
    let recipe = Recipe::load(Path::new(project))?;
    let confinement = Confinement::new(Scope::new(project))?;
    let mut options = Options::new(&confinement);
    options.output = Some(archive.into());
    let built = build(&recipe, &mut open_key, &options)?;
    println!("sealed {} {} as sha256:{}", built.model.name, built.model.version, built.release);

    let signers = [TrustedSigner::key("service", "the key service", public_key)];
    let verified = verify(&Target::Path(built.archive), &modelseal_verify::Options::new(&signers))?;
    println!("{}", verified.report().summary());
    Ok(())
}
