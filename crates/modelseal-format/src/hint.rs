//! What the user can do about an error or a finding.

use std::fmt;

/// What the user can do.
///
/// Where that depends on how the caller takes its demands, the hint is a case of its own, so that a command line can
/// name its options. Its [`fmt::Display`] names none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// The same for every caller.
    Text(String),
    /// All of these.
    All(Vec<Hint>),

    // Who must have signed, and what is compared.
    NamePrevious,
    NameKey,
    /// If the signer is trusted.
    NameAnotherKey,
    NameAuthority,
    NameIdentity,
    AcceptUnsigned,
    /// The name of the signature's file.
    VerifyModelSignature(String),
    Reproduce,

    // How a release is built.
    /// Run the command when the release is built.
    RunCommand,
    /// These paths, quoted for a shell, differ from the commit.
    Commit(String),
    LinkOrClone,
    AnotherPlace,
    NameOutput,
    AdoptOrRunHere,
    RaiseVersion,
    BuildFromCommit,
    StateWithoutModelSignature,

    // Where commands can write, and what they see.
    AllowWrite,
    /// The work tree is this home directory, quoted for a shell.
    AllowHome(String),
    ShowDirectory,

    // Where a checkout comes from.
    /// The commit was never pushed.
    NameClone,
    NameAnotherClone,
    NameRepository,
    NameData,

    // Keys.
    GivePassword,
    NameNewKey,
    GivePrivateKey,
    SetHome,
    SayWhichKey,
}

impl From<String> for Hint {
    fn from(text: String) -> Self {
        Hint::Text(text)
    }
}

impl From<&str> for Hint {
    fn from(text: &str) -> Self {
        Hint::Text(text.to_string())
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Hint::Text(text) => text,
            Hint::All(hints) => {
                let hints: Vec<String> = hints.iter().map(Hint::to_string).collect();
                return formatter.write_str(&hints.join("; "));
            }
            Hint::NamePrevious => "name the release that is deployed now",
            Hint::NameKey => {
                "name a trusted key; a certificate or an identity says nothing about what a key signed"
            }
            Hint::NameAnotherKey => {
                "if the signer is right, the trusted key is another one; if not, do not deploy it"
            }
            Hint::NameAuthority => "name the certificates of the authority",
            Hint::NameIdentity => "name the identity that must have signed, and its issuer",
            Hint::AcceptUnsigned => "accept the files that nobody signed, or leave them out",
            Hint::VerifyModelSignature(_) => "it has a model signature: verify it as a model",
            Hint::Reproduce => "an attested reproduction by another trusted signer makes it that",
            Hint::RunCommand => "build it with `[run]` in the recipe, in CI in a fresh clone",
            Hint::Commit(paths) => {
                return write!(formatter, "`git add -- {paths}` and commit, or allow what differs, which is sealed");
            }
            Hint::LinkOrClone => {
                "let a link there lead to it, or build in a clone, if the commit does not hold that file"
            }
            Hint::AnotherPlace => "another `path` under `[artifact]`, or another output, leads elsewhere",
            Hint::NameOutput => "say where the archive is to be; the artifact is in the project",
            Hint::AdoptOrRunHere => "adopt what is there, or run the command here instead of in a clone",
            Hint::RaiseVersion => "raise the version in the recipe, or replace the archive",
            Hint::BuildFromCommit => "the release was sealed with changes: seal one from a commit",
            Hint::StateWithoutModelSignature => "state it without a model signature",
            Hint::AllowWrite => {
                "it can write to nothing but the work tree, TMPDIR and HOME, which is new, and not to what you run \
                 later, nor to files that have another name elsewhere (hard links), unless you allow a directory"
            }
            Hint::AllowHome(_) => "build in a clone, or let the commands read and write all of it",
            Hint::ShowDirectory => {
                "of home directories, `/tmp` and others that are shared, they see the installations on PATH, the \
                 active environment, and directories that you allow"
            }
            Hint::NameClone => "the commit was never pushed: name a clone that has it",
            Hint::NameRepository => "name a clone of the repository",
            Hint::NameAnotherClone => "name another clone",
            Hint::NameData => "say where the data source is",
            Hint::GivePassword => "give its password, as in the variable MODELSEAL_PASSWORD",
            Hint::NameNewKey => "keys are never overwritten: choose another name",
            Hint::GivePrivateKey => "give the `.key` file, or a signer that has the private key",
            Hint::SetHome => "set the variable HOME, or name a key",
            Hint::SayWhichKey => "say which key it is",
        })
    }
}
