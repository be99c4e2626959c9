//! A start without the API server: pods that it told before run again after a reboot of the node although it cannot be asked.
//!
//! | module | what |
//! |---|---|
//! | [`memory`] | what is kept of that which the server told, and whether it is worth writing again |
//! | [`format`] | the text that is sealed in a file |
//! | [`patience`] | when the server counts as away, so that what is kept is used |
//!
//! Reads nothing; times and news are arguments. Secrets stay hidden in [`core_types::Secret`] but for [`format`], whose text is
//! for the sealed file alone.

pub mod format;
pub mod memory;
pub mod patience;

pub use format::{Encoded, FormatError, Identity, Kept, decode, encode};
pub use memory::{Memory, News};
pub use patience::{Failure, Patience};
