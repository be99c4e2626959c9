//! From a view of the node and samples to the text.

use core_cm::CgroupPath;
use core_types::WallTime;

use super::*;
use crate::detail::{CgroupDetail, DescriptorSample, DiskCounters, DiskSample, MountedFilesystem};
use crate::filesystem::FilesystemSample;
use crate::readings::{LayerUse, limit_root};
use crate::sample::CgroupSample;
use crate::sample::{
    CgroupSpec, CpuSample, CpuSpec, InterfaceSample, MemorySample, MemorySpec, PressureLine, PressureSample,
    ProcessSample,
};
use crate::subjects::{Labels, NetworkOf, Subject, Whose};

fn subject(path: &str, labels: Labels) -> Subject {
    Subject {
        whose: if path == "/" { Whose::Machine } else { Whose::Container("uid".into()) },
        path: CgroupPath::from_cgroupfs(path),
        labels,
        network: NetworkOf::Nobody,
        created_at: WallTime::default(),
        started_at: WallTime::default(),
    }
}

fn web() -> Measured {
    let labels = Labels {
        container: "web".into(),
        image: "web:\"1\"".into(),
        name: "c1".into(),
        namespace: "default".into(),
        pod: "web-0".into(),
    };
    let mut sample = CgroupSample {
        taken_at: WallTime::from_unix_nanos(1_700_000_000_250_000_000),
        created_at: WallTime::from_unix_secs(1_600_000_000),
        cpu: Some(CpuSample { usage_nanos: 1_500_000_000, user_nanos: 1, ..CpuSample::default() }),
        memory: Some(MemorySample { usage_bytes: 100, inactive_file_bytes: 30, ..MemorySample::default() }),
        processes: Some(ProcessSample { processes: 2, threads: Some(3), threads_max: 0 }),
        ..CgroupSample::default()
    };
    sample.spec = CgroupSpec {
        cpu: Some(CpuSpec { shares: 1024, period_us: 100_000, quota_us: 0 }),
        memory: Some(MemorySpec {
            limit_bytes: 1 << 30,
            swap_limit_bytes: u64::MAX,
            reservation_bytes: 9_223_372_036_854_771_712,
        }),
    };
    let started_at = WallTime::from_unix_secs(1_650_000_000);
    let subject = Subject { started_at, ..subject("/kubepods/poduid/c1", labels) };
    Measured { subject, sample, cpu_nano_cores: None }
}

fn usage(measured: Vec<Measured>) -> Arc<UsageReading> {
    Arc::new(UsageReading { measured, ..UsageReading::default() })
}

fn text_of(usage: Arc<UsageReading>, layers: LayersReading) -> String {
    let readings = (usage, Arc::new(layers), Arc::default());
    let page = Page::new(MachineFacts::default(), VersionFacts::default(), readings);
    Arc::new(page).pieces().collect()
}

fn text(measured: Vec<Measured>) -> String {
    text_of(usage(measured), LayersReading::default())
}

/// The samples of a family, without the common labels.
fn samples(text: &str, name: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    lines.map(|line| line.rsplit_once('}').map_or(line, |(_, value)| value.trim()).to_owned()).collect()
}

#[test]
fn a_container_looks_as_upstreams() {
    let text = text(vec![web()]);
    let labels =
        "id=\"/kubepods/poduid/c1\",image=\"web:\\\"1\\\"\",name=\"c1\",namespace=\"default\",pod=\"web-0\"";
    let want = format!(
        "# HELP container_cpu_system_seconds_total Cumulative system cpu time consumed in seconds.
# TYPE container_cpu_system_seconds_total counter
container_cpu_system_seconds_total{{container=\"web\",{labels}}} 0 1700000000250
# HELP container_cpu_usage_seconds_total Cumulative cpu time consumed in seconds.
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{{container=\"web\",cpu=\"total\",{labels}}} 1.5 1700000000250
# HELP container_cpu_user_seconds_total Cumulative user cpu time consumed in seconds.
# TYPE container_cpu_user_seconds_total counter
container_cpu_user_seconds_total{{container=\"web\",{labels}}} 0.000000001 1700000000250
# HELP container_creation_time_seconds Container creation time since unix epoch in seconds.
# TYPE container_creation_time_seconds gauge
container_creation_time_seconds{{container=\"web\",{labels}}} 1600000000
# HELP container_last_seen Last time a container was seen by the exporter
# TYPE container_last_seen gauge
container_last_seen{{container=\"web\",{labels}}} 1700000000 1700000000250
"
    );
    assert!(text.contains(&want), "{text}");
    for (name, want) in [
        ("container_memory_usage_bytes", "100 1700000000250"),
        ("container_memory_working_set_bytes", "70 1700000000250"),
        ("container_spec_memory_limit_bytes", "1073741824"),
        ("container_spec_memory_swap_limit_bytes", "0"),
        ("container_spec_memory_reservation_limit_bytes", "0"),
        ("container_spec_cpu_shares", "1024"),
        ("container_start_time_seconds", "1650000000"),
        ("container_processes", "2 1700000000250"),
        ("container_threads", "3 1700000000250"),
        ("container_scrape_error", "container_scrape_error 0"),
    ] {
        assert_eq!(samples(&text, name), [want], "{name}");
    }
    assert_eq!(samples(&text, "container_memory_failures_total").len(), 4);
}

#[test]
fn what_was_not_measured_has_no_series_and_no_family() {
    let bare = Measured { sample: CgroupSample::default(), ..web() };
    let missing = vec!["default/web".to_owned()];
    let usage = UsageReading { measured: vec![bare], missing, ..UsageReading::default() };
    let bare = text_of(Arc::new(usage), LayersReading::default());
    let names =
        ["cpu_usage", "memory", "network", "fs", "processes", "threads", "pressure", "spec", "last_seen"];
    for name in names.map(|name| format!("container_{name}")) {
        assert!(!bare.contains(&name), "{name}\n{bare}");
    }
    assert!(bare.contains("container_scrape_error 1\n"));
    let unlimited = text(vec![web()]);
    assert!(!unlimited.contains("container_cpu_cfs") && !unlimited.contains("container_spec_cpu_quota"));

    let mut limited = web();
    limited.sample.spec.cpu = Some(CpuSpec { quota_us: 50_000, ..CpuSpec::default() });
    let limited = text(vec![limited]);
    assert_eq!(samples(&limited, "container_spec_cpu_quota"), ["50000"]);
    assert_eq!(samples(&limited, "container_cpu_cfs_periods_total"), ["0 1700000000250"]);
}

#[test]
fn interfaces_layers_and_pressure_have_their_labels() {
    let mut web = web();
    web.sample.interfaces = ["eth0", "net1"]
        .map(|name| InterfaceSample { name: name.into(), rx_bytes: 7, ..InterfaceSample::default() })
        .into();
    let some = PressureLine { total_micros: 2_500_000, ..PressureLine::default() };
    web.sample.pressure.io = Some(PressureSample { some, full: PressureLine::default() });
    let taken_at = WallTime::from_unix_secs(1_700_000_005);
    let layer = LayerUse { taken_at, mountpoint: "/layers".into(), bytes: Some(4096), inodes: None };
    let filesystem = FilesystemSample { device: "/dev/vda1".into(), ..FilesystemSample::default() };
    let layers = LayersReading {
        layers: [("c1".into(), layer)].into(),
        filesystems: [("/layers".into(), filesystem)].into(),
        problems: Vec::new(),
    };
    let text = text_of(usage(vec![web]), layers);
    assert_eq!(samples(&text, "container_network_receive_bytes_total").len(), 2);
    assert!(text.contains("image=\"web:\\\"1\\\"\",interface=\"net1\",name=\"c1\""), "{text}");
    assert!(text.contains("container=\"web\",device=\"/dev/vda1\",id="), "{text}");
    assert_eq!(samples(&text, "container_fs_usage_bytes"), ["4096 1700000005000"]);
    assert_eq!(samples(&text, "container_pressure_io_waiting_seconds_total"), ["2.5 1700000000250"]);
    assert_eq!(samples(&text, "container_pressure_cpu_waiting_seconds_total").len(), 0);
}

#[test]
fn the_root_has_the_limits_of_the_machine() {
    let machine: MachineFacts = serde_json::from_str(
        r#"{ "num_cores": 4, "num_physical_cores": 2, "num_sockets": 1, "memory_capacity": 1000, "swap_capacity": 10,
             "machine_id": "m", "system_uuid": "s", "boot_id": "b", "disk_map": {}, "vendor_id": "x",
             "nvm": { "memory_mode_capacity": 1, "app direct_mode_capacity": 2, "avg_power_budget": 3 } }"#,
    )
    .expect("reads the document of /spec/");
    let version = VersionFacts { kernel_version: "6.1.0".into(), os_version: "Debian".into() };
    let root = Measured { subject: subject("/", Labels::default()), ..web() };
    let mut roots = vec![root];
    limit_root(&mut roots, machine.memory_capacity, machine.swap_capacity);
    let page = Arc::new(Page::new(machine, version, (usage(roots), Arc::default(), Arc::default())));
    let text: String = page.pieces().collect();
    assert_eq!(samples(&text, "container_spec_memory_limit_bytes"), ["1000"]);
    assert_eq!(samples(&text, "container_spec_memory_swap_limit_bytes"), ["10"]);
    for want in [
        "container_last_seen{container=\"\",id=\"/\",image=\"\",name=\"\",namespace=\"\",pod=\"\"} 1700000000 1700000000250\n",
        "cadvisor_version_info{cadvisorRevision=\"\",cadvisorVersion=\"\",dockerVersion=\"\",kernelVersion=\"6.1.0\",osVersion=\"Debian\"} 1\n",
        "# TYPE machine_cpu_cores gauge\nmachine_cpu_cores{boot_id=\"b\",machine_id=\"m\",system_uuid=\"s\"} 4\n",
        "machine_cpu_physical_cores{boot_id=\"b\",machine_id=\"m\",system_uuid=\"s\"} 2\n",
        "machine_memory_bytes{boot_id=\"b\",machine_id=\"m\",system_uuid=\"s\"} 1000\n",
        "machine_nvm_capacity{boot_id=\"b\",machine_id=\"m\",mode=\"app_direct_mode\",system_uuid=\"s\"} 2\n",
        "machine_swap_bytes{boot_id=\"b\",machine_id=\"m\",system_uuid=\"s\"} 10\n",
        "machine_scrape_error 0\n",
    ] {
        assert!(text.contains(want), "{want} is missing in\n{text}");
    }
}

#[test]
fn every_family_stands_once_and_in_order() {
    let mut web = web();
    web.sample.interfaces = vec![InterfaceSample::default()];
    let text = text(vec![web.clone(), web]);
    let names: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(names.len() > 40 && names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
}

#[test]
fn disks_files_and_sockets_are_shown_where_they_were_read() {
    let disk = DiskSample {
        device: "/dev/vda".into(),
        major: 254,
        minor: 0,
        bytes: [("Read".to_owned(), 4096), ("Write".to_owned(), 8192), ("Total".to_owned(), 12288)].into(),
        operations: [("Read".to_owned(), 1), ("Write".to_owned(), 2)].into(),
    };
    let detail = |max_open_files| CgroupDetail {
        taken_at: WallTime::from_unix_secs(1_700_000_001),
        descriptors: Some(DescriptorSample { open: 9, sockets: 2 }),
        max_open_files,
        disks: vec![disk.clone()],
    };
    let machine = Measured {
        subject: subject("/", Labels::default()),
        sample: CgroupSample::default(),
        cpu_nano_cores: None,
    };
    let mounted =
        |device: &str, disk| MountedFilesystem { device: device.into(), mount_point: "/".into(), disk };
    let counters =
        DiskCounters { reads: 5, writes: 6, busy_ms: 1500, in_progress: 1, ..DiskCounters::default() };
    let sample =
        FilesystemSample { capacity_bytes: 100, used_bytes: 40, inodes: 7, ..FilesystemSample::default() };
    let details = DetailReading {
        cgroups: [
            (CgroupPath::from_cgroupfs("/"), detail(None)),
            (CgroupPath::from_cgroupfs("/kubepods/poduid/c1"), detail(Some(1024))),
        ]
        .into(),
        filesystems: vec![
            (mounted("/dev/vda1", Some(counters)), sample.clone()),
            (mounted("/run", None), sample),
        ],
        problems: Vec::new(),
    };
    let readings = (usage(vec![machine, web()]), Arc::default(), Arc::new(details));
    let page = Page::new(MachineFacts::default(), VersionFacts::default(), readings);
    let text: String = Arc::new(page).pieces().collect();
    let all = |name: &str| {
        let with_time = samples(&text, name).into_iter();
        let values =
            with_time.map(|value| value.strip_suffix(" 1700000001000").expect("its time").to_owned());
        values.collect::<Vec<_>>()
    };
    assert_eq!(all("container_file_descriptors"), ["9", "9"]);
    assert_eq!(all("container_sockets"), ["2", "2"]);
    assert_eq!(all("container_ulimits_soft"), ["1024"]);
    assert_eq!(all("container_fs_limit_bytes"), ["100", "100"]);
    assert_eq!(all("container_fs_usage_bytes"), ["40", "40"]);
    assert_eq!(all("container_fs_writes_bytes_total"), ["8192", "8192"]);
    let reads = all("container_fs_reads_total");
    assert_eq!(reads, ["1", "5", "0", "1"], "the root has its own disks and those of its file systems");
    assert_eq!(all("container_fs_io_time_seconds_total"), ["1.5", "0"]);
    assert_eq!(all("container_blkio_device_usage_total").len(), 6);
    let of_container = text.lines().find(|line| {
        line.starts_with("container_blkio") && line.contains("id=\"/kubepods") && line.contains("Total")
    });
    let line = of_container.expect("one line");
    assert!(line.contains("device=\"/dev/vda\"") && line.contains("major=\"254\",minor=\"0\""), "{line}");
}
