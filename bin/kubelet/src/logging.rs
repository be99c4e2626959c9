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

use core_config::kubelet_configuration::Logging;
use io_host::HostClock;
use jiff::tz::TimeZone;
use ports::Clock;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use line::{Fields, Line};

/// Roots of the module paths of our own crates.
const OWN: [&str; 5] = ["agent", "server", "kubelet", "io_", "core_"];

/// Starts the log of this process; a second call changes nothing.
pub(crate) fn start(config: &Logging) {
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
        *metadata.level() <= self.filter.shown(metadata.target(), metadata.file().unwrap_or_default())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.filter.most())
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
    verbosity: u32,
    files: Vec<(String, u32)>,
}

impl Filter {
    fn new(config: &Logging) -> Self {
        let files = config.vmodule.iter().map(|item| (item.file_pattern.clone(), item.verbosity)).collect();
        Self { verbosity: config.verbosity, files }
    }

    /// The finest level shown of a crate's module in a source file.
    fn shown(&self, target: &str, file: &str) -> LevelFilter {
        let of_file = self.files.iter().find(|(pattern, _)| pattern::matches(pattern, file));
        level(OWN.iter().any(|own| target.starts_with(own)), of_file.map_or(self.verbosity, |(_, v)| *v))
    }

    /// The finest level shown of anything.
    fn most(&self) -> LevelFilter {
        let verbosities = self.files.iter().map(|(_, verbosity)| *verbosity);
        let most = verbosities.fold(self.verbosity, u32::max);
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

    fn filter(verbosity: u32, vmodule: &[(&str, u32)]) -> Filter {
        let item =
            |&(pattern, verbosity): &(&str, u32)| VmoduleItem { file_pattern: pattern.into(), verbosity };
        Filter::new(&Logging { verbosity, vmodule: vmodule.iter().map(item).collect(), ..Logging::default() })
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
            let filter = filter(verbosity, &[]);
            assert_eq!(filter.shown("agent::pleg", "agent/src/pleg.rs"), own, "{verbosity}");
            assert_eq!(filter.shown("io_cri::call", "io/cri/src/call.rs"), own, "{verbosity}");
            assert_eq!(filter.shown("h2::proto", "/h2/src/proto.rs"), library, "{verbosity}");
            assert_eq!(filter.most(), own.max(library), "{verbosity}");
        }
    }

    #[test]
    fn vmodule_sets_single_files_and_the_first_match_counts() {
        let filter = filter(0, &[("pleg", 4), ("p*", 6)]);
        assert_eq!(filter.shown("agent::pleg", "agent/src/pleg.rs"), LevelFilter::DEBUG);
        assert_eq!(filter.shown("server::pods", "server/src/pods.rs"), LevelFilter::TRACE);
        assert_eq!(filter.shown("server::local", "server/src/local.rs"), LevelFilter::INFO);
        assert_eq!(filter.most(), LevelFilter::TRACE);
    }
}
