//! An admission check for Kubernetes: a pod is admitted if the policy accepts the release that its annotation names.
//!
//! It reads an `AdmissionReview` from standard input and prints the answer. Put it behind the HTTPS server of your
//! webhook. Archives are in a directory, each named by the hexadecimal digits of its release.
//!
//! ```sh
//! cargo run -p modelseal-verify --example admission -- gate.toml releases < review.json
//! ```

use std::error::Error;
use std::io::Read;
use std::path::Path;

use modelseal_format::digest::Digest;
use modelseal_verify::policy::Policy;
use modelseal_verify::{Options, Target, verify};
use serde_json::{Value, json};

/// The annotation of a pod with the release digest, as `modelseal show --format env` prints it.
const ANNOTATION: &str = "modelseal.example.com/release";

/// No review is longer, in bytes: etcd stores no larger objects.
const LONGEST_REVIEW: u64 = 3 << 20;

/// Why a pod is not admitted, or its release.
fn judge(pod: &Value, policy: &Policy, releases: &Path) -> Result<Digest, String> {
    let named = pod["metadata"]["annotations"][ANNOTATION].as_str();
    let named = named.ok_or_else(|| format!("the pod has no annotation `{ANNOTATION}`"))?;
    let release: Digest = named
        .strip_prefix("sha256:")
        .and_then(|hex| hex.parse().ok())
        .ok_or_else(|| format!("the annotation `{ANNOTATION}` is not `sha256:` and 64 hexadecimal digits"))?;
    let signers = policy.signers().map_err(|error| error.to_string())?;
    let mut options = Options::new(&signers);
    options.policy = Some(policy);
    // The archive is named by a digest that was parsed, so its path leads nowhere else.
    options.release = Some(release);
    let archive = releases.join(format!("{release}.tar"));
    let verified = verify(&Target::Path(archive), &options).map_err(|error| error.to_string())?;
    match verified.accepted() {
        Some(release) => Ok(release.digest()),
        None => Err(verified.report().summary()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [policy, releases] = &arguments[..] else {
        return Err("usage: admission POLICY DIRECTORY < REVIEW".into());
    };
    let mut text = String::new();
    std::io::stdin().take(LONGEST_REVIEW).read_to_string(&mut text)?;
    let review: Value = serde_json::from_str(&text)?;
    let policy = Policy::load(Path::new(policy))?;
    let judged = judge(&review["request"]["object"], &policy, Path::new(releases));
    let mut response = json!({ "uid": review["request"]["uid"], "allowed": judged.is_ok() });
    if let Err(reason) = judged {
        response["status"] = json!({ "code": 403, "message": reason });
    }
    let answer =
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response });
    println!("{answer}");
    Ok(())
}
