//! A strict policy from a good release: everything that its evidence can show is demanded.

use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use jiff::Timestamp;

use super::super::Talk;
use super::super::failure::Hinted;
use super::super::output::{print, say};
use super::super::progress::context;
use super::super::trusting::{Named, Trusting};
use super::super::verify::print_report;
use crate::cli::arguments::Format;
use modelseal_format::archive::write_new;
use modelseal_format::manifest::{Basis, Byproduct, DataEvidence, Statement};
use modelseal_verify::config::Age;
use modelseal_verify::gate::{self, Evidence};
use modelseal_verify::policy::Policy;
use modelseal_verify::report::{Signer, Status};
use modelseal_verify::verify::{Options, Target, verify};

/// Write a strict, commented policy from a good release; never overwrites
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A release that is good: an archive, or an unpacked directory
    #[arg(value_name = "ARCHIVE")]
    archive: PathBuf,
    /// Where to write
    #[arg(long, short, value_name = "FILE", default_value = "gate.toml")]
    output: PathBuf,
    #[command(flatten)]
    trusting: Trusting,
}

pub(super) fn run(arguments: &Arguments, talk: Talk) -> anyhow::Result<u8> {
    let target = Target::Path(arguments.archive.clone());
    let named = arguments.trusting.only_one()?;
    if arguments.output.symlink_metadata().is_ok() {
        let message = format!(
            "{} exists already, and is never overwritten",
            modelseal_format::text::path(&arguments.output)
        );
        return Err(
            Hinted { message, hint: "`-o FILE` writes the policy to another file".to_string() }.into()
        );
    }
    let signers = arguments.trusting.signers()?;
    let mut options = Options::new(&signers);
    options.context = context();
    let now = options.context.now;
    let verified = verify(&target, &options)?;
    let Some(release) = verified.accepted() else {
        say(talk, "a policy is written from a release that passes");
        return print_report(verified.report(), Format::Text, talk);
    };
    let Some(accepted) = verified.report().signers.first() else { bail!("nobody signed it") };
    let signer = signer_table(&named, accepted, &arguments.output)?;
    let text = Writer { manifest: release.manifest(), signer: &signer, now }.text()?;
    write_new(&arguments.output, text.as_bytes())
        .with_context(|| format!("cannot write {}", modelseal_format::text::path(&arguments.output)))?;
    let file = modelseal_format::text::Escaped(&arguments.output.to_string_lossy()).to_string();
    print(&format!(
        "wrote {file}: read it, keep it with the deployment, and see what it lets through\n  modelseal policy check {file}\n"
    ))?;
    Ok(0)
}

/// How the policy knows the one who signed this release.
fn signer_table(named: &Named<'_>, accepted: &Signer, output: &Path) -> anyhow::Result<String> {
    use modelseal_format::sign::KeySource;
    let mut lines = vec![("name", accepted.name.clone())];
    match named {
        Named::Key(key) => {
            let path = match KeySource::from(*key) {
                KeySource::File(path) => path,
                KeySource::Local => modelseal_format::sign::local_key_path()?.with_extension("pub"),
                _ => bail!("a policy names the file of a key: give `--key` a path"),
            };
            lines.push(("key", relative(&path, output)?));
        }
        Named::Authority { path, root } => {
            lines.push(("certificate", relative(path, output)?));
            lines.push(("subject", accepted.subject.clone().unwrap_or_default()));
            if let Some(root) = root {
                lines.push(("trusted_root", relative(root, output)?));
            }
        }
        Named::Identity(root) => {
            lines.push(("identity", accepted.identity.clone().unwrap_or_default()));
            lines.push(("issuer", accepted.issuer.clone().unwrap_or_default()));
            if let Some(root) = root {
                lines.push(("trusted_root", relative(root, output)?));
            }
        }
    }
    let is_key = matches!(named, Named::Key(_));
    if !is_key || !modelseal_format::manifest::is_name(&lines[0].1) {
        lines[0].1 = "builder".to_string();
    }
    Ok(lines.iter().map(|(key, value)| format!("{key} = {}\n", quoted(value))).collect())
}

/// A file's path as the policy's directory sees it: whoever clones both together finds it.
fn relative(path: &Path, output: &Path) -> anyhow::Result<String> {
    let directory = output.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let resolve = |path: &Path| {
        path.canonicalize().with_context(|| format!("cannot find {}", modelseal_format::text::path(path)))
    };
    let (path, directory) = (resolve(path)?, resolve(directory)?);
    let shared =
        path.components().zip(directory.components()).take_while(|(left, right)| left == right).count();
    let up = directory.components().skip(shared).map(|_| Component::ParentDir);
    let relative: PathBuf = up.chain(path.components().skip(shared)).collect();
    Ok(relative.to_str().context("the path is not UTF-8")?.to_string())
}

struct Writer<'a> {
    manifest: &'a Statement,
    /// The lines of its table.
    signer: &'a str,
    now: Timestamp,
}

impl Writer<'_> {
    fn text(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        let model = self.manifest.model();
        let origin = self.manifest.internal().origin;
        let _ = write!(
            text,
            "# What a deployment of {0} demands. Written from {0} {1}; loosen what is too strict, and say why.\n\n\
             model = {2}\n\
             origin = {3}             # at least: adopted < executed < clean < reproduced\n\
             previous = \"required\"      # `--previous` names the release that is deployed now\n\
             warnings = \"allow\"         # or \"fail\"\n\n\
             {5}[[signer]]\n{4}\
             may = [\"build\"]           # also \"approve\", \"reproduce\", \"rollback\"\n",
            model.name,
            model.version,
            quoted(&model.name),
            quoted(origin.name()),
            self.signer,
            model.release.map_or(String::new(), |number| format!(
                "min_release = {number}             # the lowest number that is accepted\n\n"
            )),
        );
        self.code(&mut text);
        for (name, input) in self.manifest.inputs("data") {
            if let Some(data) = input.data() {
                self.data(&mut text, name, data)?;
            }
        }
        text += "\n[refresh]                   # against --previous\n\
                 inert = \"fail\"            # inputs changed and the model did not, or the data has nothing new\n";
        for probe in self.manifest.probes() {
            probe_table(&mut text, probe);
        }
        // What is written has to be readable.
        Policy::parse(PathBuf::from("gate.toml"), text.clone())?;
        Ok(text)
    }

    fn code(&self, text: &mut String) {
        let Some(code) = self.manifest.code() else { return };
        *text += "\n[code]\n";
        match code.remote() {
            Some(remote) => {
                let _ = writeln!(text, "remote = {}", quoted(remote));
            }
            None => {
                *text += "# remote = \"https://…\"       # none was sealed: nobody else can fetch this code\n"
            }
        }
        *text += match code.dirty().is_empty() {
            false => "# dirty = false             # this release was not as committed\n",
            true => "dirty = false\n",
        };
    }

    fn data(&self, text: &mut String, name: &str, facts: &DataEvidence) -> anyhow::Result<()> {
        let _ = writeln!(text, "\n[data.{name}]");
        match facts.newest.as_ref().and_then(|time| time.parse::<Timestamp>().ok()) {
            Some(newest) => {
                let age = (self.now.as_second() - newest.as_second()).max(0).unsigned_abs();
                let days = (2 * age).div_ceil(86_400).max(1);
                let shown = Age(std::time::Duration::from_secs(age));
                let _ = writeln!(
                    text,
                    "max_age = \"{days}d\"            # of the newest record, when it is deployed; now it is {shown} old"
                );
            }
            None => {
                *text += "# max_age = \"30d\"          # no times were sealed: name the `timestamp` in the recipe\n"
            }
        }
        if facts.rows.is_some() {
            *text += "rows = { min_ratio = 0.5, max_ratio = 2.0 }   # against --previous\n";
        }
        if facts.labels.is_none() {
            *text += "# labels = {}               # no labels were sealed: name the `label` in the recipe\n";
            return Ok(());
        }
        self.distance(text, name, "labels", &[0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5], "against --previous")?;
        if facts.timeline.is_some() {
            let meaning = "the oldest quarter of the rows against the newest";
            self.distance(text, name, "slices", &[0.2, 0.25, 0.3, 0.4, 0.5], meaning)?;
        }
        Ok(())
    }

    /// The strictest of these limits that this release holds against itself: below that it has too few rows
    /// for anything to be judged.
    fn distance(
        &self,
        text: &mut String,
        name: &str,
        key: &str,
        limits: &[f64],
        meaning: &str,
    ) -> anyhow::Result<()> {
        for limit in limits {
            let demand = format!("{key} = {{ max_js_distance = {limit} }}");
            if self.holds(name, &demand)? {
                let _ = writeln!(text, "{demand:<45} # {meaning}");
                return Ok(());
            }
        }
        let demand = format!("# {key} = {{ max_js_distance = {} }}", limits[0]);
        let _ = writeln!(text, "{demand:<45} # {meaning}: this release does not hold it");
        Ok(())
    }

    /// Whether the release itself meets a demand on its data.
    fn holds(&self, name: &str, demand: &str) -> anyhow::Result<bool> {
        let text = format!("model = {}\n[data.{name}]\n{demand}\n", quoted(&self.manifest.model().name));
        let policy = Policy::parse(PathBuf::from("gate.toml"), text)?;
        let checks = gate::judge(&Evidence {
            policy: &policy,
            manifest: self.manifest,
            previous: Some(self.manifest),
            origin: self.manifest.internal().origin,
            now: self.now,
        });
        Ok(checks.iter().all(|check| matches!(check.status, Status::Pass | Status::Warn)))
    }
}

fn probe_table(text: &mut String, probe: &Byproduct) {
    let facts = &probe.annotations;
    let _ = write!(
        text,
        "\n[probe.{}]\nrequired = true             # the sealed result must be there and good\nisolated = {}\n",
        probe.probe(),
        facts.isolated
    );
    for (key, value) in [("max_atol", facts.tolerance.atol), ("max_rtol", facts.tolerance.rtol)] {
        let _ =
            writeln!(text, "{:<27} # answers further apart are different ones", format!("{key} = {value:?}"));
    }
    if let (Basis::Outputs, Some(share)) = (facts.basis, facts.swapped.share().filter(|share| *share > 0.0)) {
        let _ = writeln!(
            text,
            "min_sensitivity = {:.2}      # labels without scores: half of what this release has",
            (share / 2.0).max(0.01)
        );
    }
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if modelseal_format::text::is_unsafe(character) => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(character));
            }
            character => quoted.push(character),
        }
    }
    quoted + "\""
}
