use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

use super::{MODEL_SIGNATURE_PATH, SEAL_DIRECTORY};

/// Why a path cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    #[error("is empty")]
    Empty,
    #[error("is absolute")]
    Absolute,
    #[error("has an empty part, `.` or `..`")]
    Part,
    #[error("contains a control character")]
    Control,
    #[error("contains a backslash")]
    Backslash,
    #[error("has a part that begins with a drive letter (`C:`)")]
    Drive,
    #[error("has a part of more than 255 bytes, or more than 4,096 bytes in all")]
    Long,
    #[error("is not valid UTF-8")]
    NotUtf8,
    /// Two names that some file systems cannot distinguish.
    #[error("differs from {} only by case or by Unicode normalisation", crate::display::name(.0))]
    Collision(String),
    /// A path that modelseal uses for its own files, or one of git's own files.
    #[error("is reserved for modelseal or git")]
    Reserved,
}

/// Checks that a relative path, with parts joined by `/`, works on every file system.
pub fn check_name(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if path.starts_with('/') {
        return Err(PathError::Absolute);
    }
    if path.len() > 4096 {
        return Err(PathError::Long);
    }
    let is_control = if path.is_ascii() {
        path.bytes().any(|byte| byte.is_ascii_control())
    } else {
        path.chars().any(char::is_control)
    };
    if is_control {
        return Err(PathError::Control);
    }
    if path.as_bytes().contains(&b'\\') {
        return Err(PathError::Backslash);
    }
    for part in path.split('/') {
        if matches!(part, "" | "." | "..") {
            return Err(PathError::Part);
        }
        if part.len() > 255 {
            return Err(PathError::Long);
        }
        if matches!(part.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic()) {
            return Err(PathError::Drive);
        }
    }
    Ok(())
}

/// Checks the path of a model file: like [`check_name`], and it must not belong to modelseal or git.
pub fn check_path(path: &str) -> Result<(), PathError> {
    check_name(path)?;
    let top = path.split('/').next().unwrap_or_default();
    if [MODEL_SIGNATURE_PATH, SEAL_DIRECTORY].iter().any(|own| fold(own) == fold(top)) || is_git_file(top) {
        return Err(PathError::Reserved);
    }
    Ok(())
}

/// git's own files at the root of a model. The OMS reference tool never covers them, so they are never included.
pub fn is_git_file(top: &str) -> bool {
    matches!(top, ".git" | ".github" | ".gitattributes" | ".gitignore")
}

/// Model names and versions: `[A-Za-z0-9][A-Za-z0-9._+-]{0,63}`.
pub fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|character| character.is_ascii_alphanumeric() || "._+-".contains(character))
}

/// Refuses names that a file system would merge because it ignores case or normalises Unicode. Also refuses a file
/// whose path is a directory of another file.
///
/// # Errors
/// The path that is refused, and why.
pub fn check_collisions<'a>(paths: impl IntoIterator<Item = &'a str>) -> Result<(), (String, PathError)> {
    let mut paths = Vec::from_iter(paths.into_iter().map(|path| (fold(path), path)));
    // In this order, all paths below a directory are adjacent, and so are all paths with the same folded name.
    paths.sort_by(|(left, _), (right, _)| left.split('/').cmp(right.split('/')));
    for pair in paths.windows(2) {
        let [(folded, path), (next_folded, next)] = pair else { continue };
        let folded_parts = folded.split('/').zip(next_folded.split('/'));
        let common = folded_parts.take_while(|(part, other)| part == other).count();
        let is_above = common == path.split('/').count();
        let mut parts = path.split('/').zip(next.split('/')).take(common);
        let other_name = parts.position(|(part, other)| part != other).map(|index| index + 1);
        if let Some(count) = other_name.or(is_above.then_some(common)) {
            let path = path.split('/').take(count).collect::<Vec<_>>().join("/");
            return Err((next.to_string(), PathError::Collision(path)));
        }
    }
    Ok(())
}

/// One form for all spellings that a file system may treat as the same name. Upper case comes first, so that letters
/// with more than one lower-case form (`ß`, final sigma) become equal.
fn fold(path: &str) -> Cow<'_, str> {
    if !path.is_ascii() {
        return path.nfd().collect::<String>().to_uppercase().to_lowercase().nfc().collect();
    }
    match path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => path.to_ascii_lowercase().into(),
        false => path.into(),
    }
}

/// Names of data sources, base models and probes. A dot is not allowed because it separates the parts of a check's id.
pub fn is_source_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_rejects_unsafe_and_reserved_paths() {
        for (path, reason) in [
            ("", PathError::Empty),
            ("/abs", PathError::Absolute),
            ("../x", PathError::Part),
            ("a/../../x", PathError::Part),
            ("a//b", PathError::Part),
            ("a/", PathError::Part),
            ("./a", PathError::Part),
            ("..\\x", PathError::Backslash),
            ("C:x", PathError::Drive),
            ("a/c:/x", PathError::Drive),
            ("a\nb", PathError::Control),
            ("a\u{85}b", PathError::Control),
            ("a\0", PathError::Control),
            ("model.sig", PathError::Reserved),
            ("MODEL.SIG", PathError::Reserved),
            (".modelseal/x", PathError::Reserved),
            (".git/config", PathError::Reserved),
            (".gitattributes", PathError::Reserved),
        ] {
            assert_eq!(check_path(path), Err(reason), "{path:?}");
        }
        assert_eq!(check_path(&"x".repeat(256)), Err(PathError::Long));
        for path in ["a", "-rf", "sub/.git/HEAD", "sub/model.sig", "größe/模型", "a b", &"x".repeat(255)]
        {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn manifest_rejects_paths_that_collide_on_some_file_systems() {
        for pair in [
            ["a", "A"],
            ["dir/x", "DIR/y"],
            ["é", "e\u{301}"],
            ["straße", "STRASSE"],
            ["ς", "σ"],
            ["a", "a/b"],
            ["A", "a/b"],
            ["a", "a"],
        ] {
            let found = check_collisions(pair);
            assert!(matches!(found, Err((_, PathError::Collision(_)))), "{pair:?} {found:?}");
        }
        assert_eq!(check_collisions(["a/b", "a/c", "a.b", "b/a", "ab"]), Ok(()));
    }

    #[test]
    fn model_names_and_versions_accept_only_a_small_alphabet() {
        for good in ["wine", "1.0.0", "2026-11-24", "v1.0+cu12", "A", &"x".repeat(64)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".x", "-x", "a/b", "a b", "ü", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
