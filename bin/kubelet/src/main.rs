//! `kubelet`: the node agent. Puts the parts together and runs them until it is told to stop.
//!
//! | module | what |
//! |---|---|
//! | [`files`] | reads `--config` and `--config-dir` |
//! | [`logging`] | log lines in klog's two formats |
//! | [`api`] | the client of the API server |
//! | [`host`] | what the machine is, and whether it can be used |
//! | [`cluster`] | the way to the API server, and the node's certificates |
//! | [`credential_providers`] | reads the configuration of image credential plugins |
//! | [`lock`] | `--lock-file` |
//! | [`notify`] | tells systemd that the agent is ready, and that it still works |
//! | [`offline`] | what is kept for a start without the API server |
//! | [`places`] | where the agent keeps things |
//! | [`serve`] | the listeners that the configuration asks for |
//! | [`run`] | the order of all that, from start to stop |
//!
//! Ends with 0 after SIGTERM or SIGINT, and with 1 when it cannot start or go on. What is wrong with the command line or the
//! configuration is printed as it is, one line for each error; what goes wrong later is logged.

mod api;
mod causes;
mod cluster;
mod credential_providers;
mod files;
mod host;
mod lock;
mod logging;
mod notify;
mod offline;
mod places;
mod reactor;
mod rest;
mod run;
mod serve;

use std::ffi::OsString;
use std::process::ExitCode;

use core_config::{Config, HostFacts, ParsedFlags, Request};
use io_host::NodeFacts;

/// The version of Kubernetes whose kubelet this one stands in for.
const VERSION: &str = "v1.37.2";

fn main() -> ExitCode {
    io_host::limits::tune_allocator();
    let flags = match parse(std::env::args_os().skip(1)) {
        Ok(flags) => flags,
        Err(error) => return refuse(&error),
    };
    match flags.request() {
        Request::Help => print!("{}", core_config::flags::help()),
        Request::Version => println!("Kubernetes {VERSION}"),
        Request::RawVersion => println!("{}", raw_version()),
        Request::Run => return start(&flags),
    }
    ExitCode::SUCCESS
}

fn start(flags: &ParsedFlags) -> ExitCode {
    let facts = NodeFacts::read();
    let (config, skipped) = match configure(flags, &facts) {
        Ok(configured) => configured,
        Err(errors) => return refuse(&errors),
    };
    logging::start(&config.kubelet.logging);
    for path in skipped {
        tracing::debug!(file = %path.display(), "skipped a file of --config-dir: its name does not end in .conf");
    }
    match run::run(config, facts) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(err = causes::text(error.as_ref()), "the kubelet ends");
            ExitCode::FAILURE
        }
    }
}

/// Reads the command line; arguments that are no UTF-8 have no meaning to any flag.
fn parse(args: impl Iterator<Item = OsString>) -> Result<ParsedFlags, String> {
    let text = |arg: OsString| {
        arg.into_string().map_err(|arg| format!("argument {:?} is no UTF-8 text", arg.to_string_lossy()))
    };
    let args = args.map(text).collect::<Result<Vec<_>, _>>()?;
    core_config::parse(args).map_err(|error| error.to_string())
}

/// Reads the files that the flags name and makes one configuration of all; the error has a line for each thing that is
/// wrong.
fn configure(flags: &ParsedFlags, facts: &NodeFacts) -> Result<(Config, Vec<std::path::PathBuf>), String> {
    let options = flags.options();
    let files = files::read(options.config.as_deref(), options.config_dir.as_deref());
    let files = files.map_err(|error| causes::text(&error))?;
    let cgroup_version = host::cgroup_version(facts).map_err(|error| causes::text(&error))?;
    let host = HostFacts { cgroup_version: cgroup_version.into() };
    let config = core_config::assemble(flags, files.config, files.drop_ins, host);
    Ok((config.map_err(|errors| errors.to_string())?, files.skipped))
}

/// Says why the kubelet does not start, a line for each reason; there is no log yet.
fn refuse(errors: &str) -> ExitCode {
    for line in errors.lines() {
        eprintln!("Error: {line}");
    }
    ExitCode::FAILURE
}

/// The version as upstream prints it for programs, what does not apply left empty.
fn raw_version() -> String {
    let mut numbers = VERSION.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    format!(
        "version.Info{{Major:{major:?}, Minor:{minor:?}, GitVersion:{VERSION:?}, GitCommit:\"\", GitTreeState:\"\", \
         BuildDate:\"\", GoVersion:\"\", Compiler:\"rustc\", Platform:\"linux/{}\"}}",
        host::architecture()
    )
}
