//! `podwright`: what a person types on the node. Talks to the agent on this machine over its unix socket.
//!
//! Exit codes: 0 done (`run`: ready or completed), 1 failed, 2 wrong usage, 3 not done in time, 4 the agent cannot be
//! reached, 5 `doctor` found something. `exec` and `attach` exit with the code of the command.

mod cli;
mod client;
mod commands;
mod error;
mod output;
mod pods;
mod session;
mod terminal;
mod yaml;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::client::Agent;
use crate::error::CliError;

/// Names the agent's socket where `--socket` is not given.
const SOCKET_VARIABLE: &str = "PODWRIGHT_SOCKET";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("podwright: cannot start: {error}");
            return ExitCode::from(error::FAILED);
        }
    };
    let result = runtime.block_on(run(cli));
    // A read of standard input that nobody waits for any more must not hold the process.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("podwright: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let socket = cli
        .socket
        .or_else(|| std::env::var_os(SOCKET_VARIABLE).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(core_types::local::DEFAULT_SOCKET));
    let agent = Agent::new(socket);
    match cli.command {
        Command::Run(options) => commands::run::execute(&agent, options).await,
        Command::Ps(options) => commands::ps::execute(&agent, options).await,
        Command::Logs(options) => commands::logs::execute(&agent, options).await,
        Command::Exec(options) => commands::exec::execute(&agent, options).await,
        Command::Attach(options) => commands::attach::execute(&agent, options).await,
        Command::PortForward(options) => commands::port_forward::execute(&agent, options).await,
        Command::Cp(options) => commands::cp::execute(&agent, options).await,
        Command::Resize(options) => commands::resize::execute(&agent, options).await,
        Command::Rm(options) => commands::rm::execute(&agent, options).await,
        Command::Events(options) => commands::events::execute(&agent, options).await,
        Command::Evict(options) => commands::evict::execute(&agent, options).await,
        Command::Doctor(options) => commands::doctor::execute(&agent, options).await,
        Command::Top(options) => commands::top::execute(&agent, options).await,
        Command::Why(options) => commands::why::execute(&agent, options).await,
        Command::Completion(options) => commands::completion::execute(&options),
    }
}
