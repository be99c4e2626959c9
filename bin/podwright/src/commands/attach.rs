//! `podwright attach`: the streams of a container's own process.

use std::io::IsTerminal;
use std::process::ExitCode;

use core_spdy::Wanted;
use core_types::PodExt;

use crate::cli::AttachOptions;
use crate::client::{Agent, PodReport, StreamProtocol};
use crate::error::CliError;
use crate::pods;
use crate::session::{self, Ends};
use crate::terminal::RawMode;

pub(crate) async fn execute(agent: &Agent, options: AttachOptions) -> Result<ExitCode, CliError> {
    let all = agent.pods().await?;
    let report = pods::resolve(&all, &options.pod)?;
    let container = pods::container(report, options.container.as_deref())?;
    container.tell_if_guessed();
    let process = Process::of(report, &container.name);
    if options.stdin && !process.stdin {
        return Err(CliError::Pod(format!(
            "container {} takes no input (its spec has no stdin: true): attach without -i",
            container.name
        )));
    }
    if options.tty && !process.tty {
        eprintln!("podwright: container {} has no terminal (its spec has no tty: true)", container.name);
    }
    let wanted = Wanted { stdin: options.stdin, stdout: true, stderr: !process.tty, tty: process.tty };
    let path = format!("/v1/attach/{}/{}?{}", report.pod.key(), container.name, session::query(wanted));
    let connection = agent.open_stream(&path, StreamProtocol::Command).await?;
    let is_interactive = options.stdin && options.tty && process.tty;
    let raw = if is_interactive && std::io::stdin().is_terminal() { RawMode::enter()? } else { None };
    let ends = Ends { stdin: tokio::io::stdin(), stdout: tokio::io::stdout(), stderr: tokio::io::stderr() };
    let result = session::run(connection, wanted, ends).await;
    // The terminal is itself again before an error is printed on it.
    drop(raw);
    result.map(ExitCode::from)
}

/// What the container's own process was given.
#[derive(Default)]
struct Process {
    stdin: bool,
    tty: bool,
}

impl Process {
    fn of(report: &PodReport, name: &str) -> Self {
        let flags = |stdin: Option<bool>, tty: Option<bool>| Self {
            stdin: stdin == Some(true),
            tty: tty == Some(true),
        };
        let regular = report.pod.container_refs();
        let regular = regular.iter().find(|one| one.spec.name == name);
        if let Some(found) = regular {
            return flags(found.spec.stdin, found.spec.tty);
        }
        let ephemeral = report.pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.as_ref());
        let ephemeral = ephemeral.into_iter().flatten().find(|one| one.name == name);
        ephemeral.map(|found| flags(found.stdin, found.tty)).unwrap_or_default()
    }
}
