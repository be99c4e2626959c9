//! Variables from files in volumes (`fileKeyRef`, CONTRACT 3.19): which files a container needs, and what a key in one is
//! worth.
//!
//! A file has lines `KEY='value'`. Values stand in single quotes and are taken as they are, over several lines if need be.
//! A pod wrote the file, so nothing in it is trusted: it is read as far as the key, and what is wrong with it goes to the
//! log, never its content.

use std::collections::BTreeMap;

use core_types::api::Container;
use k8s_openapi::api::core::v1::FileKeySelector;

/// Most bytes that are read of a file: as much as a ConfigMap holds.
pub const MAX_ENV_FILE_BYTES: usize = 1 << 20;

/// Longest line, upstream's: that of Go's line scanner.
const MAX_LINE_BYTES: usize = 64 * 1024 - 1;

/// Names a file in a volume of the pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EnvFileName {
    /// Volume.
    pub volume: String,
    /// Relative path in it.
    pub path: String,
}

impl EnvFileName {
    /// The file that a reference names.
    pub fn of(key: &FileKeySelector) -> Self {
        Self { volume: key.volume_name.clone(), path: key.path.clone() }
    }
}

/// A file as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFile {
    /// Its path on the host, for messages.
    pub host_path: String,
    /// Its first [`MAX_ENV_FILE_BYTES`] and one more; `None` when it could not be read.
    pub content: Option<Vec<u8>>,
}

/// Files by name. A name that is missing stands for a volume that the pod does not mount.
pub type EnvFiles = BTreeMap<EnvFileName, EnvFile>;

/// Why a reference to a file has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvFileError {
    /// No container mounts the volume.
    #[error("cannot find the volume {0:?} referenced by FileKeyRef")]
    NoVolume(String),
    /// The file is missing or broken before the key.
    #[error("couldn't parse env file")]
    Broken(#[source] BrokenEnvFile),
    /// The file has no such key, or nothing for it.
    #[error("environment variable key {key:?} not found in file {file:?}")]
    NoKey {
        /// Key.
        key: String,
        /// Path of the file on the host.
        file: String,
    },
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenEnvFile {
    /// It could not be read.
    #[error("env file {0:?} cannot be read")]
    Unreadable(String),
    /// It is too long.
    #[error("env file {0:?} is longer than {MAX_ENV_FILE_BYTES} bytes")]
    TooLong(String),
    /// A line is wrong.
    #[error("env file: line {line}: {problem}")]
    Line {
        /// Number of the line.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
}

/// The files that a container's variables need.
pub fn wanted(container: &Container) -> impl Iterator<Item = EnvFileName> {
    let sources = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
    sources.filter_map(|source| source.file_key_ref.as_ref()).map(EnvFileName::of)
}

/// The value of a reference; `None` for an optional one without a value.
///
/// # Errors
/// The file or the key is missing, or the file is broken before the key.
pub fn value_of(key: &FileKeySelector, file: Option<&EnvFile>) -> Result<Option<String>, EnvFileError> {
    let file = file.ok_or_else(|| EnvFileError::NoVolume(key.volume_name.clone()))?;
    let path = || file.host_path.clone();
    let content = match &file.content {
        None => return Err(EnvFileError::Broken(BrokenEnvFile::Unreadable(path()))),
        Some(content) if content.len() > MAX_ENV_FILE_BYTES => {
            return Err(EnvFileError::Broken(BrokenEnvFile::TooLong(path())));
        }
        Some(content) => String::from_utf8_lossy(content),
    };
    match find(&content, &key.key).map_err(EnvFileError::Broken)? {
        Some(value) if !value.is_empty() => Ok(Some(value)),
        _ if key.optional == Some(true) => Ok(None),
        _ => Err(EnvFileError::NoKey { key: key.key.clone(), file: path() }),
    }
}

/// Reads the lines as far as the key.
fn find(content: &str, key: &str) -> Result<Option<String>, BrokenEnvFile> {
    let mut lines = content.lines().zip(1..);
    while let Some((text, number)) = lines.next() {
        let wrong = |problem| Err(BrokenEnvFile::Line { line: number, problem });
        if text.len() > MAX_LINE_BYTES {
            return wrong("it is too long");
        }
        let text = text.trim_start_matches(BLANKS);
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let Some((name, value)) = text.split_once('=') else { return wrong("missing '='") };
        if name.trim_end_matches(BLANKS) != name {
            return wrong("whitespace before '=' is not allowed");
        }
        if name.is_empty() {
            return wrong("empty variable name");
        }
        // As in a shell, a blank ends the assignment: the variable is empty.
        if value.starts_with(BLANKS) {
            if name == key {
                return Ok(None);
            }
            continue;
        }
        let Some(value) = value.strip_prefix('\'') else {
            return wrong("value must be enclosed in single quotes");
        };
        let mut whole = String::new();
        let mut rest = value;
        while !rest.contains('\'') {
            whole.push_str(rest);
            whole.push('\n');
            match lines.next() {
                Some((next, _)) if next.len() <= MAX_LINE_BYTES => rest = next,
                _ => return wrong("unclosed single quote"),
            }
        }
        let (end, after) = rest.split_once('\'').unwrap_or((rest, ""));
        let after = after.trim_start_matches(BLANKS);
        if !after.is_empty() && !after.starts_with('#') {
            return wrong("unexpected content after closing quote");
        }
        if name == key {
            whole.push_str(end);
            return Ok(Some(whole));
        }
    }
    Ok(None)
}

/// What upstream skips.
const BLANKS: [char; 2] = [' ', '\t'];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selector(key: &str, optional: Option<bool>) -> FileKeySelector {
        FileKeySelector { key: key.to_owned(), optional, path: "env".to_owned(), volume_name: "v".to_owned() }
    }

    #[test]
    fn lines_are_read_as_upstream_reads_them() {
        let line = |line, problem| Err(BrokenEnvFile::Line { line, problem });
        let some = |text: &str| Ok(Some(text.to_owned()));
        for (content, key, value) in [
            ("A='1'", "A", some("1")),
            ("\n  \t\n# A='0'\n  A='1' # why\r\n", "A", some("1")),
            ("A='1'\nA='2'", "A", some("1")),
            ("A=''", "A", some("")),
            ("A='x # y'", "A", some("x # y")),
            ("A='a\n b\n\nc'\nB='d'", "A", some("a\n b\n\nc")),
            ("A='a\n b\n\nc'\nB='d'", "B", some("d")),
            ("A='$HOME\\n\"'", "A", some("$HOME\\n\"")),
            ("A= 'x'", "A", Ok(None)),
            ("A= broken\nB='2'", "B", some("2")),
            ("", "A", Ok(None)),
            ("B='2'", "A", Ok(None)),
            ("A='1'\nbroken", "A", some("1")),
            ("broken\nA='1'", "A", line(1, "missing '='")),
            ("='1'", "A", line(1, "empty variable name")),
            ("A ='1'", "A", line(1, "whitespace before '=' is not allowed")),
            (" ='1'", "A", line(1, "empty variable name")),
            ("B=1\nA='1'", "A", line(1, "value must be enclosed in single quotes")),
            ("A=\"1\"", "A", line(1, "value must be enclosed in single quotes")),
            ("\nA='1", "A", line(2, "unclosed single quote")),
            ("A='1'x", "A", line(1, "unexpected content after closing quote")),
        ] {
            assert_eq!(find(content, key), value, "{content:?}");
        }
        let long = format!("B='{}'\nA='1'", "x".repeat(65536));
        assert_eq!(find(&long, "A"), line(1, "it is too long"));
        let fits = format!("B='{}'\nA='1'", "x".repeat(65531));
        assert_eq!(find(&fits, "A"), some("1"));
    }

    #[test]
    fn what_is_optional_is_the_key_and_not_the_file() {
        let file = |content: Option<&str>| EnvFile {
            host_path: "/h/env".to_owned(),
            content: content.map(|content| content.as_bytes().to_vec()),
        };
        for optional in [None, Some(false)] {
            let error = value_of(&selector("A", optional), Some(&file(Some("A=''")))).unwrap_err();
            assert_eq!(error.to_string(), "environment variable key \"A\" not found in file \"/h/env\"");
        }
        assert_eq!(value_of(&selector("A", Some(true)), Some(&file(Some("")))), Ok(None));
        let huge = "x".repeat(MAX_ENV_FILE_BYTES + 1);
        for broken in [file(None), file(Some("A")), file(Some(&huge))] {
            let error = value_of(&selector("A", Some(true)), Some(&broken)).unwrap_err();
            assert_eq!(error.to_string(), "couldn't parse env file");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "[AB='# \\n\\t\\r]{0,60}") {
            let _ = find(&text, "A");
        }

        #[test]
        fn what_is_quoted_comes_back(value in "[^'\\r]{1,200}") {
            let content = format!("A='no'\nB='{value}'\n");
            prop_assert_eq!(find(&content, "B"), Ok(Some(value)));
        }
    }
}
