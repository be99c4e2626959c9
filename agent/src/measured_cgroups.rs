//! The cgroup port with its times counted (CONTRACT 5.15).

use std::sync::Arc;

use async_trait::async_trait;
use core_cm::cgroup::{CgroupLimits, CgroupPath, CgroupValues};
use core_metrics::{DEFAULT_BUCKETS, Desc, Histogram, Registry};
use core_types::PodUid;
use core_types::runtime::CgroupDriver;
use ports::{CgroupError, Cgroups, Clock};

use crate::outside::{CgroupBase, CgroupsMaker};

/// Cgroups, measured. What is made and what is changed go through one call, so both count as an update.
struct MeasuredCgroups {
    inner: Arc<dyn Cgroups>,
    clock: Arc<dyn Clock>,
    duration: Histogram,
}

/// Makes measured cgroups.
pub(crate) fn measured(maker: CgroupsMaker, clock: Arc<dyn Clock>, registry: &Registry) -> CgroupsMaker {
    let duration = registry.histogram(
        Desc {
            name: "kubelet_cgroup_manager_duration_seconds",
            help: "[ALPHA] Duration in seconds for cgroup manager operations. Broken down by method.",
            labels: &["operation_type"],
        },
        DEFAULT_BUCKETS,
    );
    Arc::new(move |driver: CgroupDriver, base: CgroupBase| {
        let inner = maker(driver, base)?;
        let (clock, duration) = (Arc::clone(&clock), duration.clone());
        Ok(Arc::new(MeasuredCgroups { inner, clock, duration }) as Arc<dyn Cgroups>)
    })
}

impl MeasuredCgroups {
    async fn timed<T>(&self, operation: &str, call: impl Future<Output = T>) -> T {
        let began = self.clock.now();
        let result = call.await;
        self.duration.observe(&[operation], self.clock.now().since(began).as_secs_f64());
        result
    }
}

#[async_trait]
impl Cgroups for MeasuredCgroups {
    async fn ensure(&self, path: &CgroupPath, values: &CgroupValues) -> Result<(), CgroupError> {
        self.timed("update", self.inner.ensure(path, values)).await
    }

    async fn exists(&self, path: &CgroupPath) -> Result<bool, CgroupError> {
        self.inner.exists(path).await
    }

    async fn limits(&self, path: &CgroupPath) -> Result<CgroupLimits, CgroupError> {
        self.inner.limits(path).await
    }

    async fn memory_usage_bytes(&self, path: &CgroupPath) -> Result<u64, CgroupError> {
        self.inner.memory_usage_bytes(path).await
    }

    async fn destroy(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        self.timed("destroy", self.inner.destroy(path)).await
    }

    async fn list_pods(&self) -> Result<Vec<(PodUid, CgroupPath)>, CgroupError> {
        self.inner.list_pods().await
    }
}
