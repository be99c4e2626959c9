//! Events: what is counted onto what, what is told to others when, and how a file keeps them (CONTRACT 4.10).
//!
//! ```text
//! Happening -> Book: a new event, or a count more on one that is kept
//!                |-> journal lines: what a restart must not forget
//!                `-> Courtesy, Budget: when each event is told to the API server
//! ```
//! [`Happening`] is the one value that becomes an event, a line of the agent's log and a count in its metrics. Pure: times are
//! arguments, and who drives it writes and sends.

pub mod budget;
pub mod courtesy;
pub mod happening;
pub mod journal;

mod book;
#[cfg(test)]
mod tests;

pub use book::Book;
pub use budget::{Budget, Limits};
pub use courtesy::Courtesy;
pub use happening::{Happening, Tally};
