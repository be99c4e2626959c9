//! An error of one field, in the form and words of upstream's `field.Error`, and the list that collects them.

use std::fmt;

/// Errors of one pod that are kept; more would only bury the first ones.
pub const MAX_ERRORS: usize = 100;

/// What is wrong with a field (upstream's `field.ErrorType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// It must be set.
    Required,
    /// Its value is malformed or out of bounds.
    Invalid,
    /// Its value must be unique.
    Duplicate,
    /// Its value is none of a fixed list.
    NotSupported,
    /// What it names does not exist.
    NotFound,
    /// It may not be set here.
    Forbidden,
    /// Its value is too long.
    TooLong,
    /// More items than allowed.
    TooMany,
}

impl FieldErrorKind {
    /// Upstream's text for the kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::Duplicate => "Duplicate value",
            Self::NotSupported => "Unsupported value",
            Self::NotFound => "Not found",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
        }
    }
}

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {}", self.body())]
pub struct FieldError {
    /// Path of the field, e.g. `spec.containers[0].image`.
    pub field: String,
    /// What is wrong with it.
    pub kind: FieldErrorKind,
    /// The value as shown; empty when the kind shows none.
    pub value: String,
    /// More words; may be empty.
    pub detail: String,
}

impl FieldError {
    /// The message without the field's path.
    pub fn body(&self) -> String {
        let parts = [self.kind.as_str(), &self.value, &self.detail];
        let filled: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        filled.join(": ")
    }
}

/// Path of a field while validation walks down a pod.
#[derive(Clone, Debug)]
pub(crate) struct Path(String);

impl Path {
    pub(crate) fn root(name: &str) -> Self {
        Self(name.to_owned())
    }

    pub(crate) fn child(&self, name: &str) -> Self {
        Self(format!("{}.{name}", self.0))
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    pub(crate) fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A bad value as upstream shows it: texts in quotes, numbers and booleans plain. A long text is cut.
#[derive(Debug)]
pub(crate) struct Shown(String);

/// Characters of a bad value that are shown.
const SHOWN_CHARS: usize = 300;

impl From<&str> for Shown {
    fn from(text: &str) -> Self {
        let mut cut: String = text.chars().take(SHOWN_CHARS).collect();
        if cut.len() < text.len() {
            cut.push('…');
        }
        Self(format!("{cut:?}"))
    }
}

impl From<&String> for Shown {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<i32> for Shown {
    fn from(number: i32) -> Self {
        Self(number.to_string())
    }
}

impl From<i64> for Shown {
    fn from(number: i64) -> Self {
        Self(number.to_string())
    }
}

impl From<bool> for Shown {
    fn from(value: bool) -> Self {
        Self(value.to_string())
    }
}

impl From<&[String]> for Shown {
    fn from(list: &[String]) -> Self {
        let texts: Vec<String> = list.iter().take(10).map(|text| Self::from(text).0).collect();
        Self(format!("[{}]", texts.join(",")))
    }
}

/// Errors found so far.
#[derive(Debug, Default)]
pub(crate) struct Errors(Vec<FieldError>);

impl Errors {
    fn push(&mut self, field: &Path, kind: FieldErrorKind, value: Option<Shown>, detail: String) {
        if self.0.len() < MAX_ERRORS {
            let value = value.map(|shown| shown.0).unwrap_or_default();
            self.0.push(FieldError { field: field.0.clone(), kind, value, detail });
        }
    }

    pub(crate) fn required(&mut self, field: &Path, detail: &str) {
        self.push(field, FieldErrorKind::Required, None, detail.to_owned());
    }

    pub(crate) fn invalid(&mut self, field: &Path, value: impl Into<Shown>, detail: impl Into<String>) {
        self.push(field, FieldErrorKind::Invalid, Some(value.into()), detail.into());
    }

    /// One [`Errors::invalid`] per message.
    pub(crate) fn invalid_each(&mut self, field: &Path, value: &str, messages: Vec<String>) {
        for message in messages {
            self.invalid(field, value, message);
        }
    }

    /// `max` is more than one.
    pub(crate) fn too_many(&mut self, field: &Path, count: usize, max: usize) {
        let detail = format!("must have at most {max} items");
        self.push(field, FieldErrorKind::TooMany, Some(Shown(count.to_string())), detail);
    }

    pub(crate) fn duplicate(&mut self, field: &Path, value: impl Into<Shown>) {
        self.push(field, FieldErrorKind::Duplicate, Some(value.into()), String::new());
    }

    pub(crate) fn not_supported(&mut self, field: &Path, value: &str, supported: &[&str]) {
        let quoted: Vec<String> = supported.iter().map(|text| format!("{text:?}")).collect();
        let detail = format!("supported values: {}", quoted.join(", "));
        self.push(field, FieldErrorKind::NotSupported, Some(value.into()), detail);
    }

    pub(crate) fn not_found(&mut self, field: &Path, value: &str) {
        self.push(field, FieldErrorKind::NotFound, Some(value.into()), String::new());
    }

    pub(crate) fn forbidden(&mut self, field: &Path, detail: impl Into<String>) {
        self.push(field, FieldErrorKind::Forbidden, None, detail.into());
    }

    pub(crate) fn too_long(&mut self, field: &Path, max_bytes: usize) {
        self.push(field, FieldErrorKind::TooLong, None, format!("may not be more than {max_bytes} bytes"));
    }

    /// `value` must be one of `supported`; empty is "required" (upstream's usual switch over an enumerated field).
    pub(crate) fn one_of(&mut self, field: &Path, value: &str, supported: &[&str]) {
        if value.is_empty() {
            self.required(field, "");
        } else if !supported.contains(&value) {
            self.not_supported(field, value, supported);
        }
    }

    pub(crate) fn into_vec(self) -> Vec<FieldError> {
        self.0
    }
}
