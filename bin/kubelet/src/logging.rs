//! The log: klog's text or JSON lines on standard error, as `logging` of the configuration asks.
//!
//! Takes `tracing` events of all crates. What is shown follows upstream's verbosities:
//!
//! | verbosity | our events | events of libraries |
//! |---|---|---|
//! | 0 | error, warn, info | error, warn |
//! | 4 (debug in Kubernetes' conventions) | and debug | |
//! | 6 | and trace | |
//! | 8 (contents of requests) | | and info, debug |
//! | 10 | | all |
//!
//! `vmodule` sets the verbosity of single source files by their names. Every line is one write, so lines of several threads
//! stay whole; nothing is buffered, so nothing is lost when the process dies. Left out: split streams and buffers (their
//! feature gate is not on offer).

mod line;
mod pattern;

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

use core_config::kubelet_configuration::Logging;
use io_host::HostClock;
use jiff::tz::TimeZone;
use ports::Clock;
use server::https::LogVerbosity;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use line::{Fields, Line};

/// Roots of the module paths of our own crates.
const OWN: [&str; 5] = ["agent", "server", "kubelet", "io_", "core_"];

/// The verbosity of the one log that a process has, where `vmodule` does not say otherwise. It can change at any time.
static VERBOSITY: AtomicU32 = AtomicU32::new(0);

/// The verbosity of this process's log, for the port that changes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessVerbosity;

impl LogVerbosity for ProcessVerbosity {
    fn set(&self, verbosity: u32) {
        VERBOSITY.store(verbosity, Ordering::Relaxed);
        // What is shown is remembered for each place in the code; this asks again.
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Starts the log of this process; a second call changes nothing.
pub(crate) fn start(config: &Logging) {
    VERBOSITY.store(config.verbosity, Ordering::Relaxed);
    let log = Log {
        format: if config.format == "json" { Format::Json } else { Format::Text },
        filter: Filter::new(config),
        clock: HostClock::new(),
        zone: TimeZone::system(),
        process: std::process::id(),
    };
    // Fails only when a log was started before.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(log));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

struct Log {
    format: Format,
    filter: Filter,
    clock: HostClock,
    zone: TimeZone,
    process: u32,
}

impl<S: Subscriber> Layer<S> for Log {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let file = metadata.file().unwrap_or_default();
        *metadata.level() <= self.filter.shown(metadata.target(), file, VERBOSITY.load(Ordering::Relaxed))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.filter.most(VERBOSITY.load(Ordering::Relaxed)))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = Line {
            time: self.clock.wall(),
            level: *metadata.level(),
            process: self.process,
            file: metadata.file().unwrap_or("???"),
            line: metadata.line().unwrap_or(0),
            fields,
        };
        let text = match self.format {
            Format::Text => line.text(&self.zone),
            Format::Json => line.json(),
        };
        // There is nobody to tell when standard error is gone.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

/// Which events are shown.
#[derive(Debug)]
struct Filter {
    files: Vec<(String, u32)>,
}

impl Filter {
    fn new(config: &Logging) -> Self {
        let files = config.vmodule.iter().map(|item| (item.file_pattern.clone(), item.verbosity)).collect();
        Self { files }
    }

    /// The finest level shown of a crate's module in a source file.
    fn shown(&self, target: &str, file: &str, verbosity: u32) -> LevelFilter {
        let of_file = self.files.iter().find(|(pattern, _)| pattern::matches(pattern, file));
        level(OWN.iter().any(|own| target.starts_with(own)), of_file.map_or(verbosity, |(_, v)| *v))
    }

    /// The finest level shown of anything.
    fn most(&self, verbosity: u32) -> LevelFilter {
        let verbosities = self.files.iter().map(|(_, verbosity)| *verbosity);
        let most = verbosities.fold(verbosity, u32::max);
        level(true, most).max(level(false, most))
    }
}

/// Levels by verbosity, see the table above.
fn level(own: bool, verbosity: u32) -> LevelFilter {
    let level = match (own, verbosity) {
        (true, 0..=3) => Level::INFO,
        (true, 4..=5) | (false, 8..=9) => Level::DEBUG,
        (true, _) | (false, 10..) => Level::TRACE,
        (false, 0..=7) => Level::WARN,
    };
    LevelFilter::from_level(level)
}

#[cfg(test)]
mod tests {
    use core_config::kubelet_configuration::VmoduleItem;

    use super::*;

    fn filter(vmodule: &[(&str, u32)]) -> Filter {
        let item =
            |&(pattern, verbosity): &(&str, u32)| VmoduleItem { file_pattern: pattern.into(), verbosity };
        Filter::new(&Logging { vmodule: vmodule.iter().map(item).collect(), ..Logging::default() })
    }

    #[test]
    fn verbosity_shows_our_debugging_before_that_of_libraries() {
        let table = [
            (0, LevelFilter::INFO, LevelFilter::WARN),
            (3, LevelFilter::INFO, LevelFilter::WARN),
            (4, LevelFilter::DEBUG, LevelFilter::WARN),
            (6, LevelFilter::TRACE, LevelFilter::WARN),
            (8, LevelFilter::TRACE, LevelFilter::DEBUG),
            (10, LevelFilter::TRACE, LevelFilter::TRACE),
        ];
        for (verbosity, own, library) in table {
            let filter = filter(&[]);
            assert_eq!(filter.shown("agent::pleg", "agent/src/pleg.rs", verbosity), own, "{verbosity}");
            assert_eq!(filter.shown("io_cri::call", "io/cri/src/call.rs", verbosity), own, "{verbosity}");
            assert_eq!(filter.shown("h2::proto", "/h2/src/proto.rs", verbosity), library, "{verbosity}");
            assert_eq!(filter.most(verbosity), own.max(library), "{verbosity}");
        }
    }

    #[test]
    fn vmodule_sets_single_files_and_the_first_match_counts() {
        let filter = filter(&[("pleg", 4), ("p*", 6)]);
        assert_eq!(filter.shown("agent::pleg", "agent/src/pleg.rs", 0), LevelFilter::DEBUG);
        assert_eq!(filter.shown("server::pods", "server/src/pods.rs", 0), LevelFilter::TRACE);
        assert_eq!(filter.shown("server::local", "server/src/local.rs", 0), LevelFilter::INFO);
        assert_eq!(filter.most(0), LevelFilter::TRACE);
    }
}
