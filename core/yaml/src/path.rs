//! The way to a field within a document, written as Kubernetes writes it: `spec.containers[0].image`.

use std::fmt;

/// One step of a [`FieldPath`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// A key of a map.
    Key(String),
    /// An index of a list, from 0.
    Index(usize),
}

/// The way to a field; empty for the document itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(pub Vec<Segment>);

impl FieldPath {
    /// Reads `spec.containers[0].image` or `metadata.annotations[example.com/key]`: a bracket holds an
    /// index when it is a number, else a key.
    pub fn parse(text: &str) -> FieldPath {
        let mut segments = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some((inner, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
                segments.push(match inner.parse() {
                    Ok(index) => Segment::Index(index),
                    Err(_) => Segment::Key(inner.to_owned()),
                });
                rest = after.strip_prefix('.').unwrap_or(after);
                continue;
            }
            let end = rest.find(['.', '[']).filter(|&end| end > 0).unwrap_or(rest.len());
            segments.push(Segment::Key(rest[..end].to_owned()));
            rest = rest[end..].strip_prefix('.').unwrap_or(&rest[end..]);
        }
        FieldPath(segments)
    }

    /// Whether the path is that of the document itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if key.contains(['.', '[', ']', '/']) => write!(f, "[{key}]")?,
                Segment::Key(key) if depth == 0 => write!(f, "{key}")?,
                Segment::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_back_as_written() {
        for text in
            ["", "spec", "spec.containers[0].image", "metadata.annotations[example.com/key]", "a[1][2].b"]
        {
            assert_eq!(FieldPath::parse(text).to_string(), text);
        }
    }

    #[test]
    fn odd_paths_end() {
        for text in ["[", "]", ".", "..", "a..b", "a[", "a]b", "[]"] {
            FieldPath::parse(text);
        }
    }
}
