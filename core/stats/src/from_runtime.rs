//! Use of pods as the runtime reports it, in the form in which cgroups are read (gate `PodAndContainerStatsFromCRI`).
//!
//! What the runtime does not say is left out: limits of CPU, throttling and pressure are known of cgroups only.

use std::collections::BTreeSet;

use core_types::WallTime;
use core_types::runtime::{ContainerStats, CpuUsage, MemoryUsage, NetworkUsage, SandboxStats, SwapUsage};

use crate::readings::Measured;
use crate::sample::{
    CgroupSample, CgroupSpec, CpuSample, InterfaceSample, MemorySample, MemorySpec, ProcessSample,
};
use crate::subjects::{Group, Subject, Whose};

/// The pods of these groups, with what the runtime says of them. What it says nothing of is left out.
pub fn from_runtime(groups: Vec<Group>, stats: &[SandboxStats]) -> Vec<Measured> {
    groups.into_iter().flat_map(|group| of_group(group.subjects, stats)).collect()
}

fn of_group(subjects: Vec<Subject>, stats: &[SandboxStats]) -> Vec<Measured> {
    let is_sandbox = |subject: &&Subject| matches!(subject.whose, Whose::Sandbox(_));
    let own = subjects
        .iter()
        .filter(is_sandbox)
        .find_map(|subject| stats.iter().find(|stats| stats.id.as_str() == subject.labels.name));
    let Some(own) = own else { return Vec::new() };
    // A pod that only the runtime knows is looked for in several places: here it is there once.
    let mut seen = BTreeSet::new();
    let measured = subjects.into_iter().filter_map(|subject| {
        let sample = match &subject.whose {
            Whose::Pod(_) => Some(of_pod(own)),
            Whose::Sandbox(_) if own.id.as_str() == subject.labels.name => Some(of_sandbox(own)),
            Whose::Container(_) => {
                own.containers.iter().find(|one| one.id.as_str() == subject.labels.name).map(of_container)
            }
            _ => None,
        }?;
        seen.insert((subject.whose.clone(), subject.labels.name.clone())).then_some(Measured {
            subject,
            sample,
            cpu_nano_cores: None,
        })
    });
    measured.collect()
}

fn of_pod(stats: &SandboxStats) -> CgroupSample {
    sample(stats.cpu.as_ref(), stats.memory.as_ref(), None)
}

/// Network and processes are the sandbox's.
fn of_sandbox(stats: &SandboxStats) -> CgroupSample {
    CgroupSample {
        taken_at: taken_at(stats.cpu.as_ref(), stats.memory.as_ref()),
        interfaces: stats.interfaces.iter().map(interface).collect(),
        processes: stats
            .process_count
            .map(|processes| ProcessSample { processes, ..ProcessSample::default() }),
        ..CgroupSample::default()
    }
}

fn of_container(stats: &ContainerStats) -> CgroupSample {
    sample(stats.cpu.as_ref(), stats.memory.as_ref(), stats.swap.as_ref())
}

fn sample(cpu: Option<&CpuUsage>, memory: Option<&MemoryUsage>, swap: Option<&SwapUsage>) -> CgroupSample {
    let used = memory.and_then(|memory| Some((memory, memory.usage_bytes.or(memory.working_set_bytes)?)));
    let swap_bytes = swap.and_then(|swap| swap.usage_bytes).unwrap_or(0);
    CgroupSample {
        taken_at: taken_at(cpu, memory),
        cpu: cpu
            .and_then(|cpu| cpu.usage_core_nanos)
            .map(|usage_nanos| CpuSample { usage_nanos, ..CpuSample::default() }),
        memory: used.map(|(memory, usage_bytes)| MemorySample {
            usage_bytes,
            inactive_file_bytes: usage_bytes.saturating_sub(memory.working_set_bytes.unwrap_or(usage_bytes)),
            rss_bytes: memory.rss_bytes.unwrap_or(0),
            page_faults: memory.page_faults.unwrap_or(0),
            major_page_faults: memory.major_page_faults.unwrap_or(0),
            swap_bytes,
            ..MemorySample::default()
        }),
        spec: CgroupSpec { memory: memory.map(|memory| limits(memory, swap)), ..CgroupSpec::default() },
        ..CgroupSample::default()
    }
}

/// Limits from what is left of them; none where nothing is said.
fn limits(memory: &MemoryUsage, swap: Option<&SwapUsage>) -> MemorySpec {
    let sum = |left: Option<u64>, used: Option<u64>| {
        left.filter(|left| *left > 0).map_or(u64::MAX, |left| left.saturating_add(used.unwrap_or(0)))
    };
    MemorySpec {
        limit_bytes: sum(memory.available_bytes, memory.working_set_bytes),
        swap_limit_bytes: swap.map_or(0, |swap| sum(swap.available_bytes, swap.usage_bytes)),
        reservation_bytes: 0,
    }
}

fn taken_at(cpu: Option<&CpuUsage>, memory: Option<&MemoryUsage>) -> WallTime {
    let times = [cpu.map(|cpu| cpu.timestamp), memory.map(|memory| memory.timestamp)];
    times.into_iter().flatten().find(|time| !time.is_unset()).unwrap_or_default()
}

fn interface(usage: &NetworkUsage) -> InterfaceSample {
    InterfaceSample {
        name: usage.name.clone(),
        rx_bytes: usage.rx_bytes.unwrap_or(0),
        rx_errors: usage.rx_errors.unwrap_or(0),
        tx_bytes: usage.tx_bytes.unwrap_or(0),
        tx_errors: usage.tx_errors.unwrap_or(0),
        ..InterfaceSample::default()
    }
}

#[cfg(test)]
mod tests {
    use core_cm::CgroupPath;
    use core_types::{ContainerId, PodUid, SandboxId};

    use super::*;
    use crate::subjects::{Labels, NetworkOf};

    fn subject(whose: Whose, path: &str, name: &str) -> Subject {
        Subject {
            whose,
            path: CgroupPath::from_cgroupfs(path),
            labels: Labels { name: name.to_owned(), ..Labels::default() },
            network: NetworkOf::Nobody,
            created_at: WallTime::default(),
            started_at: WallTime::default(),
        }
    }

    #[test]
    fn what_the_runtime_says_stands_for_each_part_of_a_pod_once() {
        let uid = PodUid::from("u");
        let subjects = vec![
            subject(Whose::Pod(uid.clone()), "/kubepods/podu", ""),
            subject(Whose::Pod(uid.clone()), "/kubepods/burstable/podu", ""),
            subject(Whose::Sandbox(uid.clone()), "/kubepods/podu/s1", "s1"),
            subject(Whose::Container(uid.clone()), "/kubepods/podu/c1", "c1"),
            subject(Whose::Container(uid.clone()), "/kubepods/burstable/podu/c1", "c1"),
            subject(Whose::Container(uid.clone()), "/kubepods/podu/c2", "c2"),
        ];
        let cpu = CpuUsage {
            timestamp: WallTime::from_unix_secs(5),
            usage_core_nanos: Some(7),
            usage_nano_cores: None,
        };
        let memory = MemoryUsage {
            working_set_bytes: Some(60),
            usage_bytes: Some(100),
            available_bytes: Some(40),
            ..MemoryUsage::default()
        };
        let container = ContainerStats {
            id: ContainerId::from("c1"),
            name: "main".to_owned(),
            cpu: Some(cpu),
            memory: Some(memory),
            swap: None,
            writable_layer: None,
        };
        let stats = SandboxStats {
            id: SandboxId::from("s1"),
            cpu: Some(cpu),
            memory: Some(MemoryUsage { available_bytes: None, ..memory }),
            interfaces: vec![NetworkUsage {
                name: "eth0".to_owned(),
                rx_bytes: Some(3),
                ..NetworkUsage::default()
            }],
            process_count: Some(4),
            containers: vec![container],
        };
        let group = Group { name: "u".to_owned(), subjects };
        let found = from_runtime(vec![group.clone()], &[stats]);
        let names: Vec<_> = found.iter().map(|one| one.subject.path.cgroupfs()).collect();
        assert_eq!(names, ["/kubepods/podu", "/kubepods/podu/s1", "/kubepods/podu/c1"]);
        let [pod, sandbox, container] = found.as_slice() else { panic!("three") };
        assert_eq!((pod.working_set_bytes(), pod.memory_limit_bytes()), (Some(60), None));
        assert_eq!((container.working_set_bytes(), container.memory_limit_bytes()), (Some(60), Some(100)));
        assert_eq!(container.sample.cpu.map(|cpu| cpu.usage_nanos), Some(7));
        assert_eq!(container.sample.taken_at, WallTime::from_unix_secs(5));
        assert_eq!(
            (sandbox.sample.interfaces.len(), sandbox.sample.processes.map(|all| all.processes)),
            (1, Some(4))
        );
        assert_eq!(from_runtime(vec![group], &[]), []);
    }
}
