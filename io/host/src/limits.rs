//! Limits of the agent's own process: open files, its place in the order of the OOM killer, and the allocator.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// `oomScoreAdj` goes from -1000 (never killed) to 1000.
const OOM_SCORE_ADJ: &str = "/proc/self/oom_score_adj";

/// Why a limit was not set.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// Needs privileges this process does not have. The agent runs on with what it has.
    #[error("{what} could not be set to {wanted}: not permitted; the agent goes on with {current}")]
    NotPermitted {
        /// Which limit.
        what: &'static str,
        /// Value asked for.
        wanted: i64,
        /// Value that stays.
        current: i64,
    },
    /// The system refused.
    #[error("set {what} to {wanted}")]
    Io {
        /// Which limit.
        what: &'static str,
        /// Value asked for.
        wanted: i64,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

/// Sets the number of files that may be open (`maxOpenFiles`); a limit that is higher already stays.
///
/// # Errors
/// When it is not permitted; then it was raised as far as it is.
pub fn set_max_open_files(wanted: u64) -> Result<(), LimitError> {
    const WHAT: &str = "the number of open files (maxOpenFiles)";
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let maximum = now.maximum.map(|maximum| maximum.max(wanted));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => {
            let reachable = Rlimit { current: now.maximum, maximum: now.maximum };
            let io =
                |source: Errno| LimitError::Io { what: WHAT, wanted: signed(wanted), source: source.into() };
            setrlimit(Resource::Nofile, reachable).map_err(io)?;
            let current = signed(now.maximum.unwrap_or(u64::MAX));
            Err(LimitError::NotPermitted { what: WHAT, wanted: signed(wanted), current })
        }
        Err(error) => Err(LimitError::Io { what: WHAT, wanted: signed(wanted), source: error.into() }),
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Sets the agent's own `oom_score_adj`.
///
/// # Errors
/// When it is not permitted.
pub fn set_oom_score_adj(wanted: i32) -> Result<(), LimitError> {
    const WHAT: &str = "oom_score_adj (oomScoreAdj)";
    let current =
        std::fs::read_to_string(OOM_SCORE_ADJ).ok().and_then(|text| text.trim().parse::<i64>().ok());
    if current == Some(i64::from(wanted)) {
        return Ok(());
    }
    match std::fs::write(OOM_SCORE_ADJ, wanted.to_string()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Err(LimitError::NotPermitted {
            what: WHAT,
            wanted: wanted.into(),
            current: current.unwrap_or_default(),
        }),
        Err(source) => Err(LimitError::Io { what: WHAT, wanted: wanted.into(), source }),
    }
}

/// Sets both; what cannot be set is said once in the log, and the agent goes on.
pub fn apply_or_warn(max_open_files: u64, oom_score_adj: i32) {
    for result in [set_max_open_files(max_open_files), set_oom_score_adj(oom_score_adj)] {
        if let Err(error) = result {
            tracing::warn!(%error, "a limit of the agent's process stays as it is");
        }
    }
}

/// Keeps glibc's allocator small: one arena for all threads, and free memory above 64 KiB goes back to the system.
/// Called first thing in `main`, before other threads exist. Does nothing with another C library.
pub fn tune_allocator() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code)]
    // SAFETY: mallopt takes two integers and only changes the allocator's settings; unknown ones are ignored.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_raised_and_never_lowered() {
        tune_allocator();
        let before = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        set_max_open_files(1).unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), before);
        if let Some(maximum) = getrlimit(Resource::Nofile).maximum {
            set_max_open_files(maximum).unwrap();
            assert_eq!(getrlimit(Resource::Nofile).current, Some(maximum));
        }
    }

    #[test]
    fn the_oom_score_that_is_set_already_needs_no_permission() {
        let current = std::fs::read_to_string(OOM_SCORE_ADJ).unwrap().trim().parse().unwrap();
        set_oom_score_adj(current).unwrap();
        assert!(matches!(set_oom_score_adj(5000), Err(LimitError::Io { .. })));
    }
}
