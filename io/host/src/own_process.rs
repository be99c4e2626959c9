//! Figures of the agent's own process from `/proc/self`, for the `process_*` metrics (CONTRACT 5.15).
//!
//! Reads `/proc/self/stat`, `/proc/self/fd`, `/proc/stat` and the descriptor limit at each question; keeps nothing.

use std::fs;

use ports::OwnProcess;
use ports::process::ProcessStats;
use rustix::process::{Resource, getrlimit};

/// Reader of `/proc/self`.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostOwnProcess;

impl OwnProcess for HostOwnProcess {
    fn stats(&self) -> Option<ProcessStats> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let system = fs::read_to_string("/proc/stat").ok()?;
        let mut stats =
            parse(&stat, &system, rustix::param::clock_ticks_per_second(), rustix::param::page_size())?;
        stats.open_fds = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        stats.max_fds = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        stats.virtual_memory_max_bytes = getrlimit(Resource::As).current;
        let devices = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
        (stats.network_receive_bytes, stats.network_transmit_bytes) = network_bytes(&devices);
        Some(stats)
    }
}

/// Bytes received and sent on all interfaces.
fn network_bytes(devices: &str) -> (u64, u64) {
    let interface = |line: &str| {
        let fields: Vec<u64> =
            line.rsplit_once(':')?.1.split_whitespace().map_while(|field| field.parse().ok()).collect();
        Some((*fields.first()?, *fields.get(8)?))
    };
    let all = devices.lines().filter_map(interface);
    all.fold((0, 0), |(received, sent), (more, out)| (received + more, sent + out))
}

fn parse(stat: &str, system: &str, ticks_per_second: u64, page_bytes: usize) -> Option<ProcessStats> {
    // The second field is the program's name in parentheses, which may hold anything; fields are counted after it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let seconds = |ticks: u64| ticks as f64 / ticks_per_second as f64;
    let boot: u64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(ProcessStats {
        cpu_seconds: seconds(field(14)? + field(15)?),
        start_time_seconds: boot as f64 + seconds(field(22)?),
        virtual_memory_bytes: field(23)?,
        resident_memory_bytes: field(24)? * page_bytes as u64,
        ..ProcessStats::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_the_name() {
        let stat =
            "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 200 4096000 10 18446744073709551615";
        let stats = parse(stat, "cpu 1\nbtime 1000\n", 100, 4096).expect("parses");
        assert_eq!(
            (
                stats.cpu_seconds,
                stats.start_time_seconds,
                stats.virtual_memory_bytes,
                stats.resident_memory_bytes
            ),
            (2.0, 1002.0, 4_096_000, 40_960)
        );
    }

    #[test]
    fn bytes_of_all_interfaces_count() {
        let devices = "Inter-| Receive\n face |bytes\n    lo: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n  eth0: 1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        assert_eq!(network_bytes(devices), (11, 22));
    }

    #[test]
    fn this_process_has_figures() {
        let stats = HostOwnProcess.stats().expect("readable /proc");
        assert!(stats.resident_memory_bytes > 0 && stats.open_fds > 0 && stats.max_fds >= stats.open_fds);
    }
}
