//! What the kernel writes when it kills a process for lack of memory (CONTRACT 5.13): its lines become one [`OomKill`].
//!
//! ```text
//! memory: usage 20480kB, limit 20480kB, failcnt 41                           only for a limited cgroup
//! oom-kill:constraint=CONSTRAINT_MEMCG,...,oom_memcg=/a,task_memcg=/a/b,task=sh,pid=7,uid=0
//! Memory cgroup out of memory: Killed process 7 (sh) total-vm:..., anon-rss:..., ...
//! ```
//! Reads lines, one after another; a lost one leaves out only what it said. Names of processes are the pod's choice and may hold
//! anything: they are taken from the last place where they can stand.

/// A process that the kernel killed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OomKill {
    /// Name of the process, at most 15 bytes.
    pub process: String,
    /// Its ID on the host.
    pub pid: u32,
    /// The cgroup it was in.
    pub task_cgroup: String,
    /// The cgroup whose limit was reached; empty when the machine had no memory left.
    pub limited_cgroup: String,
    /// What that cgroup used, in bytes, which is its peak; `None` when the kernel's line was lost.
    pub usage_bytes: Option<u64>,
    /// Its limit in bytes.
    pub limit_bytes: Option<u64>,
    /// Memory of the process itself, in bytes.
    pub resident_bytes: Option<u64>,
}

impl OomKill {
    /// The last part of the cgroup's path: a container's ID, as container runtimes name cgroups.
    pub fn container_id(&self) -> &str {
        let last = self.task_cgroup.rsplit('/').next().unwrap_or_default();
        let scope = last.strip_suffix(".scope").unwrap_or(last);
        scope.rsplit_once('-').filter(|_| last != scope).map_or(scope, |(_, id)| id)
    }

    /// True for a process outside of every container.
    pub fn is_of_system(&self) -> bool {
        self.task_cgroup == "/"
    }

    /// What the node's event says of a process outside of every container; upstream's words.
    pub fn system_text(&self) -> String {
        format!("System OOM encountered, victim process: {}, pid: {}", self.process, self.pid)
    }

    /// What is said of the container.
    pub fn text(&self) -> String {
        let mut text =
            format!("The kernel killed process {:?} (pid {}) for lack of memory", self.process, self.pid);
        if let Some(bytes) = self.resident_bytes {
            text += &format!(", which used {}", amount(bytes));
        }
        match (self.limited_cgroup.is_empty(), self.usage_bytes, self.limit_bytes) {
            (true, ..) => text += ": the machine had none left",
            (false, Some(used), Some(limit)) => {
                text +=
                    &format!(": {} used {} of its limit of {}", self.limited(), amount(used), amount(limit));
            }
            (false, ..) => text += &format!(": {} had reached its limit", self.limited()),
        }
        text + "."
    }

    fn limited(&self) -> &'static str {
        let parent = self.task_cgroup.rsplit_once('/').map(|(parent, _)| parent);
        match self.limited_cgroup.as_str() {
            limited if limited == self.task_cgroup => "the container",
            limited if Some(limited) == parent => "its pod",
            _ => "a group of pods that it belongs to",
        }
    }
}

fn amount(bytes: u64) -> String {
    crate::usage::bytes(bytes).to_string()
}

/// Puts the kernel's lines together.
#[derive(Clone, Debug, Default)]
pub struct OomParser {
    usage: Option<(u64, u64)>,
    begun: Option<OomKill>,
    /// The process that the kill begins with was told.
    told: bool,
}

impl OomParser {
    /// Takes the next line; gives a kill when this one completes it.
    pub fn line(&mut self, line: &str) -> Option<OomKill> {
        if let Some(rest) = line.strip_prefix("memory: usage ") {
            self.usage = usage_and_limit(rest);
        } else if line.contains(" invoked oom-killer: ") {
            (self.usage, self.begun) = (None, None);
        } else if let Some(rest) = line.strip_prefix("oom-kill:") {
            (self.begun, self.told) = (begun(rest), false);
        } else if line.contains("emory: Killed process ") {
            return self.complete(line);
        }
        None
    }

    fn complete(&mut self, line: &str) -> Option<OomKill> {
        let (_, rest) = line.split_once("emory: Killed process ")?;
        let pid: u32 = rest.split(' ').next()?.parse().ok()?;
        // Every process of a group is killed: the first one has a line of its own before, and may have another among the rest.
        let mut kill = self.begun.clone()?;
        if kill.pid == pid {
            if std::mem::replace(&mut self.told, true) {
                return None;
            }
        } else {
            kill.pid = pid;
            kill.process = rest.split_once(" (")?.1.rsplit_once(") total-vm:")?.0.to_owned();
        }
        let kib = |name: &str| -> Option<u64> {
            let (_, after) = rest.rsplit_once(name)?;
            after.split("kB").next()?.parse::<u64>().ok()
        };
        let parts = ["anon-rss:", "file-rss:", "shmem-rss:"].map(kib);
        kill.resident_bytes =
            parts.into_iter().flatten().reduce(u64::saturating_add).map(|kib| kib.saturating_mul(1024));
        if !kill.limited_cgroup.is_empty()
            && let Some((used, limit)) = self.usage
        {
            (kill.usage_bytes, kill.limit_bytes) = (Some(used), Some(limit));
        }
        Some(kill)
    }
}

/// `20480kB, limit 20480kB, failcnt 41`.
fn usage_and_limit(text: &str) -> Option<(u64, u64)> {
    let (used, rest) = text.split_once("kB, limit ")?;
    let limit = rest.split("kB").next()?;
    Some((used.parse::<u64>().ok()?.saturating_mul(1024), limit.parse::<u64>().ok()?.saturating_mul(1024)))
}

/// `constraint=C,nodemask=N,cpuset=S,mems_allowed=M,[global_oom | oom_memcg=O],task_memcg=T,task=P,pid=I,uid=U`.
fn begun(text: &str) -> Option<OomKill> {
    let (before, numbers) = text.rsplit_once(",pid=")?;
    let (before, process) = before.split_once(",task=")?;
    let (before, task_cgroup) = before.rsplit_once(",task_memcg=")?;
    let limited = before.rsplit_once(",oom_memcg=").map(|(_, path)| path.to_owned());
    Some(OomKill {
        process: process.to_owned(),
        pid: numbers.split(',').next()?.parse().ok()?,
        task_cgroup: task_cgroup.to_owned(),
        limited_cgroup: limited.unwrap_or_default(),
        ..OomKill::default()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kills(lines: &[&str]) -> Vec<OomKill> {
        let mut parser = OomParser::default();
        lines.iter().filter_map(|line| parser.line(line)).collect()
    }

    const OF_CONTAINER: [&str; 4] = [
        "tail invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=1000",
        "memory: usage 20480kB, limit 20480kB, failcnt 41",
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=c0ffee,mems_allowed=0,\
         oom_memcg=/kubepods/besteffort/pod1/c0ffee,task_memcg=/kubepods/besteffort/pod1/c0ffee,task=tail,pid=77,uid=0",
        "Memory cgroup out of memory: Killed process 77 (tail) total-vm:31000kB, anon-rss:18000kB, file-rss:400kB, \
         shmem-rss:0kB, UID:0 pgtables:92kB oom_score_adj:1000",
    ];

    #[test]
    fn a_kill_in_a_container_tells_process_use_and_limit() {
        let kill = kills(&OF_CONTAINER).remove(0);
        assert_eq!((kill.container_id(), kill.pid, kill.process.as_str()), ("c0ffee", 77, "tail"));
        assert!(!kill.is_of_system());
        assert_eq!(
            kill.text(),
            "The kernel killed process \"tail\" (pid 77) for lack of memory, which used 18400Ki: the container used 20Mi of \
             its limit of 20Mi."
        );
        let of_pod = OF_CONTAINER[2]
            .replace("oom_memcg=/kubepods/besteffort/pod1/c0ffee", "oom_memcg=/kubepods/besteffort/pod1");
        let of_pod = kills(&[OF_CONTAINER[1], &of_pod, OF_CONTAINER[3]]).remove(0);
        assert!(of_pod.text().ends_with(": its pod used 20Mi of its limit of 20Mi."), "{}", of_pod.text());
        let lost = kills(&OF_CONTAINER[2..]).remove(0);
        assert_eq!(lost.usage_bytes, None);
        assert!(lost.text().ends_with("the container had reached its limit."), "{}", lost.text());
        assert_eq!(kills(&OF_CONTAINER[3..]), []);
    }

    #[test]
    fn all_processes_of_a_group_are_told() {
        let second = "Memory cgroup out of memory: Killed process 78 (a (b) c) total-vm:9kB, anon-rss:4kB, file-rss:0kB, \
                      shmem-rss:0kB, UID:0 pgtables:9kB oom_score_adj:1000";
        let group =
            "Tasks in /kubepods/besteffort/pod1/c0ffee are going to be killed due to memory.oom.group set";
        let lines: Vec<&str> = OF_CONTAINER.into_iter().chain([group, second, OF_CONTAINER[3]]).collect();
        let kills = kills(&lines);
        assert_eq!(kills.len(), 2, "the first one is told once");
        assert_eq!(
            (kills[1].pid, kills[1].process.as_str(), kills[1].container_id()),
            (78, "a (b) c", "c0ffee")
        );
        assert_eq!(kills[1].resident_bytes, Some(4096));
    }

    #[test]
    fn a_machine_without_memory_kills_in_the_root_cgroup_or_in_a_pod() {
        let of = |cgroup: &str| {
            let begun = format!(
                "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg={cgroup},\
                 task=hog,pid=9,uid=0"
            );
            kills(&[&begun, "Out of memory: Killed process 9 (hog) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB"])
                .remove(0)
        };
        let system = of("/");
        assert!(system.is_of_system());
        assert_eq!(system.system_text(), "System OOM encountered, victim process: hog, pid: 9");
        let pod = of("/kubepods.slice/kubepods-podx.slice/cri-containerd-beef.scope");
        assert_eq!(pod.container_id(), "beef");
        assert!(pod.text().ends_with(": the machine had none left."), "{}", pod.text());
    }

    proptest! {
        /// Whatever stands in the log: nothing panics, and what comes out names a cgroup.
        #[test]
        fn any_lines_are_survived(lines in prop::collection::vec("(memory: usage |oom-kill:|x emory: Killed process |,pid=|,task=|,task_memcg=|[0-9]{1,30}|kB, limit |[ -~]){0,12}", 0..12)) {
            let mut parser = OomParser::default();
            for line in &lines {
                if let Some(kill) = parser.line(line) {
                    prop_assert!(kill.text().contains("killed process"));
                }
            }
        }
    }
}
