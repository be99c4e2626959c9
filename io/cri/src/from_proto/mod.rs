//! Replies as plain data. A field that a reply must have and has not makes the reply [`Malformed`], as
//! upstream's client checks it; in a list an entry without an ID is left out, because nothing can be done
//! with it.

pub(crate) mod image;
pub(crate) mod info;
pub(crate) mod metrics;
pub(crate) mod stats;
pub(crate) mod status;

use crate::call::Malformed;

/// A value that the reply must carry; `what` is the field's name in CRI.
fn required<T>(value: Option<T>, what: &str) -> Result<T, Malformed> {
    value.ok_or_else(|| Malformed(format!("{what} is not set")))
}

/// A text that the reply must carry.
pub(crate) fn required_text(text: String, what: &str) -> Result<String, Malformed> {
    if text.is_empty() { Err(Malformed(format!("{what} is not set"))) } else { Ok(text) }
}
