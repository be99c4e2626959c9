//! `podwright logs`: the log of a container on standard output.

use std::process::ExitCode;

use bytes::Bytes;
use core_types::PodExt;
use http::Method;
use tokio::io::AsyncWriteExt;
use url::form_urlencoded::Serializer;

use crate::cli::LogsOptions;
use crate::client::Agent;
use crate::error::CliError;
use crate::pods;

pub(crate) async fn execute(agent: &Agent, options: LogsOptions) -> Result<ExitCode, CliError> {
    let all = agent.pods().await?;
    let report = pods::resolve(&all, &options.pod)?;
    let container = pods::container(report, options.container.as_deref())?;
    container.tell_if_guessed();
    let path = format!("/v1/logs/{}/{}?{}", report.pod.key(), container.name, query(&options));
    let mut answer = agent.send(Method::GET, &path, Bytes::new()).await?;
    let mut stdout = tokio::io::stdout();
    while let Some(chunk) = answer.chunk().await? {
        stdout.write_all(&chunk).await?;
        stdout.flush().await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The options as `v1.PodLogOptions` in a query.
pub(crate) fn query(options: &LogsOptions) -> String {
    let mut query = Serializer::new(String::new());
    for (name, is_set) in
        [("follow", options.follow), ("previous", options.previous), ("timestamps", options.timestamps)]
    {
        if is_set {
            query.append_pair(name, "true");
        }
    }
    if let Some(lines) = options.tail {
        query.append_pair("tailLines", &lines.to_string());
    }
    if let Some(since) = options.since {
        query.append_pair("sinceSeconds", &since.as_secs().max(1).to_string());
    }
    query.finish()
}
