//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use core_types::Quantity;
use core_types::api::QuantityText;

use crate::commands::cp::Place;

/// Runs and inspects pods on this machine.
#[derive(Debug, Parser)]
#[command(
    name = "podwright",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not done in time, \
    4 the agent cannot be reached, 5 doctor found something. exec and attach exit with the code of the command.\n\
    A POD is named NAME, NAMESPACE/NAME, or by the beginning of its name."
)]
pub(crate) struct Cli {
    /// The agent's socket [default: $PODWRIGHT_SOCKET or /run/podwright/agent.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the pods of a manifest and follow them until they are ready
    Run(RunOptions),
    /// List pods
    Ps(PsOptions),
    /// Print the log of a container
    Logs(LogsOptions),
    /// Run a command in a container
    Exec(ExecOptions),
    /// Attach to the process of a container
    Attach(AttachOptions),
    /// Let ports of this machine lead to ports of a pod
    PortForward(PortForwardOptions),
    /// Copy files from a container or into one
    Cp(CpOptions),
    /// Change CPU and memory of a pod that was started with run, while it runs
    Resize(ResizeOptions),
    /// Remove pods that were started with run
    Rm(RmOptions),
    /// Show what happened, also to pods that are gone
    Events(EventsOptions),
    /// Show which pods would be evicted now, and why
    Evict(EvictOptions),
    /// Say what is wrong or left over on this node, and what to do
    Doctor(DoctorOptions),
    /// Show what the node and its pods use
    Top(TopOptions),
    /// Explain the state of a pod
    Why(WhyOptions),
    /// Print shell completions
    Completion(CompletionOptions),
}

/// Forms of output for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Forms of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// A table with more columns.
    Wide,
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// Manifest file, directory of manifests, or - for standard input
    #[arg(value_name = "FILE|DIR|-")]
    pub(crate) source: PathBuf,
    /// Do not wait until the pods are ready
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Longest wait, e.g. 90s or 5m
    #[arg(long, default_value = "5m", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct PsOptions {
    /// Form of output
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<ListFormat>,
}

#[derive(Debug, Args)]
pub(crate) struct TopOptions {
    /// Show it once; the default where the output is no terminal
    #[arg(long)]
    pub(crate) once: bool,
    /// Time between two looks, e.g. 5s
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    pub(crate) interval: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct LogsOptions {
    /// Pod
    pub(crate) pod: String,
    /// Container; the first one if not given
    #[arg(short, long)]
    pub(crate) container: Option<String>,
    /// Go on with new lines until the container ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// The instance before the current one
    #[arg(short, long)]
    pub(crate) previous: bool,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u64>,
    /// Only lines younger than this, e.g. 10m
    #[arg(long, value_parser = parse_duration)]
    pub(crate) since: Option<Duration>,
    /// Begin each line with its time
    #[arg(long)]
    pub(crate) timestamps: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExecOptions {
    /// Send standard input
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,
    /// Use a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Container; the first one if not given
    #[arg(short, long)]
    pub(crate) container: Option<String>,
    /// Pod
    pub(crate) pod: String,
    /// Command with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AttachOptions {
    /// Send standard input
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,
    /// Pass what is typed key by key, when the container has a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Container; the first one if not given
    #[arg(short, long)]
    pub(crate) container: Option<String>,
    /// Pod
    pub(crate) pod: String,
}

#[derive(Debug, Args)]
pub(crate) struct PortForwardOptions {
    /// Address of this machine to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
    /// Pod
    pub(crate) pod: String,
    /// Ports; without LOCAL: the same number here, with 0: any free one
    #[arg(required = true, value_name = "[LOCAL:]REMOTE", value_parser = parse_port_pair)]
    pub(crate) ports: Vec<PortPair>,
}

/// A port of this machine and the pod's port that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortPair {
    pub(crate) local: u16,
    pub(crate) remote: u16,
}

#[derive(Debug, Args)]
pub(crate) struct CpOptions {
    /// Container; the first one if not given
    #[arg(short, long)]
    pub(crate) container: Option<String>,
    /// What to copy
    #[arg(value_name = "SOURCE", value_parser = Place::parse)]
    pub(crate) source: Place,
    /// Directory to copy into, or the new name; one of both is POD:PATH
    #[arg(value_name = "TARGET", value_parser = Place::parse)]
    pub(crate) target: Place,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("sizes").required(true).multiple(true).args(
    ["cpu", "cpu_request", "cpu_limit", "memory", "memory_request", "memory_limit"],
)))]
pub(crate) struct ResizeOptions {
    /// Pod
    pub(crate) pod: String,
    /// Container; the first one if not given
    #[arg(short, long, conflicts_with = "whole")]
    pub(crate) container: Option<String>,
    /// The resources of the pod as a whole, instead of a container's
    #[arg(long)]
    pub(crate) whole: bool,
    /// CPU request, and limit where there is one, e.g. 500m
    #[arg(long, value_name = "AMOUNT", value_parser = parse_quantity, conflicts_with_all = ["cpu_request", "cpu_limit"])]
    pub(crate) cpu: Option<QuantityText>,
    /// CPU request
    #[arg(long, value_name = "AMOUNT", value_parser = parse_quantity)]
    pub(crate) cpu_request: Option<QuantityText>,
    /// CPU limit
    #[arg(long, value_name = "AMOUNT", value_parser = parse_quantity)]
    pub(crate) cpu_limit: Option<QuantityText>,
    /// Memory request, and limit where there is one, e.g. 64Mi
    #[arg(long, value_name = "AMOUNT", value_parser = parse_quantity, conflicts_with_all = ["memory_request", "memory_limit"])]
    pub(crate) memory: Option<QuantityText>,
    /// Memory request
    #[arg(long, value_name = "AMOUNT", value_parser = parse_quantity)]
    pub(crate) memory_request: Option<QuantityText>,
    /// Memory limit
    #[arg(long, value_name = "AMOUNT", value_parser = parse_quantity)]
    pub(crate) memory_limit: Option<QuantityText>,
    /// Do not wait until the new sizes are in force
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Longest wait, e.g. 90s or 5m
    #[arg(long, default_value = "2m", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct RmOptions {
    /// Pods
    #[arg(required = true, value_name = "POD")]
    pub(crate) pods: Vec<String>,
    /// Wait until nothing is left of them
    #[arg(long)]
    pub(crate) wait: bool,
    /// Longest wait, e.g. 90s or 5m
    #[arg(long, default_value = "2m", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct EventsOptions {
    /// Only events of this pod
    pub(crate) pod: Option<String>,
    /// Go on with new events
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Form of output; with --follow, one line of JSON for each event
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
}

#[derive(Debug, Args)]
pub(crate) struct EvictOptions {
    /// Only look; evicting by hand is not offered
    #[arg(long, required = true)]
    pub(crate) dry_run: bool,
    /// The order for this signal, e.g. nodefs.available, instead of memory.available
    #[arg(long, default_value = "memory.available")]
    pub(crate) signal: String,
    /// Form of output
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorOptions {
    /// Remove what is provably the agent's and nobody's, and say so
    #[arg(long)]
    pub(crate) fix: bool,
    /// Root directory of the agent, for when it is away
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kubelet")]
    pub(crate) root_dir: PathBuf,
    /// Form of output
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
}

#[derive(Debug, Args)]
pub(crate) struct WhyOptions {
    /// Pod
    pub(crate) pod: String,
    /// Form of output
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionOptions {
    /// Shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Reads `80` or `8080:80`; an empty local port is any free one, as with kubectl.
fn parse_port_pair(text: &str) -> Result<PortPair, String> {
    let port = |text: &str| text.parse::<u16>().map_err(|_| format!("{text:?} is no port"));
    let (local, remote) = match text.split_once(':') {
        Some(("", remote)) => (0, port(remote)?),
        Some((local, remote)) => (port(local)?, port(remote)?),
        None => (port(text)?, port(text)?),
    };
    if remote == 0 { Err("the pod's port must not be 0".to_owned()) } else { Ok(PortPair { local, remote }) }
}

/// Reads an amount of CPU or memory.
fn parse_quantity(text: &str) -> Result<QuantityText, String> {
    text.parse::<Quantity>().map(QuantityText::from).map_err(|error| error.to_string())
}

/// Reads `90`, `90s`, `5m`, `1h30m`; a bare number is seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write it like 90s, 5m or 1h30m");
    let mut seconds: u64 = 0;
    let mut number = String::new();
    for c in text.chars() {
        let unit = match c {
            '0'..='9' => {
                number.push(c);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => return Err(wrong()),
        };
        let count: u64 = std::mem::take(&mut number).parse().map_err(|_| wrong())?;
        seconds = count.checked_mul(unit).and_then(|more| seconds.checked_add(more)).ok_or_else(wrong)?;
    }
    if !number.is_empty() && number.len() == text.len() {
        seconds = number.parse().map_err(|_| wrong())?;
    } else if !number.is_empty() || text.is_empty() {
        return Err(wrong());
    }
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn pairs_of_ports() {
        for (text, local, remote) in [("80", 80, 80), ("8080:80", 8080, 80), (":80", 0, 80), ("0:80", 0, 80)]
        {
            assert_eq!(parse_port_pair(text), Ok(PortPair { local, remote }), "{text}");
        }
        for text in ["", "x", "80:", "80:0", "0", "65536", "1:2:3"] {
            assert!(parse_port_pair(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, secs) in [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("0", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(secs)), "{text}");
        }
        for text in ["", "m", "5m3", "1d", "-1", "99999999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_command_of_exec_comes_after_two_dashes() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        let Ok(Cli { command: Command::Exec(options), .. }) =
            parse("podwright exec -it web -c main -- ls -l")
        else {
            panic!("must parse");
        };
        assert!(options.stdin && options.tty);
        assert_eq!((options.pod.as_str(), options.command.join(" ").as_str()), ("web", "ls -l"));
        assert_eq!(parse("podwright exec web ls").expect_err("refused").exit_code(), 2);
        assert_eq!(parse("podwright rm").expect_err("refused").exit_code(), 2);
        assert!(parse("podwright ps --socket /tmp/s -o wide").is_ok());
    }
}
