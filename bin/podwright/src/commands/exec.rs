//! `podwright exec`: a command in a running container. Its exit code becomes ours.

use std::io::IsTerminal;
use std::process::ExitCode;

use core_spdy::Wanted;
use core_types::PodExt;

use crate::cli::ExecOptions;
use crate::client::{Agent, StreamProtocol};
use crate::error::CliError;
use crate::pods;
use crate::session::{self, Ends};
use crate::terminal::RawMode;

pub(crate) async fn execute(agent: &Agent, options: ExecOptions) -> Result<ExitCode, CliError> {
    let all = agent.pods().await?;
    let report = pods::resolve(&all, &options.pod)?;
    let container = pods::container(report, options.container.as_deref())?;
    container.tell_if_guessed();
    let wanted = Wanted { stdin: options.stdin, stdout: true, stderr: !options.tty, tty: options.tty };
    let query = session::command_query(&options.command, wanted);
    let path = format!("/v1/exec/{}/{}?{query}", report.pod.key(), container.name);
    let connection = agent.open_stream(&path, StreamProtocol::Command).await?;
    if options.tty && options.stdin && !std::io::stdin().is_terminal() {
        eprintln!("podwright: standard input is no terminal: what you type is not passed key by key");
    }
    let raw = if options.tty && options.stdin { RawMode::enter()? } else { None };
    let ends = Ends { stdin: tokio::io::stdin(), stdout: tokio::io::stdout(), stderr: tokio::io::stderr() };
    let result = session::run(connection, wanted, ends).await;
    // The terminal is itself again before an error is printed on it.
    drop(raw);
    result.map(ExitCode::from)
}
