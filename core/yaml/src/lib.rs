//! Bounded reading of YAML and JSON the way Go's `sigs.k8s.io/yaml` reads it.
//!
//! For: every file a person writes for the node (pod manifests, the kubelet configuration and its drop-ins,
//! credential provider configuration). Upstream reads them with go-yaml v2, then as JSON; a manifest must
//! mean the same here.
//!
//! ```text
//! bytes --decode--> Value --from_value--> (T, unknown fields)
//!   |                                          |
//!   +--------- locate(path) <-- FieldPath -----+     where in the file a complaint belongs
//! ```
//!
//! - Scalars follow go-yaml v2 (YAML 1.1): `0644` is 420, `yes`/`on`/`y` are true, `1_000` is 1000, whole
//!   floats (`1.0`, `1e3`) come out as integers, dates stay text, `!!binary` is decoded, merge keys (`<<`)
//!   are applied where they stand. Keys that are numbers or booleans become their JSON text (`on:` is the
//!   key `true`).
//! - Whatever the bytes are, reading ends with a value or a [`DecodeError`]: size, nesting depth and the
//!   growth through aliases are bounded by [`Limits`], an anchor that contains itself is refused, and
//!   bytes that are not text are refused before they are parsed.
//! - Errors carry the line and column (both from 1) and say what to do.
//!
//! Left out: UTF-16 input, which go-yaml accepts; comments; writing YAML.

mod compose;
mod error;
mod locate;
mod path;
mod scalar;
mod typed;

pub use compose::{Document, DuplicateKey, DuplicateKeys, Limits, decode, decode_documents};
pub use error::{DecodeError, Position};
pub use locate::locate;
pub use path::{FieldPath, Segment};
pub use typed::{FieldError, MAX_UNKNOWN_FIELDS, UnknownField, from_value};
