//! The adapter against a fake CRI server over a real socket.

mod connection;
mod fake;
mod rules;
mod translation;
