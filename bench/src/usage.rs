//! What the kernel says of a process.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

/// What `/proc/<pid>/stat` counts processor time in: USER_HZ, 100 a second on every Linux that we run on.
const TICK: Duration = Duration::from_millis(10);

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident.
    pub(crate) rss_kib: u64,
    /// Resident, with shared pages divided among their users.
    pub(crate) pss_kib: u64,
    /// Resident and its own: heap and stacks.
    pub(crate) anonymous_kib: u64,
}

/// Processor time so far, in user and system mode, of all threads.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).context(path)?;
    // The name in brackets may hold anything; what follows it are numbers, the 12th and 13th are these.
    let (_, after) = text.rsplit_once(')').context("/proc/<pid>/stat has a name in brackets")?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks =
        |index: usize| fields.get(index).and_then(|field| field.parse::<u32>().ok()).context("no number");
    Ok(TICK * (ticks(11)? + ticks(12)?))
}

/// Memory now.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).context(path)?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok())
            .with_context(|| format!("smaps_rollup has no {name}"))
    };
    Ok(Memory { rss_kib: field("Rss")?, pss_kib: field("Pss")?, anonymous_kib: field("Anonymous")? })
}

/// Threads now, and how often all of them have waited so far: each wait ends in a wake-up.
pub(crate) fn threads_and_waits(pid: u32) -> Result<(u64, u64)> {
    let path = format!("/proc/{pid}/task");
    let (mut threads, mut waits) = (0, 0);
    for task in fs::read_dir(&path).context(path)? {
        let Ok(status) = fs::read_to_string(task?.path().join("status")) else { continue };
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        threads += 1;
        waits += line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or_default();
    }
    Ok((threads, waits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        let memory = memory(pid).expect("memory");
        assert!(memory.rss_kib >= memory.pss_kib && memory.anonymous_kib > 0);
        assert!(threads_and_waits(pid).expect("threads").0 >= 1);
        while cpu(pid).expect("cpu") < TICK {
            std::hint::black_box(1);
        }
    }
}
