//! `podwright exec`: a command in a running container. Its exit code becomes ours.

use std::io::IsTerminal;
use std::process::ExitCode;

use core_types::PodExt;
use url::form_urlencoded::Serializer;

use crate::cli::ExecOptions;
use crate::client::Agent;
use crate::error::CliError;
use crate::pods;
use crate::session::{self, Ends, Wanted};
use crate::terminal::RawMode;

pub(crate) async fn execute(agent: &Agent, options: ExecOptions) -> Result<ExitCode, CliError> {
    let all = agent.pods().await?;
    let report = pods::resolve(&all, &options.pod)?;
    let container = pods::container(report, options.container.as_deref())?;
    container.tell_if_guessed();
    let path = format!("/v1/exec/{}/{}?{}", report.pod.key(), container.name, query(&options));
    let connection = agent.open_stream(&path).await?;
    let wanted = Wanted { stdin: options.stdin, tty: options.tty };
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

/// The request as upstream's exec path has it.
pub(crate) fn query(options: &ExecOptions) -> String {
    let mut query = Serializer::new(String::new());
    for argument in &options.command {
        query.append_pair("command", argument);
    }
    for (name, is_set) in
        [("input", options.stdin), ("output", true), ("error", !options.tty), ("tty", options.tty)]
    {
        if is_set {
            query.append_pair(name, "1");
        }
    }
    query.finish()
}
