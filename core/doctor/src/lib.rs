//! What is wrong or left over on a node, why, and what to do about it.
//!
//! ```text
//! Inventory (what lies on the machine) + AgentReport (who is wanted) + now -> examine -> Findings
//! ```
//! A finding may carry a [`Remedy`]: then what it names is provably the kubelet's own and provably nobody's. That needs an
//! agent that has heard all of its sources and a runtime that has listed everything; in any doubt a finding only tells. What
//! may hold data of others (volumes and mounts of other plugins) and what runs is never touched.
//!
//! Pure: who calls it has looked, and who carries remedies out makes no choice.

pub mod finding;
pub mod inventory;

mod certificates;
mod leftovers;
mod owners;
mod state_files;
#[cfg(test)]
mod tests;

use core_types::WallTime;

pub use finding::{Finding, FindingKind, Remedy};
pub use inventory::{AgentReport, Inventory, RuntimeInventory, Sources};

use crate::owners::Owners;

/// Everything that is wrong, in the order in which it should be read and mended: mounts come before the directories below
/// which they lie.
pub fn examine(inventory: &Inventory, agent: &AgentReport, now: WallTime) -> Vec<Finding> {
    let owners = Owners::new(inventory, agent);
    let mut findings = parties(inventory, agent);
    findings.extend(inventory.blind_spots.iter().map(|spot| {
        let advice = "mend that, then look again: something may be hidden there";
        Finding::told(FindingKind::NotLooked, &spot.place, &spot.problem, advice)
    }));
    findings.extend(inventory.certificates.iter().filter_map(|one| certificates::judge(one, now)));
    findings.extend(inventory.state_files.iter().filter_map(state_files::judge));
    findings.extend(leftovers::judge(inventory, agent, &owners));
    findings
}

/// Those that must answer: the agent, the runtime, the sources of pods.
fn parties(inventory: &Inventory, agent: &AgentReport) -> Vec<Finding> {
    let mut findings = Vec::new();
    match agent {
        AgentReport::Silent { problem } => {
            let advice = "start the agent: until then nobody keeps pods up, and only files tell what is here";
            findings.push(Finding::told(FindingKind::NoAgent, "agent", problem, advice));
        }
        AgentReport::Answers { runtime_problem, source_problems, .. } => {
            if !runtime_problem.is_empty() {
                let advice = "mend the runtime or its network: pods that need it wait until then";
                findings.push(Finding::told(FindingKind::Runtime, "runtime", runtime_problem, advice));
            }
            let advice = "mend or delete it where it comes from; the agent reads it again by itself";
            findings.extend(
                source_problems
                    .iter()
                    .map(|(origin, problem)| Finding::told(FindingKind::Source, origin, problem, advice)),
            );
        }
    }
    if let RuntimeInventory::Silent { problem } = &inventory.runtime {
        let advice = "start or mend the container runtime: no pod can start or stop without it";
        findings.push(Finding::told(FindingKind::Runtime, "runtime", problem, advice));
    }
    findings
}
