//! What can be wrong with bytes that should be YAML or JSON, told so that the author of the file can mend
//! it.

use std::fmt;

/// A place in a text: line and column, both counted from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a text could not be read as YAML or JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than [`crate::Limits::max_bytes`]; nothing was parsed.
    #[error("{bytes} bytes are more than the {limit} allowed: make the file smaller")]
    TooLarge {
        /// Size of the input.
        bytes: usize,
        /// The limit it exceeds.
        limit: usize,
    },
    /// A NUL or another control character that no YAML text holds.
    #[error(
        "{at}: byte 0x{byte:02x} does not belong in YAML or JSON, this is not a text file: write it as UTF-8 text"
    )]
    NotText {
        /// Where the byte stands.
        at: Position,
        /// The byte.
        byte: u8,
    },
    /// Bytes that are not UTF-8.
    #[error("{at}: not valid UTF-8: save the file as UTF-8 text")]
    NotUtf8 {
        /// Where the first bad byte stands.
        at: Position,
    },
    /// Text that is not YAML, among them texts cut off within a quote, list or map.
    #[error("{at}: {message}")]
    Syntax {
        /// Where the reader gave up.
        at: Position,
        /// What it expected.
        message: String,
    },
    /// A line indented with a tab, which YAML forbids.
    #[error("{at}: a tab indents this line, which YAML does not allow: use spaces")]
    TabIndent {
        /// Where the indented node starts.
        at: Position,
    },
    /// A key given twice in one map, while [`crate::DuplicateKeys::Refuse`] is asked for.
    #[error("{}: key {:?} is already set in this map at line {}: keep one of the two", .0.at, .0.key, .0.first.line)]
    DuplicateKey(crate::DuplicateKey),
    /// Maps and lists nested deeper than [`crate::Limits::max_depth`].
    #[error("{at}: nested deeper than {limit} levels: flatten the document")]
    TooDeep {
        /// Where the level too many begins.
        at: Position,
        /// The limit.
        limit: usize,
    },
    /// An anchor used within its own value.
    #[error("{at}: the anchor this alias names contains the alias itself: write the value out")]
    CyclicAnchor {
        /// Where the alias stands.
        at: Position,
    },
    /// Aliases blow the document up beyond [`crate::Limits::max_alias_bytes`].
    #[error("{at}: aliases expand the document by more than {limit} bytes: write the values out")]
    TooManyAliases {
        /// Where the limit was passed.
        at: Position,
        /// The limit.
        limit: usize,
    },
    /// A key that JSON has no form for: null, a list or a map.
    #[error("{at}: a map key must be text, a number or a boolean")]
    BadKey {
        /// Where the key stands.
        at: Position,
    },
    /// A value that contradicts its tag or has no JSON form.
    #[error("{at}: {message}")]
    BadScalar {
        /// Where the value stands.
        at: Position,
        /// What is wrong with it.
        message: String,
    },
    /// `<<` with something that is no map.
    #[error("{at}: \"<<\" merges maps: give it a map or a list of maps")]
    BadMerge {
        /// Where the merge key stands.
        at: Position,
    },
}

impl DecodeError {
    /// Where the error is, when it is at one place.
    pub fn position(&self) -> Option<Position> {
        match self {
            DecodeError::TooLarge { .. } => None,
            DecodeError::DuplicateKey(duplicate) => Some(duplicate.at),
            DecodeError::NotText { at, .. }
            | DecodeError::NotUtf8 { at }
            | DecodeError::Syntax { at, .. }
            | DecodeError::TabIndent { at }
            | DecodeError::TooDeep { at, .. }
            | DecodeError::CyclicAnchor { at }
            | DecodeError::TooManyAliases { at, .. }
            | DecodeError::BadKey { at }
            | DecodeError::BadScalar { at, .. }
            | DecodeError::BadMerge { at } => Some(*at),
        }
    }
}
