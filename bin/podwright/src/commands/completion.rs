//! `podwright completion`: shell completions on standard output.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::cli::{Cli, CompletionOptions};
use crate::error::CliError;
use crate::output;

pub(crate) fn execute(options: &CompletionOptions) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "podwright", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
