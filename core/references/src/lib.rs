//! What pods refer to on the API server: Secrets, ConfigMaps and tokens of service accounts (CONTRACT 6.10, 6.11).
//!
//! | module | what |
//! |---|---|
//! | [`pod`] | which objects a pod refers to, and how it uses them |
//! | [`store`] | the machine that says what is watched or read, and answers those who ask |
//! | [`token`] | which token a volume asks for, and when it is renewed |
//!
//! Reads nothing; times and news are arguments. Keeps the objects, hidden in [`core_types::Secret`].

pub mod pod;
pub mod store;
pub mod token;
pub mod trust;

pub use pod::{Use, container_references, references};
pub use store::{Effect, Event, Store, Strategy, Ticket};
pub use token::{IssuedToken, TokenAsk};
