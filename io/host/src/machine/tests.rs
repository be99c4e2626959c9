//! A made-up machine in a temporary directory, and the one that the test runs on.

use super::*;

fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Files) {
    let temp = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = temp.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let files = Files::new(temp.path());
    (temp, files)
}

const CPU: &str = "sys/devices/system/cpu";

#[test]
fn a_machine_of_two_cores_with_two_threads_reads_as_cadvisor_shows_it() {
    let mut layout: Vec<(String, String)> = Vec::new();
    for cpu in 0..4 {
        let core = (cpu % 2).to_string();
        layout.push((format!("sys/devices/system/node/node0/cpu{cpu}/x"), String::new()));
        layout.push((format!("{CPU}/cpu{cpu}/topology/core_id"), core));
        layout.push((format!("{CPU}/cpu{cpu}/topology/physical_package_id"), "0".into()));
        for (index, level, kind, shared) in [(0, 1, "Data", "0,2"), (1, 3, "Unified", "0-3")] {
            let dir = format!("{CPU}/cpu{cpu}/cache/index{index}");
            for (file, value) in [("level", level.to_string()), ("type", kind.into()), ("size", "32K".into())]
            {
                layout.push((format!("{dir}/{file}"), value));
            }
            layout.push((format!("{dir}/shared_cpu_list"), shared.into()));
        }
    }
    for (path, content) in [
        ("proc/cpuinfo", "vendor_id : X\nphysical id : 0\ncore id : 0\ncpu MHz : 2300.5\n\ncore id : 1\n"),
        ("proc/meminfo", "MemTotal: 1024 kB\nSwapTotal: 8 kB\n"),
        ("proc/sys/kernel/random/boot_id", "boot\n"),
        ("etc/machine-id", "machine\n"),
        ("sys/devices/system/node/node0/meminfo", "Node 0 MemTotal: 1000 kB\n"),
        ("sys/devices/system/node/node0/distance", "10 20\n"),
        ("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "3\n"),
        ("sys/block/vda/dev", "254:0\n"),
        ("sys/block/vda/size", "8\n"),
        ("sys/block/vda/queue/scheduler", "none [mq-deadline]\n"),
        ("sys/block/loop0/dev", "7:0\n"),
        ("sys/class/net/eth0/address", "aa:bb\n"),
        ("sys/class/net/eth0/mtu", "1500\n"),
        ("sys/class/net/veth1/mtu", "1500\n"),
    ] {
        layout.push((path.into(), content.into()));
    }
    let layout: Vec<(&str, &str)> =
        layout.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
    let (_temp, files) = machine(&layout);
    let info = MachineInfo::read_below(&files, WallTime::from_unix_secs(0), Vec::new());
    let json = serde_json::to_value(&info).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "timestamp": "1970-01-01T00:00:00.000000000Z", "vendor_id": "X",
            "num_cores": 4, "num_physical_cores": 2, "num_sockets": 1, "cpu_frequency_khz": 2_300_500,
            "memory_capacity": 1_048_576, "swap_capacity": 8192, "memory_by_type": {},
            "nvm": {"memory_mode_capacity": 0, "app direct_mode_capacity": 0, "avg_power_budget": 0},
            "hugepages": [{"page_size": 2048, "num_pages": 3}],
            "machine_id": "machine", "system_uuid": "machine", "boot_id": "boot", "filesystems": [],
            "disk_map": {"254:0": {"name": "vda", "major": 254, "minor": 0, "size": 4096, "scheduler": "mq-deadline"}},
            "network_devices": [{"name": "eth0", "mac_address": "aa:bb", "speed": 0, "mtu": 1500}],
            "topology": [{
                "node_id": 0, "memory": 1_024_000, "hugepages": [], "distances": [10, 20],
                "caches": [{"id": 0, "size": 32768, "type": "Unified", "level": 3}],
                "cores": [
                    {"core_id": 0, "thread_ids": [0, 2], "socket_id": 0, "uncore_caches": null,
                     "caches": [{"id": 0, "size": 32768, "type": "Data", "level": 1}]},
                    {"core_id": 1, "thread_ids": [1, 3], "socket_id": 0, "uncore_caches": null,
                     "caches": [{"id": 0, "size": 32768, "type": "Data", "level": 1}]},
                ],
            }],
            "cloud_provider": "Unknown", "instance_type": "Unknown", "instance_id": "",
        })
    );
}

#[test]
fn an_empty_machine_is_all_zero_and_no_error() {
    let (_temp, files) = machine(&[]);
    let info = MachineInfo::read_below(&files, WallTime::default(), Vec::new());
    assert_eq!((info.num_cores, info.memory_capacity, info.num_sockets), (0, 0, 0));
}

#[test]
fn this_machine_has_processors_memory_and_a_name() {
    let facts = NodeFacts::read();
    let info = MachineInfo::read(WallTime::default());
    assert!(facts.cpus > 0 && facts.memory_bytes > 1 << 20 && !facts.hostname.is_empty(), "{facts:?}");
    assert_eq!(info.num_cores, facts.cpus);
    assert_eq!(
        info.num_cores,
        std::thread::available_parallelism().map_or(info.num_cores, |count| info.num_cores.max(count.get()))
    );
    assert!(!facts.boot_id.is_empty() && !facts.kernel_version.is_empty());
    assert!(info.filesystems.iter().all(|filesystem| filesystem.capacity > 0), "{:?}", info.filesystems);
}

#[test]
fn the_own_cgroup_is_where_cpu_and_memory_are_counted() {
    for (text, want) in [
        ("0::/system.slice/kubelet.service\n", "/system.slice/kubelet.service"),
        ("5:memory:/a\n4:cpu,cpuacct:/a\n1:name=systemd:/b\n", "/a"),
        ("5:memory:/a\n4:cpu,cpuacct:/b\n", ""),
        ("", ""),
    ] {
        assert_eq!(own_cgroup_in(text), want, "{text}");
    }
}
