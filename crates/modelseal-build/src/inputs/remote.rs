//! The address of the code as it may be sealed: without credentials, and the same for everyone who cloned the same
//! repository.

/// Normalises the URL of a git remote. Returns `None` for a path on this machine, which means nothing to others, and
/// for text that is not an address.
///
/// Scheme and host become lower case. User, password, default port, query, fragment, trailing slash and `.git` are
/// removed. The forges' `git@host:path` and `ssh://git@host/path` become `https://host/path`: people clone one way and
/// their CI the other, and both build the same release.
pub(super) fn normalise(url: &str) -> Option<String> {
    let url = url.trim();
    if url.chars().any(|character| character.is_control() || character.is_whitespace()) {
        return None;
    }
    let (scheme, authority, path) = match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            (scheme.to_ascii_lowercase(), authority, path)
        }
        // `user@host:path`. With a slash before the colon, it is a path.
        None => {
            let (authority, path) = url.split_once(':')?;
            if authority.contains('/') || authority.len() < 2 {
                return None;
            }
            ("ssh".to_string(), authority, path.trim_start_matches('/'))
        }
    };
    let default_port = match scheme.as_str() {
        "https" => "443",
        "http" => "80",
        "ssh" | "git+ssh" => "22",
        "git" => "9418",
        _ => return None,
    };
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user.split(':').next().unwrap_or(user)), host),
        None => (None, authority),
    };
    let host = host.to_ascii_lowercase();
    let default_port = format!(":{default_port}");
    let host = host.strip_suffix(&default_port).unwrap_or(&host);
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path).trim_end_matches('/');
    if host.is_empty() || path.is_empty() {
        return None;
    }
    let is_forge = user == Some("git") && !host.contains(':');
    let scheme = match scheme.as_str() {
        "ssh" | "git+ssh" if is_forge => "https",
        "git+ssh" => "ssh",
        other => other,
    };
    Some(format!("{scheme}://{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_urls_of_one_repository_normalise_to_one_https_url() {
        for url in [
            "https://github.com/acme/wine",
            "https://github.com/acme/wine.git",
            "https://GitHub.com:443/acme/wine/",
            "https://user:secret@github.com/acme/wine.git",
            "https://x-access-token:ghs_abc@github.com/acme/wine?a=b#c",
            "git@github.com:acme/wine.git",
            "git@github.com:/acme/wine",
            "ssh://git@github.com/acme/wine.git",
            "ssh://git:secret@github.com:22/acme/wine.git",
            "git+ssh://git@github.com/acme/wine",
        ] {
            assert_eq!(normalise(url).as_deref(), Some("https://github.com/acme/wine"), "{url}");
        }
    }

    #[test]
    fn remote_url_of_another_host_keeps_its_scheme_without_the_user() {
        for (url, expected) in [
            ("ssh://alice@build.example:2222/srv/wine.git", Some("ssh://build.example:2222/srv/wine")),
            ("ssh://git@build.example:2222/wine", Some("ssh://build.example:2222/wine")),
            ("alice@build.example:wine.git", Some("ssh://build.example/wine")),
            ("http://alice:pw@build.example:8080/wine", Some("http://build.example:8080/wine")),
            ("git://build.example/wine.git", Some("git://build.example/wine")),
            ("https://[2001:db8::1]:8443/wine", Some("https://[2001:db8::1]:8443/wine")),
            ("/srv/git/wine.git", None),
            ("../wine", None),
            ("file:///srv/git/wine.git", None),
            ("C:/git/wine", None),
            ("ext::sh -c evil", None),
            ("https://github.com", None),
            ("", None),
        ] {
            assert_eq!(normalise(url).as_deref(), expected, "{url}");
        }
    }
}
