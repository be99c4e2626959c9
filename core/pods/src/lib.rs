//! Which pods the node should run, and the life of each: sources, static pods, pod workers
pub mod worker;
