//! Images of pods: what a reference means, which credentials fit it, which pulls run, and who may use what was pulled
//! (CONTRACT 3.16, 6.13).
//!
//! | module | decides |
//! |---|---|
//! | [`reference`] | how an image is named |
//! | [`pull`] | whether to pull, and what a failed pull is called |
//! | [`keyring`], [`credential`], [`secrets`], [`providers`] | which credentials are tried |
//! | [`scheduler`] | which pulls run now, and for whom |
//! | [`book`], [`records`], [`verify`] | who may use what was pulled, and what is kept of it on disk |
//! | [`volumes`] | which runtimes mount images |
//!
//! Everything here is a function or a machine; `agent` asks the runtime, the disk and the plugins.

pub mod book;
pub mod credential;
pub mod keyring;
pub mod providers;
pub mod pull;
pub mod records;
pub mod reference;
pub mod scheduler;
pub mod secrets;
pub mod verify;
pub mod volumes;

pub use credential::{Credential, CredentialSource, ObjectName};
pub use keyring::Keyring;
pub use reference::{ImageNameError, ImageReference};
