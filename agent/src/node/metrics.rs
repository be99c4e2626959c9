//! How long a new node took from its boot to Ready. A node that was registered before shows none of it.

use core_metrics::{Desc, Gauge, Registry};
use core_types::WallTime;

/// Times of a start.
#[derive(Debug)]
pub(super) struct NodeMetrics {
    registry: Registry,
    booted_at: Option<WallTime>,
    started_at: WallTime,
    first_attempt_at: Option<WallTime>,
    registered_at: Option<WallTime>,
    is_ready: bool,
}

impl NodeMetrics {
    pub(super) fn new(registry: &Registry, booted_at: Option<WallTime>, started_at: WallTime) -> Self {
        Self {
            registry: registry.clone(),
            booted_at,
            started_at,
            first_attempt_at: None,
            registered_at: None,
            is_ready: false,
        }
    }

    /// The first attempt to register begins.
    pub(super) fn registration_begins(&mut self, now: WallTime) {
        self.first_attempt_at.get_or_insert(now);
    }

    /// A new Node object was made.
    pub(super) fn registered_new(&mut self, now: WallTime) {
        let Some(attempted) = self.first_attempt_at.filter(|_| self.registered_at.is_none()) else { return };
        self.registered_at = Some(now);
        if let Some(booted) = self.booted_at {
            self.set(
                "kubelet_node_startup_pre_kubelet_duration_seconds",
                "[ALPHA] Duration in seconds of node startup before kubelet starts.",
                (booted, self.started_at),
            );
        }
        self.set(
            "kubelet_node_startup_pre_registration_duration_seconds",
            "[ALPHA] Duration in seconds of node startup before registration.",
            (self.started_at, attempted),
        );
        self.set(
            "kubelet_node_startup_registration_duration_seconds",
            "[ALPHA] Duration in seconds of node startup during registration.",
            (attempted, now),
        );
    }

    /// The object says that the node is ready.
    pub(super) fn ready(&mut self, now: WallTime) {
        let Some(registered) = self.registered_at.filter(|_| !self.is_ready) else { return };
        self.is_ready = true;
        self.set(
            "kubelet_node_startup_post_registration_duration_seconds",
            "[ALPHA] Duration in seconds of node startup after registration.",
            (registered, now),
        );
        if let Some(booted) = self.booted_at {
            self.set(
                "kubelet_node_startup_duration_seconds",
                "[ALPHA] Duration in seconds of node startup in total.",
                (booted, now),
            );
        }
    }

    fn set(&self, name: &'static str, help: &'static str, (from, to): (WallTime, WallTime)) {
        let gauge: Gauge = self.registry.gauge(Desc { name, help, labels: &[] });
        gauge.set(&[], to.since(from).as_secs_f64());
    }
}
