//! From arguments to flags with texts, by pflag's rules: `--name value`, `--name=value`, `--switch`,
//! `--switch=false`, `-v4`, `-v=4`, `-v 4`, `_` for `-` in names, and `--` before words that are no flags.

use std::collections::BTreeMap;

use super::{Arity, Flag, Given, Request, Target, all, apply, shown};
use crate::kubelet_configuration::KubeletConfiguration;
use crate::notice::Notice;
use crate::options::Options;

/// Why a command line cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// No such flag.
    #[error("unknown flag: {flag} (see kubelet --help)")]
    UnknownFlag {
        /// As it was written.
        flag: String,
    },
    /// A flag at the end that needs a value.
    #[error("flag needs an argument: {flag}")]
    MissingValue {
        /// As it was written.
        flag: String,
    },
    /// Something like `--=x`.
    #[error("bad flag syntax: {argument}")]
    BadSyntax {
        /// As it was written.
        argument: String,
    },
    /// A value the flag does not take.
    #[error("invalid argument {value:?} for --{flag}: {reason}")]
    BadValue {
        /// Its name.
        flag: &'static str,
        /// The value, masked where it may be secret.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A word that is no flag; the kubelet has no commands.
    #[error("unknown command {word:?}: the kubelet takes flags only")]
    Command {
        /// The word.
        word: String,
    },
}

/// A command line that was understood; [`crate::assemble`] makes a configuration of it.
#[derive(Debug, Clone)]
pub struct ParsedFlags {
    pub(super) given: Vec<Given>,
    pub(crate) target: Target,
    pub(crate) notices: Vec<Notice>,
}

impl ParsedFlags {
    /// Every flag with its value, or else its default. Values that may be secret are masked.
    pub(crate) fn values(&self) -> BTreeMap<String, String> {
        let defaults = all().map(|flag| (flag.name.to_owned(), flag.default.to_owned()));
        let given =
            self.given.iter().map(|given| (given.flag.name.to_owned(), shown(given.flag, &given.value)));
        defaults.chain(given).collect()
    }

    /// What the program is asked to do.
    pub fn request(&self) -> Request {
        self.target.request
    }

    /// What only flags can say; among it the files to read next (`config`, `config_dir`).
    pub fn options(&self) -> &Options {
        &self.target.options
    }

    /// Applies the flags once more, over a configuration from files.
    pub(crate) fn apply_over(
        &self,
        config: KubeletConfiguration,
    ) -> Result<KubeletConfiguration, UsageError> {
        let mut target = Target { config, options: Options::default(), request: Request::Run };
        apply(&self.given, &mut target)?;
        Ok(target.config)
    }
}

/// Reads a command line, the program's name left out.
///
/// Fails on the first thing that cannot be understood, as upstream does.
pub fn parse<I: IntoIterator<Item = String>>(args: I) -> Result<ParsedFlags, UsageError> {
    let given = scan(args)?;
    let mut config = KubeletConfiguration::default();
    config.apply_legacy_defaults();
    let mut target = Target { config, options: Options::default(), request: Request::Run };
    apply(&given, &mut target)?;
    let mut notices: Vec<Notice> = Vec::new();
    for notice in given.iter().filter_map(|given| given.flag.notice()) {
        if !notices.contains(&notice) {
            notices.push(notice);
        }
    }
    Ok(ParsedFlags { given, target, notices })
}

fn scan<I: IntoIterator<Item = String>>(args: I) -> Result<Vec<Given>, UsageError> {
    let mut given = Vec::new();
    let mut args = args.into_iter();
    let mut word = None;
    while let Some(argument) = args.next() {
        if argument == "--" {
            word = word.or_else(|| args.next());
            break;
        }
        if let Some(long) = argument.strip_prefix("--") {
            given.push(scan_long(&argument, long, &mut args)?);
        } else if argument.len() > 1 && argument.starts_with('-') {
            scan_short(&argument, &mut args, &mut given)?;
        } else {
            word.get_or_insert(argument);
        }
    }
    match word {
        Some(word) => Err(UsageError::Command { word }),
        None => Ok(given),
    }
}

fn scan_long(
    argument: &str,
    long: &str,
    args: &mut impl Iterator<Item = String>,
) -> Result<Given, UsageError> {
    if long.starts_with(['-', '=']) {
        return Err(UsageError::BadSyntax { argument: argument.to_owned() });
    }
    let (name, value) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (long, None),
    };
    let normal = name.replace('_', "-");
    let flag = all()
        .find(|flag| flag.name == normal)
        .ok_or_else(|| UsageError::UnknownFlag { flag: format!("--{name}") })?;
    let value = match (value, flag.arity) {
        (Some(value), _) => value,
        (None, Arity::Switch) => "true".to_owned(),
        (None, Arity::Value) => {
            args.next().ok_or_else(|| UsageError::MissingValue { flag: format!("--{name}") })?
        }
    };
    Ok(Given { flag, value })
}

/// One argument may hold several short switches and at its end a flag with its value.
fn scan_short(
    argument: &str,
    args: &mut impl Iterator<Item = String>,
    given: &mut Vec<Given>,
) -> Result<(), UsageError> {
    let mut rest = argument[1..].chars();
    while let Some(short) = rest.next() {
        let flag = short_flag(short)
            .ok_or_else(|| UsageError::UnknownFlag { flag: format!("-{short} in {argument}") })?;
        let after = rest.as_str();
        let value = if let Some(value) = after.strip_prefix('=') {
            value.to_owned()
        } else if flag.arity == Arity::Switch {
            given.push(Given { flag, value: "true".to_owned() });
            continue;
        } else if after.is_empty() {
            args.next().ok_or_else(|| UsageError::MissingValue { flag: format!("-{short}") })?
        } else {
            after.to_owned()
        };
        given.push(Given { flag, value });
        return Ok(());
    }
    Ok(())
}

fn short_flag(short: char) -> Option<&'static Flag> {
    all().find(|flag| flag.short == Some(short))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duration::GoDuration;
    use crate::notice::NoticeKind;
    use proptest::prelude::*;

    fn run(args: &[&str]) -> Result<ParsedFlags, UsageError> {
        parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    fn error(args: &[&str]) -> String {
        run(args).unwrap_err().to_string()
    }

    #[test]
    fn values_follow_an_equal_sign_or_the_next_argument() {
        for args in [
            &["--port=1", "--v=4"][..],
            &["--port", "1", "-v", "4"],
            &["--port=0x1", "-v4"],
            &["--port=1", "-v=4"],
        ] {
            let target = run(args).unwrap().target;
            assert_eq!((target.config.port, target.config.logging.verbosity), (1, 4), "{args:?}");
        }
        assert_eq!(run(&["--cluster-domain=a=b"]).unwrap().target.config.cluster_domain, "a=b");
        assert_eq!(run(&["--cluster-domain="]).unwrap().target.config.cluster_domain, "");
    }

    #[test]
    fn underscores_are_dashes_in_names_only() {
        let target = run(&["--pod_manifest_path=/a_b", "--housekeeping_interval=20s"]).unwrap().target;
        assert_eq!(target.config.static_pod_path, "/a_b");
        assert_eq!(target.options.housekeeping_interval, GoDuration::from_secs(20));
    }

    #[test]
    fn switches_stand_alone() {
        let target = run(&["--fail-swap-on=false", "--rotate-certificates", "--exit-on-lock-contention=T"])
            .unwrap()
            .target;
        assert!(!target.config.fail_swap_on && target.config.rotate_certificates);
        assert!(target.options.exit_on_lock_contention);
        assert_eq!(
            error(&["--fail-swap-on", "false"]),
            "unknown command \"false\": the kubelet takes flags only"
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert_eq!(error(&["--network-plugin=cni"]), "unknown flag: --network-plugin (see kubelet --help)");
        assert_eq!(error(&["-x"]), "unknown flag: -x in -x (see kubelet --help)");
        assert_eq!(error(&["--port"]), "flag needs an argument: --port");
        assert_eq!(error(&["-v"]), "flag needs an argument: -v");
        assert_eq!(error(&["--=1"]), "bad flag syntax: --=1");
        assert_eq!(error(&["run"]), "unknown command \"run\": the kubelet takes flags only");
        assert_eq!(error(&["--", "--port"]), "unknown command \"--port\": the kubelet takes flags only");
        assert_eq!(
            error(&["--port=x"]),
            "invalid argument \"x\" for --port: expected a whole number in range"
        );
        assert!(!error(&["--manifest-url-header=secret"]).contains("secret"));
        let parsed = run(&["--manifest-url-header=A:secret"]).unwrap();
        assert!(!format!("{parsed:?}").contains("secret"));
    }

    #[test]
    fn help_and_version_are_requests() {
        for (args, want) in [
            (&["-h"][..], Request::Help),
            (&["--help", "--port=1"], Request::Help),
            (&["--version"], Request::Version),
            (&["--version=raw"], Request::RawVersion),
            (&["--version=false"], Request::Run),
            (&["-hv2"], Request::Help),
            (&[], Request::Run),
        ] {
            assert_eq!(run(args).unwrap().request(), want, "{args:?}");
        }
    }

    #[test]
    fn the_classic_runtime_flag_has_one_value_left() {
        let parsed = run(&["--container-runtime=remote", "--cadvisor-port=4194"]).unwrap();
        assert_eq!(parsed.notices[0].kind, NoticeKind::IgnoredSetting);
        assert_eq!(parsed.options().cadvisor_port, 4194);
        for gone in ["docker", "rkt"] {
            let text = error(&["--container-runtime", gone]);
            assert!(
                text.contains("containerd or CRI-O") && text.contains("--container-runtime-endpoint"),
                "{text}"
            );
        }
        assert!(run(&["--container-runtime=x"]).is_err());
    }

    #[test]
    fn deprecated_flags_are_noticed_once() {
        let parsed =
            run(&["--port=1", "--port=2", "--maximum-dead-containers=3", "--node-labels=a=b"]).unwrap();
        let texts: Vec<&str> = parsed.notices.iter().map(|notice| notice.message.as_str()).collect();
        assert_eq!(
            texts,
            [
                "--port is deprecated: set it in the file given by --config",
                "--maximum-dead-containers is deprecated: use --eviction-hard or --eviction-soft",
            ]
        );
    }

    #[test]
    fn our_socket_can_be_moved_or_switched_off() {
        assert_eq!(
            run(&[]).unwrap().options().own.local_socket.as_deref(),
            Some("/run/podwright/agent.sock".as_ref())
        );
        assert_eq!(run(&["--local-socket="]).unwrap().options().own.local_socket, None);
    }

    proptest! {
        #[test]
        fn arbitrary_arguments_never_panic(
            args in proptest::collection::vec("\\PC{0,12}|--?[a-z_-]{0,20}(=\\PC{0,12})?", 0..6)
        ) {
            let _ = parse(args);
        }

        #[test]
        fn arbitrary_values_never_panic(at in 0usize..200, value in "\\PC{0,24}|[a-z0-9=:;,<.\"-]{0,24}") {
            if let Some(flag) = all().nth(at) {
                let _ = parse([format!("--{}={value}", flag.name)]);
            }
        }
    }
}
