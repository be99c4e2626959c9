//! How objects are written and read. Everything that goes over the wire passes here, so that another format is a change of this file.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What requests ask for, and what bodies of new objects are.
pub(crate) const CONTENT_TYPE: &str = "application/json";

/// Writes an object.
pub(crate) fn encode<B: Serialize + ?Sized>(object: &B) -> Result<Bytes, String> {
    serde_json::to_vec(object)
        .map(Bytes::from)
        .map_err(|error| format!("the object cannot be written: {error}"))
}

/// Reads an object.
pub(crate) fn decode<K: DeserializeOwned>(bytes: &[u8]) -> Result<K, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("the answer cannot be read: {error}"))
}

/// One event of a watch, its object still unread: what it is depends on the type.
#[derive(Deserialize)]
pub(crate) struct Frame<'a> {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    /// The object.
    #[serde(borrow)]
    pub(crate) object: &'a RawValue,
}

impl<'a> Frame<'a> {
    /// Splits one line of a watch.
    pub(crate) fn split(line: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(line).map_err(|error| format!("an event of the watch cannot be read: {error}"))
    }
}
