//! The named invariants of the agent (`docs/invariants.md`). A broken one is an error of ours: simulation and debug builds
//! stop at it, release builds count it and go on.

use std::fmt;

macro_rules! invariants {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $rule:literal;)*) => {
        /// One rule that must hold at every step.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Invariant {
            $(#[doc = $rule] $name,)*
        }

        impl Invariant {
            /// All invariants, in the order of `docs/invariants.md`.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Short ID, e.g. `PW-1`.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// The rule in one sentence.
            pub const fn rule(self) -> &'static str {
                match self { $(Self::$name => $rule,)* }
            }
        }
    };
}

invariants! {
    OneOperation = "PW-1", "at most one operation is in flight per pod";
    NoWayBack = "PW-2", "a pod that left Syncing never returns to it in the same incarnation";
    NoStartWhenStopping = "PW-3", "no container starts after Terminating";
    TerminatedIsSeen = "PW-4", "Terminated means that a picture newer than the last kill shows nothing running";
    OnePerName = "PW-5", "two pods with one full name are never both Syncing";
    NewestSpec = "PW-6", "the newest pending spec is never lost";
    TerminalPhase = "ST-1", "a terminal phase never changes";
    RestartCount = "ST-2", "restartCount never falls for a pod UID";
    ProbeOfItsContainer = "PR-1", "a probe result of an old container never acts on the new one";
    CriticalSpared = "EV-1", "eviction never picks a critical pod";
    ImageInUse = "IM-1", "an image in use is never deleted";
    StaticAlone = "SP-1", "static pods start, restart and stop with no API server";
    QuietRestart = "SP-2", "restarting the agent restarts no container and flips no condition";
    VolumesWhileRunning = "VM-1", "nothing is unmounted while containers may run";
    MountsRemembered = "VM-2", "what was mounted before a restart is adopted or removed, never forgotten";
    CgroupNesting = "CM-2", "each container's cgroup lies under its pod's, and that under its QoS class";
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id(), self.rule())
    }
}
