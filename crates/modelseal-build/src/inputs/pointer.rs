//! Recognises files that are in place of data, such as pointers and error pages.

use modelseal_format::digest::Digest;

/// How many bytes at the start of a file are examined.
pub(super) const LOOK: usize = 1024;

/// What was found in place of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pointer {
    GitLfs,
    Dvc,
    GitAnnex,
    /// A page that a web server sent instead of the file.
    ErrorPage,
}

impl Pointer {
    /// A description with its article.
    pub fn description(&self) -> &'static str {
        match self {
            Pointer::GitLfs => "a Git LFS pointer, not the data",
            Pointer::Dvc => "a DVC pointer, not the data",
            Pointer::GitAnnex => "a git-annex pointer, not the data",
            Pointer::ErrorPage => "an HTML or XML page from a server, not the data",
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Pointer::GitLfs => "run `git lfs pull` to fetch the data",
            Pointer::Dvc => {
                "run `dvc pull` to fetch the data; the recipe must name the data itself, not the `.dvc` file"
            }
            Pointer::GitAnnex => "run `git annex get` to fetch the data",
            Pointer::ErrorPage => "the download failed: open the file to read the server's message",
        }
    }
}

/// Recognises a pointer by the first bytes of a file (at most [`LOOK`]) and its size.
pub(super) fn recognise(path: &str, start: &[u8], size: u64) -> Option<Pointer> {
    if size <= LOOK as u64 && parse_lfs(start).is_some() {
        return Some(Pointer::GitLfs);
    }
    let text = String::from_utf8_lossy(start);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with("/annex/objects/") || text.starts_with("../.git/annex/objects/") {
        return Some(Pointer::GitAnnex);
    }
    if is_dvc(text) {
        return Some(Pointer::Dvc);
    }
    let ending = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let start = text.get(..256).unwrap_or(text).to_ascii_lowercase();
    let html = start.starts_with("<!doctype html") || start.starts_with("<html");
    // Object stores answer a wrong request with `<?xml …?><Error><Code>AccessDenied</Code>…`.
    let xml_error = start.starts_with("<error>") || (start.starts_with("<?xml") && start.contains("<error>"));
    let may_be_markup = matches!(ending.as_str(), "html" | "htm" | "xhtml" | "xml");
    ((html || xml_error) && !may_be_markup).then_some(Pointer::ErrorPage)
}

/// Whether the text is a `.dvc` file: YAML that starts with `outs:` or with the digest of the stage, and names an
/// output by digest.
fn is_dvc(text: &str) -> bool {
    let begins = ["outs:", "md5:", "frozen:", "deps:", "wdir:"].iter().any(|key| text.starts_with(key));
    let names_output = text.contains("outs:") && (text.contains("md5:") || text.contains("etag:"));
    begins && names_output && text.contains("path:")
}

/// Returns the SHA-256 and the size of the content that a Git LFS pointer refers to, or `None` if `bytes` is not a
/// pointer.
pub fn lfs_pointer(bytes: &[u8]) -> Option<(Digest, u64)> {
    if bytes.len() > LOOK { None } else { parse_lfs(bytes) }
}

/// Parses a Git LFS pointer. Returns the SHA-256 and the size of the content that it refers to.
///
/// Its keys are `version` first, then in alphabetical order (Git LFS specification, "The Pointer").
pub(super) fn parse_lfs(bytes: &[u8]) -> Option<(Digest, u64)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    let version = lines.next()?.strip_prefix("version ")?;
    if !version.starts_with("https://git-lfs.github.com/spec/")
        && !version.starts_with("https://hawser.github.com/spec/")
    {
        return None;
    }
    let mut lines = lines.skip_while(|line| line.starts_with("ext-"));
    let digest = lines.next()?.strip_prefix("oid sha256:")?.parse().ok()?;
    let size = lines.next()?.strip_prefix("size ")?.parse().ok()?;
    Some((digest, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LFS: &str = "version https://git-lfs.github.com/spec/v1\n\
        oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

    #[test]
    fn pointer_files_and_error_pages_are_recognised_and_real_data_is_not() {
        let recognise = |path: &str, text: &str| recognise(path, text.as_bytes(), text.len() as u64);
        for (path, text, expected) in [
            ("a.bin", LFS, Some(Pointer::GitLfs)),
            (
                "a.csv",
                "outs:\n- md5: 22a1a2931c8370d3aeedd7183606fd7f\n  size: 3\n  path: a.csv\n",
                Some(Pointer::Dvc),
            ),
            ("a.csv", "/annex/objects/SHA256E-s3--abc.csv\n", Some(Pointer::GitAnnex)),
            ("a.csv", "<!DOCTYPE html><html><body>404</body></html>", Some(Pointer::ErrorPage)),
            ("a.csv", "\u{feff}\n <HTML>", Some(Pointer::ErrorPage)),
            (
                "a.csv",
                "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>",
                Some(Pointer::ErrorPage),
            ),
            ("a.html", "<!doctype html>", None),
            ("a.xml", "<?xml version=\"1.0\"?><Error/>", None),
            ("a.csv", "outs,deps\n1,2\n", None),
            ("a.csv", "version,oid\n", None),
            ("a.csv", "", None),
        ] {
            assert_eq!(recognise(path, text), expected, "{path} {text}");
        }
    }

    #[test]
    fn git_lfs_pointer_parser_reads_digest_and_size() {
        let (digest, size) = parse_lfs(LFS.as_bytes()).expect("is a pointer");
        assert!(digest.to_string().starts_with("4d7a2146"));
        assert_eq!(size, 12345);
        assert_eq!(parse_lfs(LFS.replace("size 12345", "size x").as_bytes()), None);
        assert_eq!(parse_lfs(LFS.replace("sha256", "sha512").as_bytes()), None);
    }
}
