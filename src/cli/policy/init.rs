//! Writes a strict policy from a good release: it demands everything that the evidence of the release can show.

use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use jiff::Timestamp;

use super::super::Verbosity;
use super::super::confining::check_written_to;
use super::super::hints::Hinted;
use super::super::output::{say, show};
use super::super::progress::context;
use super::super::trust_args::{Named, Trusting};
use super::super::verify::print_report;
use crate::cli::arguments::ReportFormat;
use modelseal_format::archive::write_new;
use modelseal_format::digest::Digest;
use modelseal_format::display::toml_string;
use modelseal_format::manifest::Manifest;
use modelseal_verify::policy::Policy;
use modelseal_verify::report::{Signer, Status};
use modelseal_verify::rule::{Evidence, Proposal, Table};
use modelseal_verify::rules::RULES;
use modelseal_verify::verify::{Options, Target, verify};

/// Write a strict, commented policy from a good release, without overwriting any file
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A good release: an archive, or an unpacked directory
    #[arg(value_name = "ARCHIVE")]
    archive: PathBuf,
    /// Write the policy to this file
    #[arg(long, short, value_name = "FILE", default_value = "gate.toml")]
    output: PathBuf,
    #[command(flatten)]
    trusting: Trusting,
}

pub(super) fn run(arguments: &Arguments, verbosity: Verbosity) -> anyhow::Result<u8> {
    let target = Target::Path(arguments.archive.clone());
    let named = arguments.trusting.only_one()?;
    if arguments.output.symlink_metadata().is_ok() {
        let message = format!(
            "{} already exists and is never overwritten",
            modelseal_format::display::path(&arguments.output)
        );
        return Err(
            Hinted { message, hint: "`-o FILE` writes the policy to another file".to_string() }.into()
        );
    }
    check_written_to(&arguments.output)?;
    let signers = arguments.trusting.signers()?;
    let mut options = Options::new(&signers);
    options.context = context();
    let now = options.context.now;
    let verified = verify(&target, &options)?;
    let Some(release) = verified.accepted() else {
        say(verbosity, "no policy was written, because the release does not pass");
        return print_report(verified.report(), ReportFormat::default(), verbosity);
    };
    let Some(accepted) = verified.report().signers.first() else { bail!("the release is not signed") };
    let signer = signer_table(&named, accepted, &arguments.output)?;
    let text =
        Writer { manifest: release.manifest(), signer: &signer, release: release.digest(), now }.text()?;
    write_new(&arguments.output, text.as_bytes())
        .with_context(|| format!("cannot write {}", modelseal_format::display::path(&arguments.output)))?;
    let file = modelseal_format::display::Escaped(&arguments.output.to_string_lossy()).to_string();
    show(&format!(
        "wrote {file}: review it, keep it with the deployment, \
         and see what it demands\n  modelseal policy check {file}\n"
    ))?;
    Ok(0)
}

/// The lines of the `[[signer]]` table that identify the signer of this release.
fn signer_table(named: &Named<'_>, accepted: &Signer, output: &Path) -> anyhow::Result<String> {
    use modelseal_format::sign::KeySource;
    let mut lines = vec![("name", accepted.name.clone())];
    match named {
        Named::Key(key) => {
            let path = match KeySource::from(*key) {
                KeySource::File(path) => path,
                KeySource::Local => modelseal_format::sign::local_key_path()?.with_extension("pub"),
                _ => bail!("a policy names a key by its file: give `--key` a path"),
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
    Ok(lines.iter().map(|(key, value)| format!("{key} = {}\n", toml_string(value))).collect())
}

/// The path of a file relative to the policy's directory, so that it is valid in every clone that contains both.
fn relative(path: &Path, output: &Path) -> anyhow::Result<String> {
    let directory = output.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let resolve = |path: &Path| {
        path.canonicalize().with_context(|| format!("cannot find {}", modelseal_format::display::path(path)))
    };
    let (path, directory) = (resolve(path)?, resolve(directory)?);
    let shared =
        path.components().zip(directory.components()).take_while(|(left, right)| left == right).count();
    let up = directory.components().skip(shared).map(|_| Component::ParentDir);
    let relative: PathBuf = up.chain(path.components().skip(shared)).collect();
    Ok(relative.to_str().context("the path is not UTF-8")?.to_string())
}

struct Writer<'a> {
    manifest: &'a Manifest,
    /// The lines of the `[[signer]]` table.
    signer: &'a str,
    release: Digest,
    now: Timestamp,
}

impl Writer<'_> {
    fn text(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        let model = self.manifest.model();
        // In TOML, top-level keys must come before the first table.
        let is_table = |proposal: &String| proposal.trim_start().starts_with('[');
        let (tables, keys): (Vec<String>, Vec<String>) = self.proposals().into_iter().partition(is_table);
        let _ = write!(
            text,
            "# What a deployment of {0} demands. Written from {0} {1}; loosen what is too strict, and say why.\n\n\
             model = {2}\n\
             {3}\
             previous = \"required\"      # `--previous` names the release that is deployed now\n\
             warnings = \"allow\"         # or \"fail\"\n\n\
             {5}[[signer]]\n{4}\
             may = [\"build\"]           # also \"approve\", \"reproduce\", \"rollback\"\n",
            model.name,
            model.version,
            toml_string(&model.name),
            keys.concat(),
            self.signer,
            model.release.map_or(String::new(), |number| format!(
                "min_release = {number}             # the lowest number that is accepted\n\n"
            )),
        );
        text += &tables.concat();
        // Checks that the policy can be read again.
        Policy::parse(PathBuf::from("gate.toml"), text.clone())?;
        Ok(text)
    }

    /// The lines that the rules propose for the release and for each of its data sources and probes.
    fn proposals(&self) -> Vec<String> {
        let mut proposals = Vec::new();
        for rules in RULES.chunk_by(|left, right| left.table() == right.table()) {
            let release = Proposal::new(self.manifest, self.now);
            let propose = |about: &Proposal<'_>| rules.iter().map(|rule| rule.propose(about)).collect();
            match rules[0].table() {
                Table::Top => proposals.extend::<Vec<String>>(propose(&release)),
                Table::Each(group) => proposals.extend(self.subjects(group).iter().map(|subject| {
                    let holds = |demand: &str| self.holds(group, subject, demand);
                    let lines: Vec<String> = propose(&release.about(subject, &holds));
                    format!("\n[{group}.{subject}]\n{}", lines.concat())
                })),
            }
        }
        proposals
    }

    fn subjects(&self, group: &str) -> Vec<String> {
        match group {
            "probe" => self.manifest.probes().iter().map(|probe| probe.probe().to_string()).collect(),
            kind => {
                let inputs = self.manifest.inputs(kind).filter(|(_, input)| input.evidence.is_some());
                inputs.map(|(name, _)| name.to_string()).collect()
            }
        }
    }

    /// Whether the release itself meets a demand in the table of a data source or probe.
    fn holds(&self, group: &str, subject: &str, demand: &str) -> bool {
        let model = toml_string(&self.manifest.model().name);
        let text = format!("model = {model}\n[{group}.{subject}]\n{demand}\n");
        let Ok(policy) = Policy::parse(PathBuf::from("gate.toml"), text) else { return false };
        let evidence = Evidence::new(self.manifest, self.now).after(self.manifest, self.release);
        policy.judge(&evidence).iter().all(|check| matches!(check.status, Status::Pass | Status::Warn))
    }
}
