//! Which signers a policy trusts, and for what.

use std::path::PathBuf;

use toml::Spanned;

use super::{Error, Policy, Signer};
use crate::trust::{Authority, IdentityTrust, Pattern, Role, TimeTrust, Trust, TrustError, TrustedSigner};
use modelseal_format::manifest;
use modelseal_format::sign::{KeySource, read_public_key};

/// How a signer is known: exactly one of these ways, with everything that belongs to it.
enum Known<'a> {
    Key(&'a Spanned<String>),
    Certified { authority: &'a Spanned<String>, subject: &'a Spanned<String> },
    Identity { exact: bool, identity: &'a Spanned<String>, issuer: &'a Spanned<String> },
}

impl Policy {
    /// Every signer that the policy names, with its rights. Reads the files that the policy names.
    ///
    /// # Errors
    /// [`Error`].
    pub fn signers(&self) -> Result<Vec<TrustedSigner>, Error> {
        let mut signers: Vec<TrustedSigner> = Vec::new();
        for signer in &self.signer {
            let name = signer.name.get_ref().clone();
            let trust = self.trust(signer)?;
            if let Trust::Key(key) = &trust {
                let is_it =
                    |other: &&TrustedSigner| matches!(&other.trust, Trust::Key(known) if known == key);
                if let Some(other) = signers.iter().find(is_it) {
                    let message = format!(
                        "the signer `{}` has the same key: every signer needs its own key",
                        other.name
                    );
                    return Err(self.mistake(signer.name.span(), message));
                }
            }
            signers.push(TrustedSigner { shown: name.clone(), name, trust, rights: signer.rights() });
        }
        Ok(signers)
    }

    fn trust(&self, signer: &Signer) -> Result<Trust, Error> {
        let name = || signer.name.get_ref().clone();
        let failed = |source: TrustError| Error::Signer { name: name(), source };
        let at = |path: &Spanned<String>| self.directory().join(path.get_ref());
        let root: Option<PathBuf> = signer.trusted_root.as_ref().map(at);
        match self.known(signer)? {
            Known::Key(key) => {
                let key = read_public_key(&KeySource::File(at(key)));
                key.map(Trust::Key).map_err(|source| Error::SignerKey { name: name(), source })
            }
            Known::Certified { authority, subject } => {
                let times = root.as_deref().map(TimeTrust::open).transpose().map_err(failed)?;
                let authority = Authority::open(&[at(authority)]).map_err(failed)?;
                let authority = authority.only(Some(subject.get_ref().clone())).at_times_of(times);
                Ok(Trust::Authority(Box::new(authority)))
            }
            Known::Identity { exact, identity, issuer } => {
                let pattern = if exact { Pattern::exact } else { Pattern::regexp };
                let pattern = pattern(identity.get_ref())
                    .map_err(|error| self.mistake(identity.span(), error.to_string()))?;
                let trust = IdentityTrust::open(pattern, issuer.get_ref(), root.as_deref());
                Ok(Trust::Identity(Box::new(trust.map_err(failed)?)))
            }
        }
    }

    pub(super) fn check_signers(&self) -> Result<(), Error> {
        let signers = &self.signer;
        for (index, signer) in signers.iter().enumerate() {
            let name = signer.name.get_ref();
            if !manifest::is_name(name) {
                return Err(self.mistake(signer.name.span(), "not a valid name"));
            }
            if signers[..index].iter().any(|other| other.name.get_ref() == name) {
                return Err(self.mistake(signer.name.span(), "another signer has the same name"));
            }
            if signer.may.get_ref().is_empty() {
                return Err(
                    self.mistake(signer.may.span(), "this signer may do nothing: list at least one role")
                );
            }
            self.known(signer)?;
            self.check_time(signer)?;
        }
        // Without signers in the policy, the caller names keys.
        let may = |signer: &Signer, role| signer.may.get_ref().contains(&role);
        match signers.first() {
            Some(first) if !signers.iter().any(|signer| may(signer, Role::Build)) => {
                return Err(self.mistake(first.may.span(), "no signer may build, so no release can pass"));
            }
            _ => {}
        }
        let Some(signatures) = &self.signatures else { return Ok(()) };
        let count = |role| signers.iter().filter(|signer| may(signer, role)).count();
        let message = match *signatures.get_ref() {
            ..1 => "at least one signature is required",
            1 => return Ok(()),
            _ if signers.is_empty() => {
                "more than one signature requires a `[[signer]]` that may build and one that may approve"
            }
            _ if count(Role::Approve) == 0 => {
                "no signer may approve, so no release can have this many signatures"
            }
            _ => return Ok(()),
        };
        Err(self.mistake(signatures.span(), message))
    }

    fn known<'a>(&self, signer: &'a Signer) -> Result<Known<'a>, Error> {
        let known = self.one_way(signer)?;
        if let (Known::Key(_), Some(root)) = (&known, &signer.trusted_root) {
            return Err(
                self.mistake(root.span(), "`trusted_root` applies only to an identity or a certificate")
            );
        }
        if let Known::Certified { subject, .. } = &known {
            let message = match subject.get_ref().chars().next() {
                None => "the subject is empty",
                Some('/') => {
                    "write the subject as in `CN=ci,O=Acme`, with the most specific part first (RFC 4514)"
                }
                Some(_) => return Ok(known),
            };
            return Err(self.mistake(subject.span(), message));
        }
        Ok(known)
    }

    fn one_way<'a>(&self, signer: &'a Signer) -> Result<Known<'a>, Error> {
        let refused = |at: &Spanned<String>, message: &str| Err(self.mistake(at.span(), message));
        let identity = match (&signer.identity, &signer.identity_regexp) {
            (Some(_), Some(regexp)) => {
                return refused(regexp, "`identity_regexp` cannot be combined with `identity`");
            }
            (exact, regexp) => exact.as_ref().or(regexp.as_ref()),
        };
        let certified = match (&signer.certificate, &signer.subject) {
            (Some(authority), Some(subject)) => Some(Known::Certified { authority, subject }),
            (Some(authority), None) => {
                return refused(
                    authority,
                    "`certificate` needs a `subject`: an authority certifies many signers",
                );
            }
            (None, Some(subject)) => {
                return refused(subject, "`subject` needs a `certificate`: the authority that certifies it");
            }
            (None, None) => None,
        };
        let identity = match (identity, &signer.issuer) {
            (Some(identity), Some(issuer)) => {
                Some(Known::Identity { exact: signer.identity.is_some(), identity, issuer })
            }
            (Some(identity), None) => {
                return refused(identity, "an identity needs an `issuer`: the service that authenticates it");
            }
            (None, Some(issuer)) => {
                return refused(issuer, "`issuer` needs an `identity`: an issuer authenticates many");
            }
            (None, None) => None,
        };
        let mut ways = [signer.key.as_ref().map(Known::Key), certified, identity].into_iter().flatten();
        match (ways.next(), ways.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => refused(
                &signer.name,
                "a signer needs a `key`, a `certificate` and `subject`, or an `identity` and `issuer`",
            ),
            (Some(_), Some(_)) => {
                refused(&signer.name, "a signer needs exactly one of a key, a certificate and an identity")
            }
        }
    }

    fn check_time(&self, signer: &Signer) -> Result<(), Error> {
        let name = signer.name.span();
        if let (Some(start), Some(end)) = (signer.not_before, signer.not_after)
            && end < start
        {
            return Err(
                self.mistake(name, "`not_after` is before `not_before`, so this signer is never accepted")
            );
        }
        let is_reason = |reason: &Spanned<String>| !reason.get_ref().trim().is_empty();
        match (signer.revoked, &signer.reason) {
            (true, Some(reason)) if is_reason(reason) => Ok(()),
            (true, _) => Err(self.mistake(name, "a revoked signer needs a `reason`")),
            (false, Some(reason)) => {
                Err(self.mistake(reason.span(), "`reason` is only for a signer with `revoked = true`"))
            }
            (false, None) => Ok(()),
        }
    }
}
