//! Carries out the operations of pods: what the machine decided and the planners laid out, step by step, through the ports.
//!
//! One [`Executor`] serves all pods; each operation is one task with its own [`OpInput`] and ends with one [`OpReport`].
//! Operations share only what pulls images and the ID blocks of user namespaces. Every step can be repeated: an operation
//! that was cut short by a crash is simply done again from what the runtime shows.

mod certificates;
mod classes;
mod containers;
mod context;
mod hooks;
mod image_volumes;
mod images;
mod references;
mod release;
mod resize;
mod sync;
mod terminate;
mod user_namespaces;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use core_certificates::pod::{PodCertificate, PodCertificateAsk};
use core_cm::{ClassRequests, PodResources};
use core_pods::worker::{Operation, Outcome, Touched};
use core_references::TokenAsk;
use core_runtime::backoff::{Backoff, CrashBackoff};
use core_runtime::plan::FailedProbe;
use core_status::Waiting;
use core_types::runtime::CgroupDriver;
use core_types::view::Problem;
use core_types::{ContainerId, ObservedPod, PodKey, PodUid, Quantity};
use ports::Cgroups;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::collections::Collections;
use crate::images::Images;
use crate::note::Notes;
use crate::objects::Objects;
use crate::outside::{CgroupBase, Outside};
use crate::runtime_watch::RuntimeUp;
use crate::settings::Settings;
use crate::turns::Turns;

use classes::Classes;
use context::Op;
use references::KnownToken;
use user_namespaces::UserIds;

/// What is remembered of a pod between its operations: its back-offs. It travels with the operation, so it has one owner.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodMemory {
    /// Made from the settings at the first sync.
    crash: Option<CrashBackoff>,
    pull: Option<Backoff>,
    /// Tokens that its volumes show.
    tokens: BTreeMap<TokenAsk, KnownToken>,
    /// Certificates that its volumes show.
    certificates: BTreeMap<PodCertificateAsk, PodCertificate>,
}

/// What probes say to the plan of a pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProbeFacts {
    /// Running containers whose startup probe has not succeeded.
    pub(crate) unstarted: BTreeSet<ContainerId>,
    /// Containers that must be restarted.
    pub(crate) failed: BTreeMap<ContainerId, FailedProbe>,
}

/// Everything an operation starts from.
pub(crate) struct OpInput {
    pub(crate) uid: PodUid,
    pub(crate) key: PodKey,
    pub(crate) operation: Operation,
    pub(crate) observed: Option<Arc<ObservedPod>>,
    pub(crate) probes: ProbeFacts,
    pub(crate) memory: PodMemory,
    /// What of its resources is in force; `None` before the first sync.
    pub(crate) actuated: Option<PodResources>,
    pub(crate) runtime: RuntimeUp,
    pub(crate) notes: Notes,
    pub(crate) cancel: CancellationToken,
}

/// How an operation ended.
pub(crate) struct OpReport {
    pub(crate) outcome: Outcome,
    pub(crate) memory: PodMemory,
    /// Why containers do not start, by name.
    pub(crate) waiting: BTreeMap<String, Waiting>,
    /// What went wrong last.
    pub(crate) problem: Option<Problem>,
}

/// What an executor works with besides the outside.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) images: Images,
    /// Secrets and ConfigMaps; `None` without an API server.
    pub(crate) objects: Option<Objects>,
    /// Services and runtime classes; `None` without an API server.
    pub(crate) collections: Option<Collections>,
    /// What the pods that count for the QoS cgroups request.
    pub(crate) requests: watch::Receiver<ClassRequests>,
    /// Turns to bring pods up.
    pub(crate) turns: Turns,
}

/// The place of the executor, which cannot be made before the runtime was seen.
pub(crate) struct ExecutorPlace {
    means: Means,
    made: Option<Arc<Executor>>,
}

impl ExecutorPlace {
    pub(crate) fn new(means: Means) -> Self {
        Self { means, made: None }
    }

    /// The executor, once there is one.
    pub(crate) fn get(&self) -> Option<&Arc<Executor>> {
        self.made.as_ref()
    }

    /// Makes the executor for a runtime that is up, unless there is one.
    pub(crate) fn fill(&mut self, outside: &Outside, settings: &Arc<Settings>, runtime: &RuntimeUp) {
        if self.made.is_none() {
            match Executor::new(outside.clone(), Arc::clone(settings), self.means.clone(), runtime) {
                Ok(executor) => self.made = Some(Arc::new(executor)),
                Err(error) => tracing::error!("{error}; no pod can be started"),
            }
        }
    }
}

/// The executor.
pub(crate) struct Executor {
    outside: Outside,
    settings: Arc<Settings>,
    cgroups: Option<Arc<dyn Cgroups>>,
    driver: CgroupDriver,
    images: Images,
    user_ids: UserIds,
    turns: Turns,
    classes: Classes,
    /// Secrets and ConfigMaps; `None` without an API server.
    objects: Option<Objects>,
    /// Services and runtime classes; `None` without an API server.
    collections: Option<Collections>,
    /// What the node can give to pods, as the downward API reads it.
    allocatable: BTreeMap<String, Quantity>,
}

impl Executor {
    /// An executor for a runtime that is up.
    ///
    /// # Errors
    /// The cgroup driver cannot be used on this node.
    fn new(
        outside: Outside,
        settings: Arc<Settings>,
        means: Means,
        runtime: &RuntimeUp,
    ) -> Result<Self, String> {
        let Means { images, objects, collections, requests, turns } = means;
        let driver = runtime.cgroup_driver.unwrap_or(settings.runtime.cgroup_driver);
        let cgroups = match settings.runtime.cgroups_per_qos {
            true => Some((outside.cgroups)(driver, CgroupBase::Pods)?),
            false => None,
        };
        let allocatable = volumes::allocatable_quantities(&settings.allocatable);
        let user_ids = UserIds::new(settings.runtime.user_ids);
        Ok(Self {
            outside,
            settings,
            cgroups,
            driver,
            images,
            user_ids,
            turns,
            classes: Classes::new(requests),
            objects,
            collections,
            allocatable,
        })
    }

    /// The cgroup tree; `None` when `cgroupsPerQOS` is off.
    pub(crate) fn cgroups(&self) -> Option<&Arc<dyn Cgroups>> {
        self.cgroups.as_ref()
    }

    /// Carries out one operation to its end.
    pub(crate) async fn perform(&self, input: OpInput) -> OpReport {
        let (mut op, operation) = Op::new(input);
        if !matches!(operation, Operation::Sync { .. } | Operation::Release) {
            op.touched = Touched::Runtime;
        }
        let result = match operation {
            Operation::Sync { pod } => self.sync(&mut op, &pod).await,
            Operation::Terminate { pod, grace_secs } => {
                self.terminate(&mut op, pod.as_deref(), grace_secs).await
            }
            Operation::Release => self.release(&op).await,
            Operation::Erase => self.erase(&op).await,
        };
        op.report(result)
    }
}
