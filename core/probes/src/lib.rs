//! Probes: when a container is asked, what for, and what its answers mean (CONTRACT 4.4).
//!
//! [`Machine`] is the life of one probe of one container; [`request`] is what it asks. Pure: whoever drives the machine
//! sends the request and brings the answer back.
//!
//! Left out: HTTP/2 without TLS and TLS for gRPC probes, which are alpha upstream; pods that ask for them are refused.

mod machine;
mod request;
#[cfg(test)]
mod tests;

pub use machine::{Ending, Gate, Instance, Machine, Run, Schedule, Standing, Verdict, spread};
pub use request::{
    GrpcMode, HttpRequest, HttpVersion, ProbeGates, ProbeRequest, RequestError, Scheme, request,
};

use core_types::api::{Container, Probe};

/// What a probe decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// Whether the container has started; the others wait for it.
    Startup,
    /// Whether the container must be restarted.
    Liveness,
    /// Whether the container is ready.
    Readiness,
}

impl ProbeKind {
    /// All, those first that others wait for.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// The word in events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// This probe of a container, if it has one.
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
}
