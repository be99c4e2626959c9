//! Image references: `[registry/]path[:tag][@digest]` with the defaults that users expect: registry `docker.io`, path
//! `library/<name>` on it, tag `latest`.

use std::fmt;
use std::str::FromStr;

/// Registry of references without one.
const DEFAULT_DOMAIN: &str = "docker.io";
/// An older name of the default registry.
const LEGACY_DOMAIN: &str = "index.docker.io";
/// Longest path.
const MAX_PATH_LEN: usize = 255;
/// Longest tag.
const MAX_TAG_LEN: usize = 128;

/// A normalized image reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageReference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// A text that is not an image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse image name {image:?}: {problem}")]
pub struct ImageNameError {
    image: String,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    Format,
    Identifier,
    Uppercase(String),
    TooLong,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format => f.write_str("invalid reference format"),
            Self::Identifier => f.write_str("64 hexadecimal digits are an image ID, not a repository name"),
            Self::Uppercase(name) => {
                write!(f, "invalid reference format: repository name ({name}) must be lowercase")
            }
            Self::TooLong => write!(f, "repository name must not be more than {MAX_PATH_LEN} characters"),
        }
    }
}

impl ImageReference {
    /// Registry and path, without tag and digest: what credentials are looked up for.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The tag; `latest` when there is neither tag nor digest.
    pub fn tag(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag),
            (None, None) => Some("latest"),
            (None, Some(_)) => None,
        }
    }

    /// The digest, `algorithm:hex`.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// True when the tag is `latest`, written or not.
    pub fn is_latest(&self) -> bool {
        self.tag() == Some("latest")
    }

    /// The author's text with `:latest` added when it has neither tag nor digest. The rest stays as written, because
    /// runtimes may know other default registries.
    pub fn with_default_tag(image: &str) -> Result<String, ImageNameError> {
        let reference: Self = image.parse()?;
        Ok(match (&reference.tag, &reference.digest) {
            (None, None) => format!("{image}:latest"),
            _ => image.to_owned(),
        })
    }
}

/// The fully qualified form.
impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository())?;
        if let Some(tag) = self.tag() {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for ImageReference {
    type Err = ImageNameError;

    fn from_str(image: &str) -> Result<Self, Self::Err> {
        parse(image).map_err(|problem| ImageNameError { image: image.chars().take(256).collect(), problem })
    }
}

/// The author's text without tag and digest.
///
/// # Errors
/// It is no reference.
pub fn trimmed(image: &str) -> Result<&str, ImageNameError> {
    let reference: ImageReference = image.parse()?;
    let mut name = image;
    if let Some(digest) = &reference.digest {
        name = name.strip_suffix(digest.as_str()).and_then(|rest| rest.strip_suffix('@')).unwrap_or(name);
    }
    if let Some(tag) = &reference.tag {
        name = name.strip_suffix(tag.as_str()).and_then(|rest| rest.strip_suffix(':')).unwrap_or(name);
    }
    Ok(name)
}

fn parse(image: &str) -> Result<ImageReference, Problem> {
    if image.len() == 64 && image.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Problem::Identifier);
    }
    let (domain, rest) = split_domain(image);
    let before_tag = rest.split(':').next().unwrap_or_default();
    if before_tag.chars().any(char::is_uppercase) {
        return Err(Problem::Uppercase(before_tag.to_owned()));
    }
    let (name, digest) = match rest.split_once('@') {
        Some((name, digest)) if is_digest(digest) => (name, Some(digest.to_owned())),
        Some(_) => return Err(Problem::Format),
        None => (rest, None),
    };
    let (path, tag) = match name.split_once(':') {
        Some((path, tag)) if is_tag(tag) => (path, Some(tag.to_owned())),
        Some(_) => return Err(Problem::Format),
        None => (name, None),
    };
    // One-word names live below `library` on the default registry.
    let path = match domain == DEFAULT_DOMAIN && !path.contains('/') {
        true => format!("library/{path}"),
        false => path.to_owned(),
    };
    if !is_domain(domain) || !path.split('/').all(is_path_component) {
        return Err(Problem::Format);
    }
    if path.len() > MAX_PATH_LEN {
        return Err(Problem::TooLong);
    }
    Ok(ImageReference { domain: domain.to_owned(), path, tag, digest })
}

/// The first component is a registry when it looks like a host: a dot, a port, an uppercase letter, or `localhost`.
fn split_domain(image: &str) -> (&str, &str) {
    match image.split_once('/') {
        Some((LEGACY_DOMAIN, rest)) => (DEFAULT_DOMAIN, rest),
        Some((domain, rest))
            if domain == "localhost"
                || domain.contains(['.', ':'])
                || domain.chars().any(char::is_uppercase) =>
        {
            (domain, rest)
        }
        _ => (DEFAULT_DOMAIN, image),
    }
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let is_ipv6 = !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
            return is_ipv6 && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    let is_label = |label: &str| {
        label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

/// Lower-case letters and digits, joined by one dot, one or two underscores, or any number of dashes.
fn is_path_component(component: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    if !bytes.first().copied().is_some_and(is_word) || !bytes.last().copied().is_some_and(is_word) {
        return false;
    }
    let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    separators
        .filter(|s| !s.is_empty())
        .all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= MAX_TAG_LEN
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    let length = match digest.split_once(':') {
        Some(("sha256", _)) => 64,
        Some(("sha384", _)) => 96,
        Some(("sha512", _)) => 128,
        _ => return false,
    };
    let hex = &digest[digest.len().min(7)..];
    hex.len() == length && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa";

    #[test]
    fn references_are_normalized() {
        let digested = format!("docker.io/library/busybox@{DIGEST}");
        let both = format!("docker.io/library/busybox:1@{DIGEST}");
        for (image, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("docker.io/busybox", "docker.io/library/busybox:latest"),
            ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
            ("user/app", "docker.io/user/app:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("registry.example.com/a/b_c/d--e:V1.2-x", "registry.example.com/a/b_c/d--e:V1.2-x"),
            ("Registry/app", "Registry/app:latest"),
            ("[::1]:5000/app", "[::1]:5000/app:latest"),
            (&format!("busybox@{DIGEST}"), &digested),
            (&format!("busybox:1@{DIGEST}"), &both),
        ] {
            assert_eq!(image.parse::<ImageReference>().unwrap().to_string(), full);
        }
    }

    #[test]
    fn wrong_references_are_refused() {
        let id = "7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa";
        let long = "a".repeat(256);
        for image in [
            "",
            ":",
            "/",
            "a//b",
            "UPPER",
            "a/UPPER",
            "a:",
            "a:-x",
            "a@sha256:12",
            "a@md5:x",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a b",
            "-x.com/a",
            "x.com:port/a",
            "[zz]:1/a",
            "a@",
            "é",
            "a:t@x",
            id,
            &long,
        ] {
            assert!(image.parse::<ImageReference>().is_err(), "{image:?}");
        }
        let error = "a b".parse::<ImageReference>().unwrap_err();
        assert_eq!(error.to_string(), "couldn't parse image name \"a b\": invalid reference format");
        let error = "a/B".parse::<ImageReference>().unwrap_err();
        assert!(error.to_string().ends_with("repository name (a/B) must be lowercase"), "{error}");
    }

    /// `testdata/references.tsv` holds the answers of the parser that upstream uses; `DIGEST` stands for a digest.
    #[test]
    fn random_references_read_as_upstream_reads_them() {
        let lines: Vec<&str> = include_str!("../testdata/references.tsv").lines().collect();
        assert_eq!(lines.len(), 400);
        for line in lines {
            let (image, full) = line.split_once('\t').unwrap();
            let parsed = image.replace("DIGEST", DIGEST).parse::<ImageReference>();
            match full {
                "error" => assert!(parsed.is_err(), "{image}: {parsed:?}"),
                _ => assert_eq!(parsed.unwrap().to_string(), full.replace("DIGEST", DIGEST), "{image}"),
            }
        }
    }

    #[test]
    fn only_untagged_references_get_the_default_tag() {
        let digested = format!("busybox@{DIGEST}");
        for (image, tagged) in [
            ("busybox", "busybox:latest"),
            ("busybox:1", "busybox:1"),
            (digested.as_str(), digested.as_str()),
        ] {
            assert_eq!(ImageReference::with_default_tag(image).as_deref(), Ok(tagged));
        }
    }

    #[test]
    fn names_are_what_stands_before_tag_and_digest() {
        let (tagged, digested) = (format!("r.io:5000/a/b:1@{DIGEST}"), format!("b@{DIGEST}"));
        for (image, name) in [
            ("b", "b"),
            ("b:1", "b"),
            (&tagged, "r.io:5000/a/b"),
            (&digested, "b"),
            ("r.io:5000/b", "r.io:5000/b"),
        ] {
            assert_eq!(trimmed(image), Ok(name));
        }
        assert!(trimmed("a b").is_err());
    }

    proptest! {
        #[test]
        fn parsing_is_stable_and_never_panics(image in "[a-zA-Z0-9./:@_\\[\\]é-]{0,40}") {
            if let Ok(reference) = image.parse::<ImageReference>() {
                prop_assert_eq!(reference.to_string().parse::<ImageReference>().unwrap().to_string(), reference.to_string());
            }
        }
    }
}
