//! Memory nodes, cores, threads and caches, as `/sys/devices/system` shows them, in cAdvisor's form.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Files, meminfo_kib};

/// Huge pages of one size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HugePages {
    /// Size of a page in KiB.
    #[serde(rename = "page_size")]
    pub page_size_kib: u64,
    /// Number of pages.
    pub num_pages: u64,
}

/// One memory node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NumaNode {
    /// Number of the node.
    pub node_id: usize,
    /// Memory in bytes.
    pub memory: u64,
    /// Huge pages of the node.
    pub hugepages: Vec<HugePages>,
    /// Cores.
    pub cores: Vec<Core>,
    /// Caches that all cores of the node share.
    pub caches: Vec<Cache>,
    /// Distances to the nodes.
    pub distances: Vec<u64>,
}

/// One physical core.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Core {
    /// Number in its socket.
    pub core_id: i64,
    /// Logical processors.
    pub thread_ids: Vec<usize>,
    /// Caches of this core alone.
    pub caches: Vec<Cache>,
    /// Last-level caches that it shares with some cores only; null when there are none, as in cAdvisor.
    pub uncore_caches: Option<Vec<Cache>>,
    /// Socket.
    pub socket_id: i64,
}

/// One cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cache {
    /// Number.
    pub id: i64,
    /// Size in bytes.
    pub size: u64,
    /// `Data`, `Instruction` or `Unified`.
    #[serde(rename = "type")]
    pub cache_type: String,
    /// Distance from the core.
    pub level: u32,
}

impl NumaNode {
    /// Number of logical processors.
    pub fn threads(&self) -> usize {
        self.cores.iter().map(|core| core.thread_ids.len()).sum()
    }
}

/// All memory nodes; one without a number of its own when the kernel shows none.
pub(super) fn read(files: &Files) -> Vec<NumaNode> {
    const NODES: &str = "sys/devices/system/node";
    const CPUS: &str = "sys/devices/system/cpu";
    let mut numbers = numbered(files, NODES, "node");
    numbers.sort_unstable();
    if numbers.is_empty() {
        let cores = cores(files, Path::new(CPUS));
        return vec![with_caches(files, NumaNode { cores, ..NumaNode::default() })];
    }
    let node = |node_id: usize| {
        let dir = Path::new(NODES).join(format!("node{node_id}"));
        let node = NumaNode {
            node_id,
            memory: meminfo_kib(&files.text(dir.join("meminfo")), "MemTotal") * 1024,
            hugepages: hugepages(files, dir.join("hugepages")),
            cores: cores(files, &dir),
            caches: Vec::new(),
            distances: files
                .text(dir.join("distance"))
                .split_whitespace()
                .filter_map(|d| d.parse().ok())
                .collect(),
        };
        with_caches(files, node)
    };
    numbers.into_iter().map(node).collect()
}

/// Huge pages of a directory such as `/sys/kernel/mm/hugepages`.
pub(super) fn hugepages(files: &Files, dir: impl AsRef<Path>) -> Vec<HugePages> {
    let dir = dir.as_ref();
    let size = |name: &str| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok();
    let pages = |name: String| {
        let num_pages = files.number(dir.join(&name).join("nr_hugepages")).unwrap_or(0);
        Some(HugePages { page_size_kib: size(&name)?, num_pages })
    };
    files.names(dir).into_iter().filter_map(pages).collect()
}

/// The numbers of entries like `cpu7`.
fn numbered(files: &Files, dir: impl AsRef<Path>, prefix: &str) -> Vec<usize> {
    files.names(dir).iter().filter_map(|name| name.strip_prefix(prefix)?.parse().ok()).collect()
}

fn cores(files: &Files, dir: &Path) -> Vec<Core> {
    let mut cores: Vec<Core> = Vec::new();
    let mut threads = numbered(files, dir, "cpu");
    threads.sort_unstable();
    for thread in threads {
        let cpu = cpu_dir(thread);
        // Processor 0 has no such file on most machines, because it cannot be switched off.
        if files.text(cpu.join("online")) == "0" {
            continue;
        }
        let core_id = files.number(cpu.join("topology/core_id"));
        let socket_id = files.number(cpu.join("topology/physical_package_id"));
        let (Some(core_id), Some(socket_id)) = (core_id, socket_id) else { continue };
        match cores.iter_mut().find(|core| core.core_id == core_id && core.socket_id == socket_id) {
            Some(core) => core.thread_ids.push(thread),
            None => cores.push(Core { core_id, socket_id, thread_ids: vec![thread], ..Core::default() }),
        }
    }
    cores
}

fn cpu_dir(thread: usize) -> PathBuf {
    PathBuf::from(format!("sys/devices/system/cpu/cpu{thread}"))
}

/// Sorts caches to cores and nodes by how many threads share them, as cAdvisor does.
fn with_caches(files: &Files, mut node: NumaNode) -> NumaNode {
    let core_count = node.cores.len();
    for core in &mut node.cores {
        let Some(thread) = core.thread_ids.first() else { continue };
        let per_core = core.thread_ids.len();
        for (cache, sharing) in caches(files, *thread) {
            if cache.level > 2 && sharing == core_count * per_core {
                push_new(&mut node.caches, cache);
            } else if cache.level > 2 {
                push_new(core.uncore_caches.get_or_insert_default(), cache);
            } else if sharing == per_core {
                core.caches.push(cache);
            }
        }
    }
    node
}

fn push_new(caches: &mut Vec<Cache>, cache: Cache) {
    if !caches.contains(&cache) {
        caches.push(cache);
    }
}

/// Caches of a thread, each with the number of threads that share it.
fn caches(files: &Files, thread: usize) -> Vec<(Cache, usize)> {
    let dir = cpu_dir(thread).join("cache");
    let cache = |index: usize| {
        let dir = dir.join(format!("index{index}"));
        let size = files.text(dir.join("size"));
        let cache = Cache {
            id: files.number(dir.join("id")).unwrap_or(0),
            size: size.strip_suffix('K')?.parse::<u64>().ok()? * 1024,
            cache_type: files.text(dir.join("type")),
            level: files.number(dir.join("level"))?,
        };
        Some((cache, cpu_list_len(&files.text(dir.join("shared_cpu_list")))))
    };
    let mut indexes = numbered(files, &dir, "index");
    indexes.sort_unstable();
    indexes.into_iter().filter_map(cache).collect()
}

/// Number of processors in a list such as `0-3,8`.
fn cpu_list_len(list: &str) -> usize {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some(last.checked_sub(first)? + 1)
    };
    list.split(',').filter_map(range).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_lists_are_counted() {
        for (list, count) in [("", 0), ("0", 1), ("0-3,8", 5), ("3-1", 0), ("x", 0)] {
            assert_eq!(cpu_list_len(list), count, "{list}");
        }
    }
}
