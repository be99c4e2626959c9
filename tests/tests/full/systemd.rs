//! The adapter of systemd's units on a real D-Bus. What the real systemd makes of them is seen in a guest machine
//! (`tests/tests/guest/systemd.rs`).

use std::sync::Arc;

use core_cm::{CgroupPath, CgroupValues, CgroupVersion};
use core_types::{PodUid, QosClass};
use io_systemd::{Bus, SystemdCgroups};
use ports::Cgroups as _;
use sim::host::FakeCgroups;
use tests::systemd::Units;

#[test]
fn slices_are_made_changed_and_stopped_with_their_limits() {
    let dir = tempfile::tempdir().unwrap();
    let mut bus = lab::Bus::start(dir.path()).unwrap();
    let mut units = Units::start(&bus);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let files = Arc::new(FakeCgroups::default());
    let cgroups = SystemdCgroups::new(Bus::At(bus.address()), "/", CgroupVersion::V2, files.clone());
    runtime.block_on(ports::contract::cgroups(&cgroups));

    let pod = CgroupPath::pod(QosClass::Burstable, &PodUid::from("a-1"));
    let name = "kubepods-burstable-poda_1.slice";
    let ensure = |memory: i64| {
        let values = CgroupValues { memory_limit_bytes: Some(memory), ..CgroupValues::default() };
        runtime.block_on(cgroups.ensure(&pod, &values))
    };
    ensure(4096).unwrap();
    let unit = units.unit(name).unwrap();
    assert_eq!(unit["Wants"], "kubepods-burstable.slice");
    assert_eq!((&*unit["DefaultDependencies"], &*unit["CPUAccounting"]), ("false", "true"));
    assert_eq!(unit["MemoryMax"], "4096");
    ensure(-1).unwrap();
    assert_eq!(units.unit(name).unwrap()["MemoryMax"], u64::MAX.to_string());

    // The cgroup went behind systemd's back: the unit that is there is used on.
    runtime.block_on(files.destroy(&pod)).unwrap();
    ensure(8192).unwrap();
    assert_eq!(units.unit(name).unwrap()["MemoryMax"], "8192");
    assert!(runtime.block_on(files.exists(&pod)).unwrap());

    bus.restart().unwrap();
    units.connect();
    let first = ensure(1);
    assert!(first.is_ok() || ensure(1).is_ok(), "it connects anew: {first:?}");
    assert_eq!(units.unit(name).unwrap()["MemoryMax"], "1");

    units.jobs_end("failed");
    let error = runtime.block_on(cgroups.destroy(&pod)).unwrap_err().to_string();
    assert!(error.contains(name) && error.contains("\"failed\""), "{error}");
    units.jobs_end("done");
    runtime.block_on(cgroups.destroy(&pod)).expect("what is gone already is no error");
    assert_eq!(units.unit(name), None);
    drop(bus);
    let error = ensure(1).unwrap_err().to_string();
    assert!(error.contains("kubepods/burstable/poda-1") && error.contains("is tried again"), "{error}");
}
