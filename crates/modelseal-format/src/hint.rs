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
    /// The recipe selects this work tree around its repository, quoted for a shell.
    AllowOuter(String),
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
                "name a trusted key; a certificate or an identity cannot verify what a key signed"
            }
            Hint::NameAnotherKey => "if this is the right signer, trust its key; otherwise, do not deploy it",
            Hint::NameAuthority => "name the authority's certificates",
            Hint::NameIdentity => "name the identity that must sign, and its issuer",
            Hint::AcceptUnsigned => "accept the unsigned files, or leave them out",
            Hint::VerifyModelSignature(_) => "it has a model signature: verify it as a model",
            Hint::Reproduce => "let another trusted signer reproduce it and attest the result",
            Hint::RunCommand => "build it with `[run]` in the recipe, in CI in a fresh clone",
            Hint::Commit(paths) => {
                return write!(
                    formatter,
                    "`git add -- {paths}` and commit, or allow the changes, which the seal records"
                );
            }
            Hint::LinkOrClone => {
                "make the first path a link to the second, or build in a clone if the commit does not \
                 contain that file"
            }
            Hint::AnotherPlace => "set another `path` under `[artifact]`, or name another output",
            Hint::NameOutput => "name another path for the archive; the artifact must be in the project",
            Hint::AdoptOrRunHere => {
                "adopt the existing artifact, or run the command here instead of in a clone"
            }
            Hint::RaiseVersion => "raise the version in the recipe, or replace the archive",
            Hint::BuildFromCommit => {
                "the release was sealed with uncommitted changes: seal one from a commit"
            }
            Hint::StateWithoutModelSignature => "write the unsigned manifest without a model signature",
            Hint::AllowWrite => {
                "the command can write only to the work tree, TMPDIR and a new HOME, but not to files that \
                 you or git run later, or that have a hard link elsewhere; to permit more, allow a directory"
            }
            Hint::AllowOuter(_) => "if the commands may read and change that work tree, allow the directory",
            Hint::AllowHome(_) => {
                "build in a clone, or let the commands read and write the whole home directory"
            }
            Hint::ShowDirectory => {
                "in home directories, `/tmp` and other shared directories, commands see only the \
                 installations on PATH, the active environment, and directories that you allow"
            }
            Hint::NameClone => "the commit was never pushed: name a clone that has it",
            Hint::NameRepository => "name a clone of the repository",
            Hint::NameAnotherClone => "name another clone",
            Hint::NameData => "name the path of the data source",
            Hint::GivePassword => "give its password, for example in the variable MODELSEAL_PASSWORD",
            Hint::NameNewKey => "keys are never overwritten: choose another name",
            Hint::GivePrivateKey => "give the `.key` file, or a signer that has the private key",
            Hint::SetHome => "set the variable HOME, or name a key",
            Hint::SayWhichKey => "name the key",
        })
    }
}
