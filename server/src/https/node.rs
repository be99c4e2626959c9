//! What concerns the node rather than its pods: its log files and journal, flags and status for people, the debugging paths
//! (CONTRACT 2.5, 2.8). Each part has its switch in the configuration.

mod debug;
mod logs;
mod query;
mod zpages;

use std::collections::BTreeMap;
use std::sync::Arc;

use core_types::WallTime;
use ports::{Journal, NodeFiles};

/// A switch of the configuration or a feature gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Served.
    On,
    /// Refused, or unknown.
    Off,
}

/// `enableSystemLogHandler` and `enableSystemLogQuery`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeLogs {
    /// `/logs/` says that it is off.
    Off,
    /// The files of the log directory.
    Files,
    /// And queries, answered from the journal and the files.
    Query,
}

/// Sets the verbosity of the process's log while it runs.
pub trait LogVerbosity: Send + Sync {
    /// Events up to this verbosity are shown from now on.
    fn set(&self, verbosity: u32);
}

/// Settings and sources.
#[derive(Clone)]
pub struct NodeOptions {
    /// Log files and queries.
    pub logs: NodeLogs,
    /// `enableProfilingHandler`.
    pub profiling: Switch,
    /// `enableDebugFlagsHandler`.
    pub debug_flags: Switch,
    /// `ComponentFlagz`.
    pub flagz: Switch,
    /// `ComponentStatusz`.
    pub statusz: Switch,
    /// Files beneath the node's log directory.
    pub files: Arc<dyn NodeFiles>,
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// The process's log.
    pub verbosity: Arc<dyn LogVerbosity>,
    /// Flags and their values; secrets are masked already.
    pub flags: Arc<BTreeMap<String, String>>,
    /// Words of the process's command line.
    pub command_line: Arc<[String]>,
    /// When the process started.
    pub started: WallTime,
}

/// Answers the requests.
pub(super) struct NodePages {
    options: NodeOptions,
    context: crate::ServerContext,
}

impl NodePages {
    pub(super) fn new(options: NodeOptions, context: crate::ServerContext) -> Self {
        Self { options, context }
    }

    /// The text for a path whose part is switched off.
    pub(super) fn disabled(&self, path: &str) -> Option<&'static str> {
        let is_off = |switch| switch == Switch::Off;
        if self.options.logs == NodeLogs::Off && path.starts_with("/logs/") {
            Some("logs endpoint is disabled.")
        } else if is_off(self.options.profiling) && path.starts_with("/debug/pprof/") {
            Some("profiling endpoint is disabled.")
        } else if is_off(self.options.debug_flags) && path == "/debug/flags/v" {
            Some("flags endpoint is disabled.")
        } else {
            None
        }
    }

    /// False for pages whose feature gate is off: nobody knows their path then.
    pub(super) fn knows(&self, path: &str) -> bool {
        match path {
            "/flagz" => self.options.flagz == Switch::On,
            "/statusz" => self.options.statusz == Switch::On,
            _ => true,
        }
    }
}
