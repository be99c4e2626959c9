//! The cluster that all kubelets are measured on, and the time that one of them runs in it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use core_metrics::Registry;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use io_api::{ApiClient, ClientOptions, Follower, Kubeconfig, ObjectPath, Patch, Rate, Selector};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use lab::{Cluster, agent::Make};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{book::Book, counters, usage};

/// How long anything may take; what takes longer is an error and no figure.
pub(crate) const LIMIT: Duration = Duration::from_secs(600);
/// Requests to create or delete pods that are under way at once.
const REQUESTS: usize = 20;
/// Where pods are told to look names up; nobody answers there, and nobody asks.
pub(crate) const CLUSTER_DNS: &str = "10.96.0.10";
/// How long a kubelet may take to end in order.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A kubelet that is measured.
#[derive(Debug)]
pub(crate) struct Contender {
    /// Its name in the report.
    pub(crate) name: &'static str,
    /// Whose it is.
    pub(crate) make: Make,
    /// The program.
    pub(crate) program: PathBuf,
}

/// The cluster and a client of its API server.
pub(crate) struct Rig {
    pub(crate) cluster: Cluster,
    pub(crate) book: Arc<Book>,
    api: ApiClient,
    reactor: Runtime,
}

impl Rig {
    /// Starts following the pods.
    pub(crate) fn new(cluster: Cluster) -> Result<Self> {
        let reactor = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let kubeconfig = Kubeconfig::load(cluster.plane().admin_kubeconfig())?;
        let options = ClientOptions { user_agent: "bench".to_owned(), rate: Rate::Unlimited, timeout: LIMIT };
        let api = ApiClient::new(kubeconfig.server, kubeconfig.credentials, options, &Registry::new());
        let book = Arc::new(Book::default());
        let pods =
            Follower::<Pod>::new(api.clone(), ObjectPath::collection::<Pod>("default"), Selector::default());
        let events = stream::unfold(pods, |mut pods| async move { Some((pods.next().await, pods)) });
        reactor.spawn(Arc::clone(&book).follow(Box::pin(events)));
        Ok(Self { cluster, book, api, reactor })
    }

    /// Waits for `work`.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.reactor.block_on(work)
    }

    /// Removes everything.
    pub(crate) fn close(self) -> Result<()> {
        drop(self.reactor);
        self.cluster.close()
    }
}

/// What has been spent so far, since the kubelet's start or that of the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) kubelet: Duration,
    pub(crate) containerd: Duration,
    pub(crate) api_server: Duration,
    pub(crate) waits: u64,
    pub(crate) cri_calls: f64,
    pub(crate) api_requests: f64,
}

/// The time that one kubelet runs.
pub(crate) struct Session<'a> {
    pub(crate) rig: &'a mut Rig,
    pub(crate) program: PathBuf,
}

impl<'a> Session<'a> {
    /// Puts the kubelet into the cluster, starts it and waits until its node is ready.
    pub(crate) fn begin(rig: &'a mut Rig, contender: &Contender) -> Result<Self> {
        rig.cluster.replace_agent(contender.make, contender.program.clone())?;
        let config = &mut rig.cluster.agent.config;
        // Every kubelet at its best: parallel pulls and no limit of requests of its own.
        for (field, value) in [
            ("serializeImagePulls", json!(false)),
            ("registryPullQPS", json!(0)),
            ("kubeAPIQPS", json!(1000)),
            ("kubeAPIBurst", json!(2000)),
            ("eventRecordQPS", json!(0)),
            ("maxPods", json!(1100)),
            // As every cluster has one: without it each pod brings a warning.
            ("clusterDNS", json!([CLUSTER_DNS])),
            // A machine whose disk is nearly full must not make the figures those of evictions.
            ("evictionHard", json!({ "memory.available": "100Mi" })),
            ("imageGCHighThresholdPercent", json!(100)),
        ] {
            config[field] = value;
        }
        let session = Self { rig, program: contender.program.clone() };
        session.rig.cluster.agent.start()?;
        session.rig.cluster.wait_node("Ready=True", LIMIT)?;
        Ok(session)
    }

    /// Ends the kubelet.
    pub(crate) fn end(self) -> Result<()> {
        self.rig.cluster.agent.stop(STOP_LIMIT).map(drop)
    }

    /// The kubelet's process ID.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.rig.cluster.agent.pid().context("the kubelet does not run")
    }

    /// What has been spent so far.
    pub(crate) fn spent(&self) -> Result<Spent> {
        let cluster = &self.rig.cluster;
        let containerd = cluster.instance().containerd().pid().context("containerd does not run")?;
        let api_server = cluster.plane().api_server_pid().context("the API server does not run")?;
        let page = cluster.metrics()?;
        Ok(Spent {
            kubelet: usage::cpu(self.pid()?)?,
            containerd: usage::cpu(containerd)?,
            api_server: usage::cpu(api_server)?,
            waits: usage::threads_and_waits(self.pid()?)?.1,
            cri_calls: counters::sum(&page, "kubelet_runtime_operations_total"),
            api_requests: counters::sum(&page, "rest_client_requests_total"),
        })
    }

    /// How often a pod has been synced since the kubelet's start, all pods together.
    pub(crate) fn synced(&self) -> Result<f64> {
        let page = self.rig.cluster.metrics()?;
        Ok(counters::sum(&page, "kubelet_pod_worker_duration_seconds_count"))
    }

    /// Creates the pods, many at once; they are on the node already, so no scheduler is measured.
    pub(crate) fn create(&self, names: &[String], spec: &Value) -> Result<()> {
        let path = &ObjectPath::collection::<Pod>("default");
        let mut spec = spec.clone();
        spec["nodeName"] = json!(lab::cluster::NODE);
        let pods: Vec<Value> = names
            .iter()
            .map(|name| json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec }))
            .collect();
        self.rig.wait(
            stream::iter(names.iter().zip(&pods))
                .map(|(name, pod)| async move {
                    self.rig.book.expect(name);
                    self.rig.api.create::<_, Pod>(path, pod).await.map(drop)
                })
                .buffer_unordered(REQUESTS)
                .try_collect::<()>(),
        )?;
        Ok(())
    }

    /// Asks for the end of the pods with this grace, many at once.
    pub(crate) fn delete(&self, names: &[String], grace_secs: i64) -> Result<()> {
        let options = &DeleteOptions { grace_period_seconds: Some(grace_secs), ..DeleteOptions::default() };
        self.rig.wait(
            stream::iter(names)
                .map(|name| async move {
                    let path = ObjectPath::namespaced::<Pod>("default", name);
                    self.rig.api.delete(&path, options).await
                })
                .buffer_unordered(REQUESTS)
                .try_collect::<()>(),
        )?;
        Ok(())
    }

    /// Asks for another CPU limit of a pod's container `main`.
    pub(crate) fn resize(&self, name: &str, cpu: &str) -> Result<()> {
        let resources = json!({ "limits": { "cpu": cpu } });
        let change = json!({ "spec": { "containers": [{ "name": "main", "resources": resources }] } });
        let path = ObjectPath::namespaced::<Pod>("default", name).subresource("resize");
        self.rig.wait(self.rig.api.patch::<Pod>(&path, Patch::StrategicMerge(&change)))?;
        Ok(())
    }

    /// Waits until all these pods are ready.
    pub(crate) fn until_ready(&self, names: &[String]) -> Result<()> {
        self.until("all pods to be ready", |book| {
            names.iter().all(|name| book.get(name).is_some_and(|life| life.is_ready)).then_some(())
        })
    }

    /// Waits until none of these pods is there.
    pub(crate) fn until_gone(&self, names: &[String]) -> Result<()> {
        self.until("all pods to be gone", |book| {
            names.iter().all(|name| book.get(name).is_some_and(|life| life.gone_at.is_some())).then_some(())
        })
    }

    /// Waits until the watcher has seen something.
    pub(crate) fn until<T>(&self, what: &str, holds: impl Fn(&crate::book::Lives) -> Option<T>) -> Result<T> {
        self.rig.wait(self.rig.book.until(what, LIMIT, holds))
    }
}
