//! The fakes of the node keep the contracts of the ports that they stand in for.

use std::sync::Arc;

use sim::clock::SimClock;
use sim::faults::Faults;
use sim::host::{
    FakeCgroups, FakeCheckpoints, FakeFiles, FakeJournal, FakeLogFiles, FakePullRecords, FakeSealed,
};

#[tokio::test]
async fn fake_checkpoints_keep_the_contract() {
    let faults = Arc::new(Faults::new(1, 0));
    ports::contract::checkpoints(&FakeCheckpoints::new(faults)).await;
}

#[tokio::test]
async fn the_fake_journal_keeps_the_contract() {
    ports::contract::event_journal(&FakeJournal::new(Arc::new(Faults::new(1, 0)))).await;
}

#[tokio::test]
async fn fake_pull_records_keep_the_contract() {
    let faults = Arc::new(Faults::new(1, 0));
    ports::contract::pull_records(&FakePullRecords::new(faults)).await;
}

#[tokio::test]
async fn the_fake_sealed_file_keeps_the_contract() {
    ports::contract::sealed_file(&FakeSealed::new(Arc::new(Faults::new(1, 0)))).await;
}

#[tokio::test]
async fn fake_cgroups_keep_the_contract() {
    ports::contract::cgroups(&FakeCgroups::default()).await;
}

#[tokio::test]
async fn fake_pod_files_keep_the_contract() {
    let log_files = Arc::new(FakeLogFiles::new(Arc::new(SimClock::new())));
    let files = FakeFiles::new(Arc::new(Faults::new(0, 0)), Box::new(|_| ()), log_files);
    ports::contract::pod_files(&files).await;
}

#[tokio::test(start_paused = true)]
async fn fake_log_files_keep_the_contract() {
    let files = FakeLogFiles::new(Arc::new(SimClock::new()));
    let log = "/var/log/pods/ns_pod_uid/main/0.log";
    files.start(log, sim::host::WRITTEN_BYTES);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    ports::contract::container_log_files(&files, log).await;
}
