//! Everything the programs promise on a current runtime, one module per field.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod admission;
mod adoption;
mod bad_input;
mod cli;
mod container_gc;
mod doctor;
mod environment;
mod events;
mod eviction;
mod faults;
mod features;
mod hooks;
mod hostile;
mod identity;
mod image_gc;
mod images;
mod iptables;
mod lifecycle;
mod log_rotation;
mod logind;
mod metrics;
mod mounts;
mod oom;
mod ports;
mod probes;
mod reserved;
mod resize;
mod resources;
mod rest;
mod restart;
mod restart_rules;
mod security;
mod stats;
mod streams;
mod streams_cli;
mod systemd;
mod url_source;
mod user_namespaces;
mod volumes;
