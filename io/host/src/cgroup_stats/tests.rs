//! Both cgroup versions on directories that stand for a tree, and a busy process in a real cgroup where the machine has one.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use core_stats::{PressureLine, PressureSample, ProcessSample};
use core_types::MonoTime;

use super::*;
use crate::HostClock;

fn path(names: &[&str]) -> CgroupPath {
    CgroupPath(names.iter().map(|&name| name.to_owned()).collect())
}

fn put(dir: &Path, files: &[(&str, &str)]) {
    std::fs::create_dir_all(dir).unwrap();
    for (file, content) in files {
        std::fs::write(dir.join(file), content).unwrap();
    }
}

fn machine(tree: Tree, proc: &Path) -> Machine {
    let (proc, sys) = (proc.to_path_buf(), proc.with_file_name("sys"));
    Machine { tree, proc, sys, clock: Arc::new(HostClock::new()), filesystems: Filesystems::default() }
}

fn target(names: &[&str], network: NetworkOf) -> CgroupTarget {
    CgroupTarget { path: path(names), network }
}

const NET_DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     9       9    0    0    0     0          0         0        9       9    0    0    0     0       0          0
  eth0:     1       2    3    4    0     0          0         0        5       6    7    8    0     0       0          0
veth12:     9       9    0    0    0     0          0         0        9       9    0    0    0     0       0          0
";

#[test]
fn v2_reads_one_directory() {
    let temp = tempfile::tempdir().unwrap();
    put(
        &temp.path().join("pod1"),
        &[
            (
                "cpu.stat",
                "usage_usec 3\nuser_usec 2\nsystem_usec 1\nnr_periods 9\nnr_throttled 4\nthrottled_usec 5\nnr_bursts 6\nburst_usec 7\n",
            ),
            ("cpu.max", "50000 100000\n"),
            ("cpu.weight", "39\n"),
            (
                "memory.stat",
                "anon 10\nfile 20\nkernel 5\nfile_mapped 3\ninactive_file 7\nactive_file 13\npgfault 8\npgmajfault 1\npgscan 2\nworkingset_refault_file 4\n",
            ),
            ("memory.current", "40\n"),
            ("memory.peak", "50\n"),
            ("memory.max", "max\n"),
            ("memory.swap.current", "6\n"),
            ("memory.swap.max", "64\n"),
            ("memory.events", "low 0\nhigh 2\nmax 3\n"),
            ("cgroup.procs", "17\n18\n"),
            ("pids.current", "5\n"),
            ("pids.max", "max\n"),
            ("cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=11\n"),
            (
                "io.pressure",
                "some avg10=1.50 avg60=0.25 avg300=0.01 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=13\n",
            ),
        ],
    );
    put(&temp.path().join("proc/17/net"), &[("dev", NET_DEV)]);
    let proc = temp.path().join("proc");
    let machine = machine(Tree::V2(v2::V2::new(temp.path(), &proc)), &proc);
    let sample = machine.read(&target(&["pod1"], NetworkOf::ItsProcesses)).unwrap();
    let cpu = sample.cpu.unwrap();
    assert_eq!((cpu.usage_nanos, cpu.user_nanos, cpu.system_nanos), (3_000, 2_000, 1_000));
    assert_eq!((cpu.cfs_periods, cpu.cfs_throttled_periods, cpu.cfs_throttled_nanos), (9, 4, 5_000));
    assert_eq!((cpu.cfs_burst_periods, cpu.cfs_burst_nanos), (6, 7_000));
    let memory = sample.memory.unwrap();
    assert_eq!((memory.usage_bytes, memory.max_usage_bytes, memory.working_set_bytes()), (40, 50, 33));
    assert_eq!(
        (memory.rss_bytes, memory.cache_bytes, memory.kernel_bytes, memory.swap_bytes),
        (10, 20, 5, 6)
    );
    assert_eq!((memory.reclaim.high_events, memory.reclaim.max_events), (2, 3));
    assert_eq!(sample.processes, Some(ProcessSample { processes: 2, threads: Some(5), threads_max: 0 }));
    let line = |total_micros| PressureLine { total_micros, ..PressureLine::default() };
    assert_eq!(sample.pressure.cpu, Some(PressureSample { some: line(11), full: line(0) }));
    let some = PressureLine { avg10: 1.5, avg60: 0.25, avg300: 0.01, ..line(12) };
    assert_eq!(sample.pressure.io, Some(PressureSample { some, full: line(13) }));
    assert_eq!(sample.pressure.memory, None);
    let (cpu, memory) = (sample.spec.cpu.unwrap(), sample.spec.memory.unwrap());
    assert_eq!((cpu.shares, cpu.period_us, cpu.quota_us), (998, 100_000, 50_000));
    assert_eq!((memory.limit_bytes, memory.swap_limit_bytes), (u64::MAX, 64));
    let [eth0] = sample.interfaces.as_slice() else { panic!("only eth0 counts: {:?}", sample.interfaces) };
    assert_eq!((eth0.rx_bytes, eth0.rx_packets, eth0.rx_errors, eth0.rx_dropped), (1, 2, 3, 4));
    assert_eq!((eth0.tx_bytes, eth0.tx_packets, eth0.tx_errors, eth0.tx_dropped), (5, 6, 7, 8));
    assert!(!sample.created_at.is_unset() && !sample.taken_at.is_unset());
}

#[test]
fn v2_puts_the_root_together() {
    let temp = tempfile::tempdir().unwrap();
    put(
        temp.path(),
        &[("memory.stat", "anon 10\nfile 20\n"), ("cpu.stat", "usage_usec 1\n"), ("cgroup.procs", "")],
    );
    let proc = temp.path().join("proc");
    put(&proc.join("1/net"), &[("dev", NET_DEV)]);
    put(&proc, &[("meminfo", "SwapTotal:     8 kB\nSwapFree:     5 kB\n")]);
    let machine = machine(Tree::V2(v2::V2::new(temp.path(), &proc)), &proc);
    let sample = machine.read(&target(&[], NetworkOf::Machine)).unwrap();
    let memory = sample.memory.unwrap();
    assert_eq!((memory.usage_bytes, memory.swap_bytes), (30, 3 * 1024));
    assert_eq!(sample.spec.memory, None);
    assert_eq!(sample.interfaces.len(), 1);
}

#[test]
fn v1_reads_each_hierarchy() {
    let temp = tempfile::tempdir().unwrap();
    let mounts = ["cpu", "cpuacct", "memory", "pids"].map(|name| (name.to_owned(), temp.path().join(name)));
    put(
        &temp.path().join("cpu/pod1"),
        &[
            ("cpu.stat", "nr_periods 9\nnr_throttled 4\nthrottled_time 5\nnr_bursts 6\nburst_time 7\n"),
            ("cpu.cfs_quota_us", "-1\n"),
            ("cpu.cfs_period_us", "100000\n"),
            ("cpu.shares", "204\n"),
            ("cgroup.procs", "17\n"),
        ],
    );
    put(
        &temp.path().join("cpuacct/pod1"),
        &[("cpuacct.usage", "33\n"), ("cpuacct.stat", "user 200\nsystem 100\n")],
    );
    put(
        &temp.path().join("memory/pod1"),
        &[
            (
                "memory.stat",
                "cache 1\nrss 2\npgfault 8\ntotal_cache 20\ntotal_rss 10\ntotal_swap 6\ntotal_inactive_file 7\n",
            ),
            ("memory.usage_in_bytes", "40\n"),
            ("memory.max_usage_in_bytes", "50\n"),
            ("memory.failcnt", "3\n"),
            ("memory.use_hierarchy", "1\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
        ],
    );
    put(&temp.path().join("pids/pod1"), &[("pids.current", "5\n"), ("pids.max", "100\n")]);
    let machine = machine(Tree::V1(v1::V1::new(mounts.into())), temp.path());
    let sample = machine.read(&target(&["pod1"], NetworkOf::Nobody)).unwrap();
    let cpu = sample.cpu.unwrap();
    let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second();
    assert_eq!((cpu.usage_nanos, cpu.user_nanos, cpu.system_nanos), (33, 200 * tick, 100 * tick));
    assert_eq!((cpu.cfs_periods, cpu.cfs_throttled_nanos, cpu.cfs_burst_nanos), (9, 5, 7));
    let memory = sample.memory.unwrap();
    assert_eq!(
        (memory.rss_bytes, memory.cache_bytes, memory.swap_bytes),
        (10, 20, 6),
        "sums with those below"
    );
    assert_eq!((memory.working_set_bytes(), memory.failures, memory.page_faults), (33, 3, 8));
    assert_eq!(sample.processes, Some(ProcessSample { processes: 1, threads: Some(5), threads_max: 100 }));
    let spec = sample.spec.cpu.unwrap();
    assert_eq!((spec.shares, spec.period_us, spec.quota_us), (204, 100_000, 0));
    assert_eq!(sample.pressure, core_stats::Pressure::default());
}

#[test]
fn what_is_not_there_or_leads_out_of_the_tree_has_no_sample() {
    let temp = tempfile::tempdir().unwrap();
    put(&temp.path().join("root/pod1"), &[("cpu.stat", "")]);
    let machine = machine(Tree::V2(v2::V2::new(&temp.path().join("root"), temp.path())), temp.path());
    assert!(machine.read(&target(&["pod1"], NetworkOf::Nobody)).is_some());
    for names in [&["pod2"][..], &["pod1", ".."], &["..", "root"], &["pod1/."], &[""]] {
        assert_eq!(machine.read(&target(names, NetworkOf::Nobody)), None, "{names:?}");
    }
}

#[test]
fn tasks_are_counted_against_the_smaller_limit() {
    let temp = tempfile::tempdir().unwrap();
    let machine = machine(Tree::V2(v2::V2::new(temp.path(), temp.path())), temp.path());
    assert_eq!(machine.tasks(), None);
    put(&temp.path().join("sys/kernel"), &[("pid_max", "4194304\n"), ("threads-max", "1000\n")]);
    put(temp.path(), &[("loadavg", "0.10 0.20 0.30 2/345 6789\n")]);
    let tasks = machine.tasks().unwrap();
    assert_eq!((tasks.max, tasks.current), (1000, 345));
    put(temp.path(), &[("loadavg", "broken\n")]);
    assert_eq!(machine.tasks(), None);
}

/// A cgroup on the real tree with a child in it; both go with it.
struct Busy {
    dirs: Vec<PathBuf>,
    child: Child,
}

impl Busy {
    /// A child that waits in a cgroup of its own until it is told to be busy; `None` where no cgroup can be made.
    fn new(name: &str) -> Option<Self> {
        let root = Path::new(cgroups::MOUNT_POINT);
        let mut dirs: Vec<PathBuf> = match cgroups::cgroup_version(root) {
            Ok(CgroupVersion::V2) => vec![root.join(name)],
            Ok(CgroupVersion::V1) => {
                let mounts = cgroups::v1_hierarchies().ok()?;
                let wanted = ["cpu", "cpuacct", "memory", "pids"].iter();
                wanted.filter_map(|controller| mounts.get(*controller)).map(|dir| dir.join(name)).collect()
            }
            Err(error) => return skipped(&error),
        };
        dirs.dedup();
        for dir in &dirs {
            if let Err(error) = std::fs::create_dir(dir) {
                return skipped(&error);
            }
        }
        let script = "read line; x=$(head -c 8000000 /dev/zero | tr '\\0' x); while :; do :; done";
        let child = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        let busy = Self { dirs, child };
        for dir in &busy.dirs {
            std::fs::write(dir.join("cgroup.procs"), busy.child.id().to_string()).unwrap();
        }
        Some(busy)
    }

    /// CPU time of the child, in nanoseconds.
    fn cpu_nanos(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/schedstat", self.child.id())).unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    }

    /// Memory of the child that is no file's, in bytes.
    fn anonymous_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kib = text.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
        kib.unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Processes in the cgroup: the child, and what it has started.
    fn processes(&self) -> usize {
        let text = std::fs::read_to_string(self.dirs[0].join("cgroup.procs")).unwrap();
        text.lines().count()
    }

    /// CPU time of the whole cgroup as the kernel's own file tells it, in nanoseconds.
    fn kernel_nanos(&self) -> u64 {
        let v1 = self.dirs.iter().find_map(|dir| std::fs::read_to_string(dir.join("cpuacct.usage")).ok());
        let v2 = || self.dirs.iter().find_map(|dir| std::fs::read_to_string(dir.join("cpu.stat")).ok());
        match v1 {
            Some(text) => text.trim().parse().unwrap(),
            None => {
                let stat = v2().expect("one of the two versions tells");
                let usage_us = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
                usage_us.parse::<u64>().unwrap() * 1000
            }
        }
    }

    /// Stops the child where it is and waits until it stands.
    fn pause(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        self.wait("the child stands", || {
            std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap().contains(") T ")
        });
    }

    fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        let clock = HostClock::new();
        while !is_so() {
            assert!(clock.now().since(MonoTime::ZERO) < Duration::from_secs(30), "not in time: {what}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for dir in &self.dirs {
            let clock = HostClock::new();
            while std::fs::remove_dir(dir).is_err()
                && clock.now().since(MonoTime::ZERO) < Duration::from_secs(5)
            {
                std::thread::yield_now();
            }
        }
    }
}

fn skipped<T>(reason: &dyn std::fmt::Display) -> Option<T> {
    eprintln!("skipped: no cgroup can be made here: {reason}");
    None
}

#[tokio::test]
async fn a_busy_process_is_seen_with_its_cpu_time_and_memory() {
    let name = format!("podwright-stats-{}", std::process::id());
    let Some(mut busy) = Busy::new(&name) else { return };
    let reader = HostStatsReader::new(Arc::new(HostClock::new())).unwrap();
    let before = busy.cpu_nanos();
    let begun = busy.child.stdin.take().unwrap().write_all(b"go\n");
    begun.unwrap();
    busy.wait("the child has its memory", || busy.anonymous_bytes() > 8_000_000);
    busy.wait("the child's pipe to have ended", || busy.processes() == 1);
    busy.wait("a second of CPU time", || busy.cpu_nanos() > before + 1_000_000_000);
    busy.pause();

    let used = busy.cpu_nanos() - before;
    let kernel_before = busy.kernel_nanos();
    let mut samples = reader.cgroups("test", vec![target(&[&name], NetworkOf::ItsProcesses)]).await.unwrap();
    let sample = samples.remove(0).expect("the cgroup is there");
    let cpu = sample.cpu.unwrap();
    let kernel = kernel_before..=busy.kernel_nanos();
    assert!(kernel.contains(&cpu.usage_nanos), "read {}, the kernel says {kernel:?}", cpu.usage_nanos);
    // What else ran in the cgroup (the child's pipe) comes on top of the child's own time.
    assert!(cpu.usage_nanos >= used, "read {}, the child alone used {used}", cpu.usage_nanos);
    let read = cpu.usage_nanos as f64;
    // On version 1 these come in ticks.
    let split = (cpu.user_nanos + cpu.system_nanos) as f64;
    assert!((split - read).abs() < 0.02 * read + 3e7, "user and system {split}, all {read}");
    let memory = sample.memory.expect("memory is counted");
    // The kernel's counters are some pages late.
    assert!(memory.rss_bytes > 7_500_000 && memory.usage_bytes >= memory.rss_bytes, "{memory:?}");
    assert_eq!(sample.processes.unwrap().processes, 1);
    let names = |interfaces: &[InterfaceSample]| -> Vec<String> {
        interfaces.iter().map(|interface| interface.name.clone()).collect()
    };
    let own = parse::interfaces(&std::fs::read_to_string("/proc/self/net/dev").unwrap()).unwrap();
    assert_eq!(names(&sample.interfaces), names(&own), "the child has our network");
}

fn process(proc: &Path, number: &str, open: &[&str]) {
    let dir = proc.join(number);
    std::fs::create_dir_all(dir.join("fd")).unwrap();
    for (index, target) in open.iter().enumerate() {
        std::os::unix::fs::symlink(target, dir.join("fd").join(index.to_string())).unwrap();
    }
    let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                  Max open files            1024                 unlimited            files\n";
    std::fs::write(dir.join("limits"), limits).unwrap();
}

fn block_device(sys: &Path, numbers: &str, name: &str) {
    std::fs::create_dir_all(sys.join("dev/block")).unwrap();
    let target = format!("../../devices/pci0/block/{name}");
    std::os::unix::fs::symlink(target, sys.join("dev/block").join(numbers)).unwrap();
}

#[test]
fn details_are_disks_and_open_files() {
    let temp = tempfile::tempdir().unwrap();
    let (proc, sys) = (temp.path().join("proc"), temp.path().join("sys"));
    block_device(&sys, "254:0", "vda");
    block_device(&sys, "7:0", "loop0");
    process(&proc, "17", &["/dev/null", "socket:[1]", "socket:[2]"]);
    process(&proc, "18", &["pipe:[3]"]);
    let v1 = temp.path().join("v1");
    put(&v1.join("cpu/pod1"), &[("cgroup.procs", "17\n18\n19\n")]);
    put(
        &v1.join("blkio/pod1"),
        &[
            ("blkio.bfq.io_service_bytes_recursive", "Total 0\n"),
            (
                "blkio.throttle.io_service_bytes_recursive",
                "254:0 Read 4096\n254:0 Write 8192\n7:0 Read 1\nTotal 12289\n",
            ),
            ("blkio.throttle.io_serviced_recursive", "254:0 Read 1\n254:0 Write 2\nTotal 3\n"),
        ],
    );
    let v2 = temp.path().join("v2");
    put(
        &v2.join("pod1"),
        &[
            ("cgroup.procs", "17\n18\n19\n"),
            ("io.stat", "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n8:0\n"),
        ],
    );
    let mounts = ["cpu", "blkio"].map(|name| (name.to_owned(), v1.join(name))).into();
    let trees = [Tree::V1(v1::V1::new(mounts)), Tree::V2(v2::V2::new(&v2, &proc))];
    for tree in trees {
        let machine = machine(tree, &proc);
        let detail = machine.detail(&path(&["pod1"])).unwrap();
        assert_eq!(detail.descriptors, Some(core_stats::DescriptorSample { open: 4, sockets: 2 }));
        assert_eq!(detail.max_open_files, Some(1024));
        let vda = detail.disks.iter().find(|disk| disk.device == "/dev/vda").unwrap();
        assert_eq!((vda.bytes["Read"], vda.bytes["Write"]), (4096, 8192));
        assert_eq!((vda.operations["Read"], vda.operations["Write"]), (1, 2));
        assert!(detail.disks.iter().all(|disk| !disk.device.contains("loop")), "{:?}", detail.disks);
        assert_eq!(machine.detail(&path(&["gone"])), None);
        assert_eq!(machine.detail(&path(&["..", "pod1"])), None);
    }
}

/// Both versions with one pod, whose files are given.
fn with_files(temp: &Path, files: &[(&str, &str)]) -> [(PathBuf, Machine); 2] {
    let proc = temp.join("proc");
    let controllers = ["cpu", "cpuacct", "memory", "pids", "blkio"];
    let v1 = temp.join("v1");
    let mounts: std::collections::BTreeMap<_, _> =
        controllers.map(|name| (name.to_owned(), v1.clone())).into();
    let v2 = temp.join("v2");
    put(&v1.join("pod1"), files);
    put(&v2.join("pod1"), files);
    let of_v2 = Tree::V2(v2::V2::new(&v2, &proc));
    [
        (v1.join("pod1"), machine(Tree::V1(v1::V1::new(mounts)), &proc)),
        (v2.join("pod1"), machine(of_v2, &proc)),
    ]
}

#[test]
fn a_broken_file_leaves_out_its_own_numbers_only() {
    let temp = tempfile::tempdir().unwrap();
    let broken = [
        ("cpu.stat", "nr_periods many\n\u{0}\nusage_usec\n"),
        ("cpuacct.stat", "\n\n"),
        ("cpuacct.usage", "99999999999999999999999\n"),
        ("memory.stat", "total_inactive_file -5\nanon x\n"),
        ("memory.usage_in_bytes", ""),
        ("memory.current", "4096 4096\n"),
        ("memory.max", "most\n"),
        ("memory.limit_in_bytes", "-1\n"),
        ("pids.current", "\n"),
        ("cpu.pressure", "some total=\nfull\n"),
        ("io.stat", "8:0 rbytes\n:: x=y\n254 rbytes=1\n"),
        ("blkio.throttle.io_service_bytes_recursive", "8:0 Read\nRead 1\n8:x Read 2\n"),
        ("cgroup.procs", "17\nnonsense\n"),
    ];
    for (_, machine) in with_files(temp.path(), &broken) {
        let sample = machine.read(&target(&["pod1"], NetworkOf::ItsProcesses)).expect("the cgroup is there");
        assert_eq!(sample.memory, None, "no limit is judged by a number that nobody understands");
        assert_eq!(sample.processes.map(|sample| sample.threads), Some(None));
        assert_eq!(sample.pressure.cpu, None);
        let detail = machine.detail(&path(&["pod1"])).expect("the cgroup is there");
        assert_eq!((detail.disks.len(), detail.descriptors.map(|open| open.open)), (0, Some(0)));
    }
}

#[test]
fn a_cgroup_that_goes_while_it_is_read_is_a_part_or_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let files = [
        ("cpu.stat", "usage_usec 3\n"),
        ("memory.stat", "inactive_file 1\ntotal_inactive_file 1\n"),
        ("memory.current", "40\n"),
        ("memory.usage_in_bytes", "40\n"),
        ("cgroup.procs", ""),
    ];
    for (dir, machine) in with_files(temp.path(), &files) {
        let comes_and_goes = std::thread::spawn(move || {
            for _ in 0..300 {
                std::fs::remove_dir_all(&dir).unwrap();
                put(&dir, &files);
            }
        });
        let (mut whole, mut looks) = (0, 0);
        while !comes_and_goes.is_finished() || looks < 300 {
            looks += 1;
            let sample = machine.read(&target(&["pod1"], NetworkOf::ItsProcesses));
            let memory = sample.and_then(|sample| sample.memory);
            assert!(memory.is_none_or(|memory| memory.usage_bytes == 40 && memory.working_set_bytes() >= 39));
            whole += u32::from(memory.is_some());
            machine.detail(&path(&["pod1"]));
        }
        comes_and_goes.join().unwrap();
        assert!(whole > 0, "some looks found it");
    }
}
