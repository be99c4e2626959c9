//! `podwright rm`: removes pods that were started with `run`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use core_types::{PodExt, PodUid};
use http::Method;
use serde::Deserialize;

use crate::cli::RmOptions;
use crate::client::{Agent, WatchLine};
use crate::error::{self, CliError};
use crate::output;
use crate::pods;

#[derive(Deserialize)]
struct Removed {
    uid: PodUid,
}

pub(crate) async fn execute(agent: &Agent, options: RmOptions) -> Result<ExitCode, CliError> {
    let all = agent.pods().await?;
    let mut keys = BTreeSet::new();
    for reference in &options.pods {
        keys.insert(pods::resolve(&all, reference)?.pod.key());
    }
    let mut removed = BTreeSet::new();
    let mut failed = false;
    for key in keys {
        let path = format!("/v1/pods/{key}");
        match agent.send(Method::DELETE, &path, Bytes::new()).await {
            Ok(answer) => {
                removed.insert(answer.json::<Removed>(&format!("DELETE {path}")).await?.uid);
                output::print(&format!("pod {key} is being removed\n"))?;
            }
            Err(CliError::Refused(message)) => {
                failed = true;
                eprintln!("podwright: {message}");
            }
            Err(other) => return Err(other),
        }
    }
    if options.wait {
        wait_until_gone(agent, removed, options.timeout).await?;
    }
    Ok(if failed { ExitCode::from(error::FAILED) } else { ExitCode::SUCCESS })
}

async fn wait_until_gone(
    agent: &Agent,
    mut left: BTreeSet<PodUid>,
    timeout: Duration,
) -> Result<(), CliError> {
    let count = left.len();
    let wait = async {
        let mut lines = agent.send(Method::GET, "/v1/watch", Bytes::new()).await?.lines();
        let mut is_first = true;
        while !left.is_empty() {
            let Some(line) = lines.next::<WatchLine>().await? else {
                return Err(CliError::Stream("the agent has stopped".to_owned()));
            };
            if std::mem::take(&mut is_first) {
                let there: BTreeSet<PodUid> = line.pods.iter().map(|report| report.pod.uid()).collect();
                left.retain(|uid| there.contains(uid));
            }
            left.retain(|uid| !line.removed.contains(uid));
        }
        Ok(())
    };
    match tokio::time::timeout(timeout, wait).await {
        Ok(result) => result,
        Err(_elapsed) => {
            let state =
                format!("{} of {count} pods are still there; 'podwright why POD' tells why", left.len());
            Err(CliError::Timeout { after: timeout, state })
        }
    }
}
