//! `podwright doctor`: what is wrong or left over on this node, why, and what to do; `--fix` takes away what is safe to take.
//!
//! Looks at the machine itself, so that it works while the agent is away; asks the agent which pods there are and where
//! things lie. Everything is looked at twice: what is only being made or taken away is in one look and not in the other.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use core_doctor::inventory::{Certificate, Sandbox};
use core_doctor::{AgentReport, Finding, Inventory, Remedy, RuntimeInventory, Sources, examine};
use core_metrics::Registry;
use core_types::local::{NodePlaces, NodeReport, OWN_DIR, PLACES_FILE};
use core_types::{PodExt, PodKey, PodUid, keys};
use io_cri::{CriClient, CriOptions};
use io_host::{HostClock, HostInspection, InspectionPlaces, PodFilesOptions};
use ports::runtime::RuntimeResult;
use ports::{Clock, ContainerRuntime, Inspection};
use serde::Serialize;

use crate::cli::DoctorOptions;
use crate::client::{Agent, PodReport};
use crate::error::{CliError, FOUND};
use crate::output;

/// Time between the two looks: longer than a runtime needs from making a sandbox's parts to its first process, and than the
/// agent needs from seeing something to doing something about it.
const PAUSE: Duration = Duration::from_secs(2);

/// How long the runtime may take to list what it has.
const RUNTIME_TIMEOUT: Duration = Duration::from_secs(10);

/// What became of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fix {
    /// Only a person can mend it.
    None,
    /// `--fix` would mend it.
    Offered,
    /// Mended.
    Done,
    /// It could not be mended.
    Failed,
}

/// One finding as it is printed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Reported {
    pub(crate) kind: &'static str,
    pub(crate) subject: String,
    pub(crate) why: String,
    pub(crate) advice: String,
    pub(crate) fix: Fix,
}

#[derive(Serialize)]
struct Report<'a> {
    findings: &'a [Reported],
}

pub(crate) async fn execute(agent: &Agent, options: DoctorOptions) -> Result<ExitCode, CliError> {
    let places = places(agent, &options.root_dir).await?;
    let doctor = Doctor::new(agent, places)?;
    let mut findings = doctor.findings().await?;
    if !findings.is_empty() {
        tokio::time::sleep(PAUSE).await;
        let first = std::mem::take(&mut findings);
        let is_same = |a: &Finding, b: &Finding| (a.kind, &a.subject) == (b.kind, &b.subject);
        findings = doctor.findings().await?;
        findings.retain(|finding| first.iter().any(|earlier| is_same(earlier, finding)));
    }
    let reported = match options.fix {
        true => doctor.fix(findings).await,
        false => findings.into_iter().map(|finding| told(finding, Fix::Offered)).collect(),
    };
    match options.output {
        Some(format) => output::print_value(&Report { findings: &reported }, format)?,
        None => output::print(&page(&reported))?,
    }
    let is_open = reported.iter().any(|one| one.fix != Fix::Done);
    Ok(if is_open { ExitCode::from(FOUND) } else { ExitCode::SUCCESS })
}

/// Where things are: as the agent says, or as the agent that ran last has left it.
async fn places(agent: &Agent, root_dir: &Path) -> Result<NodePlaces, CliError> {
    let away = match agent.node().await {
        Ok(report) => return Ok(report.places),
        Err(error @ (CliError::NoAgent { .. } | CliError::Connection { .. })) => error,
        Err(error) => return Err(error),
    };
    let path = root_dir.join(OWN_DIR).join(PLACES_FILE);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            return Err(CliError::NoPlaces { path, agent: away.to_string() });
        }
        Err(source) => return Err(CliError::File { path, source }),
    };
    serde_json::from_slice(&text).map_err(|error| CliError::File { path, source: error.into() })
}

/// Everything that is asked.
struct Doctor<'a> {
    agent: &'a Agent,
    places: NodePlaces,
    machine: HostInspection,
    runtime: CriClient,
    clock: HostClock,
}

impl<'a> Doctor<'a> {
    fn new(agent: &'a Agent, places: NodePlaces) -> Result<Self, CliError> {
        let files = PodFilesOptions {
            root_dir: PathBuf::from(&places.root_dir),
            pod_logs_dir: PathBuf::from(&places.pod_logs_dir),
            container_log_links_dir: Some(PathBuf::from(&places.container_log_links_dir)),
        };
        let machine =
            HostInspection::new(InspectionPlaces { files, cgroup_root: places.cgroup_root.clone() });
        let mut options = CriOptions::new(places.runtime_endpoint.clone());
        options.request_timeout = RUNTIME_TIMEOUT;
        let runtime = CriClient::connect(&options, &Registry::new())
            .map_err(|error| CliError::Refused(error.to_string()))?;
        Ok(Self { agent, places, machine, runtime, clock: HostClock::new() })
    }

    /// One look. The machine comes first and who owns what last: nothing that is made meanwhile looks like nobody's.
    async fn findings(&self) -> Result<Vec<Finding>, CliError> {
        let mut inventory: Inventory = self.machine.look().await;
        inventory.certificates = self.certificates();
        inventory.runtime = self.runtime().await;
        let agent = self.agent_report().await?;
        Ok(examine(&inventory, &agent, self.clock.wall()))
    }

    fn certificates(&self) -> Vec<Certificate> {
        let read = |place: &core_types::local::CertificatePlace| {
            let life = io_pki::life(Path::new(&place.path)).transpose()?;
            let (purpose, path, renewal) = (place.purpose.clone(), place.path.clone(), place.renewal);
            Some(Certificate { purpose, path, renewal, life })
        };
        self.places.certificates.iter().filter_map(read).collect()
    }

    async fn runtime(&self) -> RuntimeInventory {
        let listed = async {
            let sandboxes = self.runtime.list_sandboxes(None).await?;
            RuntimeResult::Ok((sandboxes, self.runtime.list_containers(None).await?))
        };
        match listed.await {
            Err(error) => RuntimeInventory::Silent { problem: error.to_string() },
            Ok((sandboxes, containers)) => RuntimeInventory::Listed {
                sandboxes: sandboxes
                    .into_iter()
                    .map(|one| Sandbox {
                        id: one.id,
                        key: PodKey::new(one.namespace, one.name),
                        uid: one.uid,
                    })
                    .collect(),
                container_uids: containers
                    .iter()
                    .filter_map(|one| one.labels.get(keys::POD_UID_LABEL))
                    .map(|uid| PodUid::from(uid.as_str()))
                    .collect(),
            },
        }
    }

    async fn agent_report(&self) -> Result<AgentReport, CliError> {
        let told: Result<(NodeReport, Vec<PodReport>), CliError> =
            async { Ok((self.agent.node().await?, self.agent.pods().await?)) }.await;
        match told {
            Ok((node, pods)) => Ok(AgentReport::Answers {
                pods: pods.iter().map(|report| report.pod.uid()).collect(),
                sources: if node.sources_heard { Sources::Heard } else { Sources::Awaited },
                runtime_problem: match node.runtime.ready && node.runtime.network_ready {
                    true => String::new(),
                    false => format!("the runtime is not ready: {}", node.runtime.message),
                },
                source_problems: node
                    .source_problems
                    .into_iter()
                    .map(|problem| (problem.origin, problem.message))
                    .collect(),
            }),
            Err(error @ (CliError::NoAgent { .. } | CliError::Connection { .. })) => {
                Ok(AgentReport::Silent { problem: error.to_string() })
            }
            Err(error) => Err(error),
        }
    }

    /// Carries out what is safe, in the order of the findings.
    async fn fix(&self, findings: Vec<Finding>) -> Vec<Reported> {
        let mut reported = Vec::new();
        for finding in findings {
            let fixed = match &finding.remedy {
                None => None,
                Some(remedy) => Some(self.machine.carry_out(remedy).await),
            };
            reported.push(match fixed {
                None => told(finding, Fix::None),
                Some(Ok(())) => {
                    let advice = finding.remedy.as_ref().map(done).unwrap_or_default();
                    told(Finding { advice: advice.to_owned(), ..finding }, Fix::Done)
                }
                Some(Err(error)) => told(Finding { advice: error.to_string(), ..finding }, Fix::Failed),
            });
        }
        reported
    }
}

/// What was done, in words.
fn done(remedy: &Remedy) -> &'static str {
    match remedy {
        Remedy::Unmount { .. } => "unmounted",
        Remedy::RemovePodDir { .. } | Remedy::RemoveLogs { .. } | Remedy::RemoveCgroup { .. } => {
            "removed with everything below it"
        }
        Remedy::RemoveDeadLinks => "removed",
    }
}

fn told(finding: Finding, fix: Fix) -> Reported {
    let fix = if finding.remedy.is_none() { Fix::None } else { fix };
    let Finding { kind, subject, why, advice, .. } = finding;
    Reported { kind: kind.as_str(), subject, why, advice, fix }
}

/// Each finding in three lines, and a sum at the end.
pub(crate) fn page(findings: &[Reported]) -> String {
    if findings.is_empty() {
        return "Nothing is wrong.\n".to_owned();
    }
    let mut text = String::new();
    for one in findings {
        let label = match one.fix {
            Fix::None | Fix::Offered => "what to do",
            Fix::Done => "done",
            Fix::Failed => "not done",
        };
        text += &format!("{}: {}\n  why: {}\n  {label}: {}\n\n", one.kind, one.subject, one.why, one.advice);
    }
    let count = |fix: Fix| findings.iter().filter(|one| one.fix == fix).count();
    text += &format!("{} found", findings.len());
    for (fix, words) in [
        (Fix::Offered, "can be removed with --fix"),
        (Fix::Done, "removed"),
        (Fix::Failed, "could not be removed"),
    ] {
        let count = count(fix);
        if count > 0 {
            text += &format!(", {count} {words}");
        }
    }
    text + ".\n"
}

#[cfg(test)]
mod tests {
    use core_doctor::FindingKind;

    use super::*;

    #[test]
    fn a_page_says_what_is_wrong_why_and_what_to_do() {
        let finding = |remedy| Finding {
            kind: FindingKind::OrphanLogDir,
            subject: "/logs/a".to_owned(),
            why: "nobody wants it".to_owned(),
            advice: "look at it".to_owned(),
            remedy,
        };
        assert_eq!(page(&[]), "Nothing is wrong.\n");
        let findings =
            [told(finding(None), Fix::Offered), told(finding(Some(Remedy::RemoveDeadLinks)), Fix::Offered)];
        assert_eq!(findings.each_ref().map(|one| one.fix.clone()), [Fix::None, Fix::Offered]);
        let one = "orphan-log-dir: /logs/a\n  why: nobody wants it\n  what to do: look at it\n\n";
        assert_eq!(page(&findings), format!("{one}{one}2 found, 1 can be removed with --fix.\n"));
    }
}
