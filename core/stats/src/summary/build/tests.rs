//! What a reading becomes.

use serde_json::{Value, json};

use super::*;
use crate::filesystem::{Coverage, PodFilesUse, VolumeUse};
use crate::readings::tests::measured;
use crate::readings::{LayerUse, MachineTasks, limit_root};
use crate::sample::{CpuSample, MemorySample, MemorySpec, ProcessSample};
use crate::subjects::Labels;

const AT: WallTime = WallTime::from_unix_secs(1_800_000_000);
const TIME: &str = "2027-01-15T08:00:00Z";

fn part(whose: Whose, name: &str) -> Measured {
    let mut one = measured("/x");
    one.subject.whose = whose;
    one.subject.labels = Labels {
        container: name.to_owned(),
        pod: "web".into(),
        namespace: "shop".into(),
        ..Labels::default()
    };
    one.subject.created_at = AT;
    one.sample.taken_at = AT;
    one.sample.cpu = Some(CpuSample { usage_nanos: 5, ..CpuSample::default() });
    one.sample.memory = Some(MemorySample {
        usage_bytes: 100,
        inactive_file_bytes: 30,
        rss_bytes: 60,
        page_faults: 7,
        ..MemorySample::default()
    });
    let no_limit = 9_223_372_036_854_771_712;
    let spec = MemorySpec { limit_bytes: no_limit, swap_limit_bytes: no_limit, reservation_bytes: 0 };
    one.sample.spec.memory = Some(spec);
    one.sample.processes = Some(ProcessSample { processes: 2, ..ProcessSample::default() });
    one
}

pub(crate) fn usage() -> UsageReading {
    let uid = || PodUid::from("u1");
    let mut sandbox = part(Whose::Sandbox(uid()), "");
    sandbox.sample.interfaces =
        vec![InterfaceSample { name: "eth0".into(), rx_bytes: 1, tx_bytes: 2, ..InterfaceSample::default() }];
    let mut main = part(Whose::Container(uid()), "main");
    main.cpu_nano_cores = Some(250);
    main.sample.spec.memory = Some(MemorySpec { limit_bytes: 170, ..MemorySpec::default() });
    let line = PressureLine { total_micros: 9, avg10: 0.5, avg60: 0.25, avg300: 0.0 };
    main.sample.pressure.io = Some(PressureSample { some: line, full: PressureLine::default() });
    let mut all = vec![
        part(Whose::Machine, ""),
        part(Whose::AllPods, ""),
        part(Whose::Daemons(SystemContainer::Kubelet), ""),
        part(Whose::Pod(uid()), ""),
        sandbox,
        main,
        part(Whose::Pod("idle".into()), ""),
    ];
    limit_root(&mut all, 1000, 0);
    UsageReading {
        measured: all,
        tasks: Some(MachineTasks { taken_at: AT, max: 100, current: 3 }),
        hugepage_bytes: 200,
        ..UsageReading::default()
    }
}

pub(crate) fn facts() -> SummaryFacts {
    SummaryFacts { node_name: "node-1".into(), booted_at: AT, started_at: AT }
}

fn json_of(summary: &Summary) -> Value {
    serde_json::to_value(summary).unwrap()
}

#[test]
fn processor_and_memory_have_upstreams_names() {
    let found = json_of(&cpu_and_memory(&facts(), &usage()));
    let cpu = json!({ "time": TIME, "usageCoreNanoSeconds": 5 });
    let memory = json!({
        "time": TIME, "usageBytes": 100, "workingSetBytes": 70, "rssBytes": 60, "pageFaults": 7, "majorPageFaults": 0,
    });
    let swap = json!({ "time": TIME, "swapUsageBytes": 0 });
    let with = |object: &Value, name: &str, value: u64| {
        let mut object = object.clone();
        object[name] = value.into();
        object
    };
    assert_eq!(found["node"]["nodeName"], "node-1");
    assert_eq!(found["node"]["memory"], with(&memory, "availableBytes", 730), "huge pages are not available");
    assert_eq!(found["node"]["swap"], with(&swap, "swapAvailableBytes", 0));
    let named =
        |name: &str| json!({ "name": name, "startTime": TIME, "cpu": cpu, "memory": memory, "swap": swap });
    assert_eq!(found["node"]["systemContainers"], json!([named("kubelet"), named("pods")]));
    let main = json!({
        "name": "main", "startTime": TIME,
        "cpu": with(&cpu, "usageNanoCores", 250),
        "memory": with(&memory, "availableBytes", 100),
        "swap": with(&swap, "swapAvailableBytes", 0),
    });
    let pod = json!({
        "podRef": { "name": "web", "namespace": "shop", "uid": "u1" },
        "startTime": TIME, "containers": [main], "cpu": cpu, "memory": memory, "swap": swap,
    });
    assert_eq!(found["pods"], json!([pod]), "a pod of which nothing runs is not shown");
}

#[test]
fn the_whole_has_storage_network_stalls_and_counts() {
    let fs = FilesystemSample {
        taken_at: AT,
        capacity_bytes: 1000,
        available_bytes: 400,
        used_bytes: 500,
        inodes: 10,
        inodes_free: 4,
        ..FilesystemSample::default()
    };
    let used = |bytes| DiskUse { bytes, inodes: 1 };
    let layer = LayerUse { taken_at: AT, mountpoint: "/l".into(), bytes: Some(8), inodes: Some(2) };
    let files = PodFilesUse {
        taken_at: AT,
        container_logs: [("main".to_owned(), used(16))].into(),
        ..PodFilesUse::default()
    };
    let volume =
        VolumeUse { taken_at: AT, used: used(32), coverage: Coverage::Whole, filesystem: fs.clone() };
    let pod = PodStorage {
        layers: [("main".to_owned(), layer)].into(),
        files: Some(files),
        volumes: [("data".to_owned(), volume)].into(),
        local_volumes: vec!["data".into()],
    };
    let images = RuntimeFilesystem { taken_at: AT, used: used(64), filesystem: Some(fs.clone()) };
    let storage = StorageReading {
        node: Some(fs.clone()),
        images: Some(images.clone()),
        containers: Some(images),
        pods: [("u1".into(), pod)].into(),
        ..StorageReading::default()
    };
    let layers = LayersReading { filesystems: [("/l".to_owned(), fs)].into(), ..LayersReading::default() };
    let found = json_of(&whole(&facts(), &usage(), &storage, &layers));
    let on = |bytes: u64, inodes: u64| {
        json!({
            "time": TIME, "availableBytes": 400, "capacityBytes": 1000, "usedBytes": bytes,
            "inodesFree": 4, "inodes": 10, "inodesUsed": inodes,
        })
    };
    assert_eq!(found["node"]["fs"], on(500, 6));
    assert_eq!(found["node"]["startTime"], TIME);
    assert_eq!(found["node"]["runtime"], json!({ "imageFs": on(64, 1), "containerFs": on(64, 1) }));
    assert_eq!(found["node"]["rlimit"], json!({ "time": TIME, "maxpid": 100, "curproc": 3 }));
    assert_eq!(found["node"]["network"], Value::Null);
    let pod = &found["pods"][0];
    let eth0 = json!({ "name": "eth0", "rxBytes": 1, "rxErrors": 0, "txBytes": 2, "txErrors": 0 });
    let mut network = eth0.clone();
    network["time"] = TIME.into();
    network["interfaces"] = json!([eth0]);
    assert_eq!(pod["network"], network);
    assert_eq!(pod["process_stats"], json!({ "process_count": 4 }));
    let mut volume = on(32, 1);
    volume["name"] = "data".into();
    assert_eq!(pod["volume"], json!([volume]));
    assert_eq!(pod["ephemeral-storage"], on(56, 4));
    let main = &pod["containers"][0];
    assert_eq!((&main["rootfs"], &main["logs"]), (&on(8, 2), &on(16, 1)));
    let none = json!({ "total": 0, "avg10": 0.0, "avg60": 0.0, "avg300": 0.0 });
    let some = json!({ "total": 9, "avg10": 0.5, "avg60": 0.25, "avg300": 0.0 });
    assert_eq!(main["io"], json!({ "time": TIME, "psi": { "full": none, "some": some } }));
}
