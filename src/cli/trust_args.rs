//! The signers that the caller trusts, as command-line arguments name them.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use jiff::Timestamp;

use super::arguments::time;
use super::keys::trusted_keys;
use modelseal_verify::policy::Policy;
use modelseal_verify::trust::{Authority, IdentityTrust, Pattern, TimeTrust, Trust, TrustedSigner};

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Trusted signers")]
pub(super) struct Trusting {
    /// Trust this public key: a path, `env://NAME`, `-` for standard input, or `local` for your own key;
    /// can be repeated to accept any one of several
    #[arg(long, value_name = "PUB", aliases = ["public-key", "public_key"])]
    pub(super) key: Vec<String>,
    /// Trust signers that this authority certifies: PEM files with its root and any intermediates
    #[arg(long, value_name = "FILE")]
    certificate_chain: Vec<PathBuf>,
    /// Trust only this subject of the authority: a distinguished name, as in `CN=ci,O=Acme`, or email:…,
    /// URI:… or DNS:…
    #[arg(long, value_name = "NAME", requires = "certificate_chain")]
    subject: Option<String>,
    /// Check certificates as of this time instead of now, for old models whose certificates have expired
    #[arg(long, value_name = "TIME", value_parser = time, requires = "certificate_chain")]
    insecure_at: Option<Timestamp>,
    /// Trust this Sigstore identity: an email address, or the URI of a workflow
    #[arg(long, value_name = "IDENTITY", requires = "issuer")]
    identity: Option<String>,
    /// Trust Sigstore identities that match this regular expression as a whole
    #[arg(long, value_name = "REGEXP", requires = "issuer", conflicts_with = "identity")]
    identity_regexp: Option<String>,
    /// The issuer that must have authenticated the identity, as in `https://accounts.google.com`
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The Sigstore trusted root that vouches for identities and for timestamps of signatures by certificates
    /// [default: for identities, the public-good instance as of this version; for timestamps, none]
    #[arg(long, value_name = "FILE")]
    trusted_root: Option<PathBuf>,
}

/// The single trusted signer that the command line names.
pub(super) enum Named<'a> {
    Key(&'a str),
    Authority {
        /// The file of the authority's certificates.
        path: &'a Path,
        /// The trusted root for timestamps.
        root: Option<&'a Path>,
    },
    /// The trusted root for identities, if it is not the one built into this program.
    Identity(Option<&'a Path>),
}

impl Trusting {
    /// The trusted signer, if the command line names exactly one. A table of a policy can hold only one.
    pub(super) fn only_one(&self) -> anyhow::Result<Named<'_>> {
        match (&self.key[..], &self.certificate_chain[..], &self.issuer) {
            ([key], [], None) => Ok(Named::Key(key)),
            ([], [path], None) if self.insecure_at.is_none() => {
                Ok(Named::Authority { path, root: self.trusted_root.as_deref() })
            }
            ([], [], Some(_)) => Ok(Named::Identity(self.trusted_root.as_deref())),
            _ => {
                bail!("name exactly one signer: one `--key`, one `--certificate-chain` file, or `--identity`")
            }
        }
    }

    /// Whether the command line names no signer.
    fn is_empty(&self) -> bool {
        self.key.is_empty() && self.certificate_chain.is_empty() && self.issuer.is_none()
    }

    /// All signers that the command line names.
    pub(super) fn signers(&self) -> anyhow::Result<Vec<TrustedSigner>> {
        if self.trusted_root.is_some() && self.issuer.is_none() && self.certificate_chain.is_empty() {
            bail!("`--trusted-root` needs `--identity` and `--issuer`, or `--certificate-chain`");
        }
        let mut signers = trusted_keys(&self.key)?;
        if self.subject.as_deref() == Some("") {
            bail!("`--subject` is empty");
        }
        if self.subject.as_deref().is_some_and(|subject| subject.starts_with('/')) {
            bail!("write `--subject` as in `CN=ci,O=Acme`, with the most specific part first (RFC 4514)");
        }
        if !self.certificate_chain.is_empty() {
            let authority = Authority::open(&self.certificate_chain)?;
            let authority = authority.only(self.subject.clone()).as_of(self.insecure_at);
            let authority =
                authority.at_times_of(self.trusted_root.as_deref().map(TimeTrust::open).transpose()?);
            let stem =
                self.certificate_chain[0].file_stem().unwrap_or_default().to_string_lossy().into_owned();
            signers.push(TrustedSigner::new(stem, Trust::Authority(Box::new(authority))));
        }
        if let Some(issuer) = &self.issuer {
            let (name, pattern) = match (&self.identity, &self.identity_regexp) {
                (Some(identity), _) => (identity.clone(), Pattern::exact(identity)?),
                (None, Some(regexp)) => ("identity".to_string(), Pattern::regexp(regexp)?),
                (None, None) => {
                    bail!(
                        "`--issuer` needs `--identity` or `--identity-regexp`: an issuer alone is not enough"
                    )
                }
            };
            let trust = IdentityTrust::open(pattern, issuer, self.trusted_root.as_deref())?;
            signers.push(TrustedSigner::new(name, Trust::Identity(Box::new(trust))));
        }
        Ok(signers)
    }

    /// Loads a policy and the trusted signers: those of the policy, or those of the command line if the policy names
    /// none.
    pub(super) fn with_policy(&self, path: &Path) -> anyhow::Result<(Policy, Vec<TrustedSigner>)> {
        let policy = Policy::load(path)?;
        let signers = policy.signers()?;
        match (signers.is_empty(), self.is_empty()) {
            (false, false) => {
                let policy = modelseal_format::display::path(path);
                bail!("both the command line and {policy} name trusted signers: leave one of them out")
            }
            (false, true) => Ok((policy, signers)),
            (true, _) => Ok((policy, self.signers()?)),
        }
    }

    /// Loads a policy if one is named, and the trusted signers.
    pub(super) fn with_any_policy(
        &self,
        path: Option<&Path>,
    ) -> anyhow::Result<(Option<Policy>, Vec<TrustedSigner>)> {
        match path {
            None => Ok((None, self.signers()?)),
            Some(path) => self.with_policy(path).map(|(policy, signers)| (Some(policy), signers)),
        }
    }
}
