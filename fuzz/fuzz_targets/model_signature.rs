//! Any bytes as another tool's bundle, and as the content of a model signature. Reading never panics, and no path leads
//! out of the model.
#![no_main]

use libfuzzer_sys::fuzz_target;
use modelseal_verify::oms::ModelStatement;
use modelseal_format::sign::{Material, read_foreign};
use modelseal_verify::trust::check_chain;

fuzz_target!(|bytes: &[u8]| {
    let payload = match read_foreign(bytes) {
        Ok(bundle) => {
            if let Material::Certificates(chain) = &bundle.material {
                let _ = check_chain(chain, None);
            }
            bundle.payload.unwrap_or_default()
        }
        Err(_) => bytes.to_vec(),
    };
    let _ = check_chain(&[payload.clone()], None);
    if let Ok(statement) = ModelStatement::read(&payload) {
        for path in statement.files() {
            assert!(path == "." || path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{path}");
        }
    }
});
