//! What a signer may do, and when.

use jiff::Timestamp;
use serde::Deserialize;

/// One thing that a signer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Build,
    Approve,
    Reproduce,
    Rollback,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Build, Role::Approve, Role::Reproduce, Role::Rollback];

    pub fn name(self) -> &'static str {
        match self {
            Role::Build => "build",
            Role::Approve => "approve",
            Role::Reproduce => "reproduce",
            Role::Rollback => "rollback",
        }
    }
}

/// What a signer may do, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rights {
    pub roles: Vec<Role>,
    pub not_before: Option<Timestamp>,
    pub not_after: Option<Timestamp>,
    /// Why the signer was revoked. None of its signatures count then, whenever they were made.
    pub revoked: Option<String>,
}

impl Rights {
    /// All roles, at any time.
    pub fn all() -> Self {
        Self { roles: Role::ALL.to_vec(), not_before: None, not_after: None, revoked: None }
    }

    /// The same rights without an end, for signatures that were accepted before it.
    #[must_use]
    pub fn without_end(&self) -> Self {
        Self { not_after: None, ..self.clone() }
    }

    /// Checks whether a signature made at this time counts for the role. If there is no trusted time of signing, pass
    /// the current time.
    ///
    /// # Errors
    /// The reason, as the end of a sentence.
    pub fn may(&self, role: Role, at: Timestamp) -> Result<(), String> {
        self.valid(at)?;
        match self.roles.contains(&role) {
            true => Ok(()),
            false => Err(format!("its `may` in the policy does not list `{}`", role.name())),
        }
    }

    /// Checks whether any signature made at this time counts.
    ///
    /// # Errors
    /// The reason, as the end of a sentence.
    pub fn valid(&self, at: Timestamp) -> Result<(), String> {
        match (&self.revoked, self.not_before, self.not_after) {
            (Some(reason), _, _) => {
                Err(format!("it was revoked: {}", modelseal_format::display::Escaped(reason)))
            }
            (None, Some(start), _) if at < start => Err(format!("it is not valid before {start}")),
            (None, _, Some(end)) if end < at => Err(format!("it is not valid after {end}")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signer_rights_require_role_and_validity_and_end_with_revocation() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let rights = Rights {
            roles: vec![Role::Approve],
            not_before: Some(at("2026-01-01T00:00:00Z")),
            not_after: Some(at("2026-06-01T00:00:00Z")),
            revoked: None,
        };
        let reason = |rights: &Rights, role, time: &str| rights.may(role, at(time)).err();
        assert_eq!(reason(&rights, Role::Approve, "2026-03-01T00:00:00Z"), None);
        assert_eq!(reason(&rights, Role::Approve, "2026-06-01T00:00:00Z"), None);
        let refused = |rights: &Rights, role, time: &str, word: &str| {
            let reason = reason(rights, role, time).expect("is refused");
            assert!(reason.contains(word), "{reason}");
        };
        refused(&rights, Role::Build, "2026-03-01T00:00:00Z", "does not list `build`");
        refused(&rights, Role::Approve, "2025-12-31T23:59:59Z", "not valid before");
        refused(&rights, Role::Approve, "2026-06-01T00:00:01Z", "not valid after");
        assert_eq!(reason(&rights.without_end(), Role::Approve, "2030-01-01T00:00:00Z"), None);
        let revoked = Rights { revoked: Some("stolen\nlaptop".to_string()), ..rights };
        refused(&revoked, Role::Approve, "2026-03-01T00:00:00Z", "it was revoked: stolen\\u{a}laptop");
        refused(&revoked.without_end(), Role::Approve, "2026-03-01T00:00:00Z", "revoked");
    }
}
