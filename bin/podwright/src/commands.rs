//! One module for each command.

pub(crate) mod attach;
pub(crate) mod completion;
pub(crate) mod cp;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod evict;
pub(crate) mod exec;
pub(crate) mod logs;
pub(crate) mod port_forward;
pub(crate) mod ps;
pub(crate) mod resize;
pub(crate) mod rm;
pub(crate) mod run;
pub(crate) mod top;
pub(crate) mod why;

#[cfg(test)]
mod tests;
