//! What the kubelet promises as a node of a real cluster, looked at with a real kubectl.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod adoption;
mod churn;
mod faulty_api;
mod kubectl;
mod node;
mod offline;
mod pods;
mod shutdown;
mod static_pods;
mod top;
