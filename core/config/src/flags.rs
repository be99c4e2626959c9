//! The command line: every flag of upstream's kubelet v1.37, a few of the classic kubelet's, and our own
//! (CONTRACT 1.1 and 1.2), read as pflag reads them.
//!
//! ```text
//! args --parse--> ParsedFlags (which flag, which text) --apply--> a Target: configuration and options
//! ```
//!
//! A flag is one item of a table: name, default, help, and a function that sets what it stands for. Flags
//! are applied twice, as upstream does: once over the defaults, which also finds bad values, and again
//! over what files said, so that flags win.
//!
//! Left out: flags that vanished before v1.37 other than those named above; they are unknown.

mod node;
mod parse;
mod pods;
mod server;
pub(crate) mod value;

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use crate::kubelet_configuration::KubeletConfiguration;
use crate::notice::{Notice, NoticeKind};
use crate::options::Options;
pub use parse::{ParsedFlags, UsageError, parse};
use value::{Outcome, Turn};

/// What the command line asks the program to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Run.
    Run,
    /// Print the help and end.
    Help,
    /// Print the version and end.
    Version,
    /// Print the version with its details and end.
    RawVersion,
}

/// What flags set.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) config: KubeletConfiguration,
    pub(crate) options: Options,
    pub(crate) request: Request,
}

/// Whether a flag stands alone or takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arity {
    /// `--name` means true; a value needs `=`.
    Switch,
    /// `--name value` or `--name=value`.
    Value,
}

/// One flag.
#[derive(Debug)]
pub(crate) struct Flag {
    name: &'static str,
    short: Option<char>,
    arity: Arity,
    default: &'static str,
    help: &'static str,
    deprecated: Option<&'static str>,
    has_effect: bool,
    set: fn(&mut Target, &str, Turn) -> Outcome,
}

impl Flag {
    const fn new(
        name: &'static str,
        arity: Arity,
        default: &'static str,
        help: &'static str,
        set: fn(&mut Target, &str, Turn) -> Outcome,
    ) -> Flag {
        Flag { name, short: None, arity, default, help, deprecated: None, has_effect: true, set }
    }

    const fn switch(
        name: &'static str,
        default: &'static str,
        help: &'static str,
        set: fn(&mut Target, &str, Turn) -> Outcome,
    ) -> Flag {
        Flag::new(name, Arity::Switch, default, help, set)
    }

    const fn value(
        name: &'static str,
        default: &'static str,
        help: &'static str,
        set: fn(&mut Target, &str, Turn) -> Outcome,
    ) -> Flag {
        Flag::new(name, Arity::Value, default, help, set)
    }

    const fn short(mut self, short: char) -> Flag {
        self.short = Some(short);
        self
    }

    const fn deprecated(mut self, instead: &'static str) -> Flag {
        self.deprecated = Some(instead);
        self
    }

    /// The flag mirrors a field of the configuration file, where it belongs.
    const fn in_file(self) -> Flag {
        self.deprecated("set it in the file given by --config")
    }

    const fn without_effect(mut self) -> Flag {
        self.has_effect = false;
        self
    }

    fn notice(&self) -> Option<Notice> {
        if !self.has_effect {
            let message = format!("--{} is accepted and has no effect", self.name);
            return Some(Notice { kind: NoticeKind::IgnoredSetting, message });
        }
        let message = format!("--{} is deprecated: {}", self.name, self.deprecated?);
        Some(Notice { kind: NoticeKind::DeprecatedFlag, message })
    }
}

/// The tables, with the headings they have in the help.
const GROUPS: [(&str, &[Flag]); 3] = [
    ("Node and process", node::FLAGS),
    ("API and sources of pods", server::FLAGS),
    ("Pods and resources", pods::FLAGS),
];

fn all() -> impl Iterator<Item = &'static Flag> {
    GROUPS.iter().flat_map(|(_, flags)| flags.iter())
}

/// A flag of the command line with its text.
#[derive(Clone)]
struct Given {
    flag: &'static Flag,
    value: String,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{}={:?}", self.flag.name, shown(self.flag, &self.value))
    }
}

/// Applies flags in their order; stops at the first bad value.
fn apply(given: &[Given], target: &mut Target) -> Result<(), UsageError> {
    let mut seen = BTreeSet::new();
    for Given { flag, value } in given {
        let turn = if seen.insert(flag.name) { Turn::First } else { Turn::Again };
        (flag.set)(target, value, turn).map_err(|reason| UsageError::BadValue {
            flag: flag.name,
            value: shown(flag, value),
            reason,
        })?;
    }
    Ok(())
}

/// A value as errors may show it.
fn shown(flag: &Flag, value: &str) -> String {
    if flag.name == "manifest-url-header" { "<masked>".to_owned() } else { value.to_owned() }
}

/// The help: every flag with its default, by group.
pub fn help() -> String {
    let mut out = String::from(
        "The kubelet: runs the pods that files, a URL or an API server ask for on this machine.\n\n\
         Usage:\n  kubelet [flags]\n",
    );
    for (heading, flags) in GROUPS {
        let _ = write!(out, "\n{heading}:\n");
        for flag in flags {
            let short = flag.short.map(|c| format!("-{c}, ")).unwrap_or_default();
            let default = match flag.default {
                "" | "[]" | "false" => String::new(),
                text => format!(" (default {text})"),
            };
            let _ = writeln!(out, "  {short}--{}{default}", flag.name);
            let _ = writeln!(out, "        {}", flag.help);
            if let Some(instead) = flag.deprecated {
                let _ = writeln!(out, "        Deprecated: {instead}.");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const OURS: &[&str] =
        &["local-socket", "offline-start", "offline-start-key", "cadvisor-port", "container-runtime", "help"];

    fn legacy_target() -> Target {
        let mut config = KubeletConfiguration::default();
        config.apply_legacy_defaults();
        Target { config, options: Options::default(), request: Request::Run }
    }

    #[test]
    fn the_flags_are_upstreams_and_ours() {
        let recorded: Vec<Value> = serde_json::from_str(include_str!("../testdata/flags.json")).unwrap();
        let mut flags: Vec<&Flag> = all().filter(|flag| !OURS.contains(&flag.name)).collect();
        flags.sort_by_key(|flag| flag.name);
        assert_eq!(flags.len(), recorded.len());
        for (flag, want) in flags.iter().zip(&recorded) {
            // Upstream registers 1s and raises it to 10s at start.
            let default = if flag.name == "housekeeping-interval" { "1s" } else { flag.default };
            let got = serde_json::json!({
                "name": flag.name, "shorthand": flag.short.map(String::from).unwrap_or_default(), "default": default,
                "bool": flag.arity == Arity::Switch, "deprecated": flag.deprecated.is_some(),
            });
            assert_eq!(&got, want);
        }
    }

    #[test]
    fn every_default_of_the_table_is_the_default_in_effect() {
        for flag in all().filter(|flag| !matches!(flag.default, "" | "[]" | "[pods]")) {
            let mut target = legacy_target();
            (flag.set)(&mut target, flag.default, Turn::First).unwrap();
            let want = legacy_target();
            assert_eq!((target.config, target.options), (want.config, want.options), "--{}", flag.name);
        }
    }

    #[test]
    fn the_help_names_every_flag() {
        let help = help();
        assert!(all().all(|flag| help.contains(&format!("--{}", flag.name))));
        assert!(help.contains("  -v, --v (default 0)\n"));
    }
}
