//! The fakes of the node keep the contracts of the ports that they stand in for.

use std::sync::Arc;

use sim::faults::Faults;
use sim::host::{FakeCgroups, FakeFiles};

#[tokio::test]
async fn fake_cgroups_keep_the_contract() {
    ports::contract::cgroups(&FakeCgroups::default()).await;
}

#[tokio::test]
async fn fake_pod_files_keep_the_contract() {
    ports::contract::pod_files(&FakeFiles::new(Arc::new(Faults::new(0, 0)), Box::new(|_| ()))).await;
}
