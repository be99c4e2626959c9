//! Creates sandboxes and containers (CONTRACT 3.9, 3.10).

use std::collections::BTreeMap;
use std::path::PathBuf;

use core_cm::cgroup::CgroupPath;
use core_images::pull::PullPolicy;
use core_pods::admission::unsupported_groups_policy;
use core_runtime::config::{ContainerInput, SandboxInput, container_config, sandbox_config};
use core_runtime::dns::{DnsSettings, pod_dns};
use core_runtime::env::{EnvError, EnvSources, environment};
use core_runtime::env_files::{self, EnvFile, EnvFileError, EnvFiles, MAX_ENV_FILE_BYTES};
use core_runtime::hostname::{PodHostname, kernel_hostname, pod_hostname};
use core_runtime::hosts::{host_network_hosts, pod_hosts};
use core_runtime::plan::RestartCount;
use core_runtime::runtime_class::RuntimeHandler;
use core_runtime::security::{ImageUser, JoinedProcesses, NodeSecurity, container_security};
use core_runtime::service_links::{Services, service_variables};
use core_runtime::user_namespaces::PodUsers;
use core_runtime::{RuntimeEventText, WaitingReason};
use core_types::api::{Container, Pod};
use core_types::downward::PodFacts;
use core_types::runtime::{ContainerConfig, KeyValue, SandboxConfig};
use core_types::{ContainerId, ContainerKind, ContainerRef, EnvFileRefs, ObservedPod, PodExt, SandboxId};
use ports::pod_files::LogLink;

use super::Executor;
use super::context::{Op, StepError, StepResult};
use super::image_volumes::VolumePlaces;
use super::images::{ImageError, ImageWish, ReadyImage};
use crate::events::Happening;
use crate::resolv_conf::{self, MAX_HOST_FILE_BYTES};

/// What the containers of one pod share while they are made.
pub(crate) struct PodSetup<'a> {
    pod: &'a Pod,
    volumes: VolumePlaces,
    sandbox: Option<SandboxId>,
    /// The runtime handler of the sandbox, whatever became of the pod's class since; empty for the default.
    handler: String,
    attempt: u32,
    /// Made once, when first needed.
    sandbox_config: Option<SandboxConfig>,
    ips: Vec<String>,
}

impl<'a> PodSetup<'a> {
    /// The setup as the runtime shows it.
    pub(crate) fn new(pod: &'a Pod, volumes: BTreeMap<String, PathBuf>, observed: &ObservedPod) -> Self {
        let latest = observed.latest_sandbox();
        Self {
            pod,
            volumes: VolumePlaces::new(volumes),
            sandbox: latest.map(|sandbox| sandbox.id().clone()),
            handler: latest.map(|sandbox| sandbox.0.summary.runtime_handler.clone()).unwrap_or_default(),
            attempt: latest.map_or(0, |sandbox| sandbox.0.summary.attempt),
            sandbox_config: None,
            ips: observed.ips.clone(),
        }
    }

    /// The user namespace that the sandbox was configured with.
    fn users(&self) -> PodUsers {
        let config = self.sandbox_config.as_ref();
        let own = config.and_then(|config| config.linux.security.namespaces.user_namespace.clone());
        own.map_or(PodUsers::OfHost, PodUsers::Own)
    }
}

/// Why a container was not started, and which reason it waits with.
struct StartFailure {
    reason: WaitingReason,
    message: String,
}

impl StartFailure {
    fn config(error: impl ToString) -> Self {
        Self { reason: WaitingReason::CreateContainerConfigError, message: error.to_string() }
    }

    fn create(error: impl ToString) -> Self {
        Self { reason: WaitingReason::CreateContainerError, message: error.to_string() }
    }
}

/// Whose processes a container is to see, as the picture shows them.
fn joined_processes<'a>(op: &'a Op, pod: &Pod, name: &str) -> Result<JoinedProcesses<'a>, StartFailure> {
    let Some(target) = pod.ephemeral_target(name) else { return Ok(JoinedProcesses::None) };
    let found = op.observed.latest(target).map(|target| JoinedProcesses::Of(target.id()));
    found.ok_or_else(|| StartFailure::config(format!("unable to find target container {target}")))
}

impl Executor {
    /// Creates a sandbox and learns its addresses.
    pub(super) async fn create_sandbox(
        &self,
        op: &Op,
        setup: &mut PodSetup<'_>,
        attempt: u32,
    ) -> StepResult<()> {
        op.notes.doing("", "creating the sandbox").await;
        op.notes.metrics.pod_starts();
        setup.attempt = attempt;
        setup.sandbox = None;
        setup.sandbox_config = None;
        let failed = |message: String| StepError::failed("FailedCreatePodSandBox", message);
        let result = async {
            // When the pod was admitted, the runtime may not have been heard yet.
            let strict_groups = op.runtime.strict_groups();
            let spec = setup.pod.spec_ref();
            if let Some(message) = spec.and_then(|spec| unsupported_groups_policy(spec, strict_groups)) {
                return Err(message);
            }
            let handler = self.runtime_handler(setup.pod).await?;
            handler.as_str().clone_into(&mut setup.handler);
            let config = self.sandbox_config(op, setup).await?;
            if let RuntimeHandler::DefaultInsteadOf { class } = &handler {
                let message = format!(
                    "runtimeClassName {class:?} has no effect without an API server: the pod runs with the runtime's \
                     default handler"
                );
                op.happened(Happening::warning("RuntimeClassIgnored", message)).await;
            }
            let created = self.outside.runtime.run_sandbox(&config, handler.as_str()).await;
            created.map_err(|error| error.grpc_text())
        };
        let id = match result.await {
            Ok(id) => id,
            Err(message) => {
                op.tell(RuntimeEventText::FailedCreatePodSandBox(message.clone()), "").await;
                return Err(failed(message));
            }
        };
        let status = self.outside.runtime.sandbox_status(&id).await.map_err(|error| {
            let error = error.grpc_text();
            StepError::failed("FailedPodSandBoxStatus", format!("Unable to get pod sandbox status: {error}"))
        });
        if let Err(StepError::Failed { reason, message, .. }) = &status {
            op.happened(Happening::warning(*reason, message.clone())).await;
        }
        let status = status?;
        setup.ips = status.ips;
        setup.sandbox = Some(id);
        Ok(())
    }

    /// The configuration of the pod's sandbox. It is also sent with every container.
    async fn sandbox_config(&self, op: &Op, setup: &mut PodSetup<'_>) -> Result<SandboxConfig, String> {
        if let Some(config) = &setup.sandbox_config {
            return Ok(config.clone());
        }
        let config = self.make_sandbox_config(op, setup).await?;
        Ok(setup.sandbox_config.insert(config).clone())
    }

    async fn make_sandbox_config(&self, op: &Op, setup: &PodSetup<'_>) -> Result<SandboxConfig, String> {
        let (pod, runtime) = (setup.pod, &self.settings.runtime);
        let name = pod_hostname(pod, &runtime.cluster_domain).map_err(|error| error.to_string())?;
        let hostname = kernel_hostname(pod, &name).map_err(|error| error.to_string())?;
        let dns = pod_dns(pod, &self.dns_settings().await?);
        if setup.sandbox.is_none() {
            // Only for a new sandbox: at every restart of a container they would crowd out what is news.
            for event in dns.events {
                op.tell(event, "").await;
            }
        }
        let users = self.pod_users(op, pod, &setup.handler).await?;
        let node = &self.settings.node_facts;
        sandbox_config(SandboxInput {
            pod,
            attempt: setup.attempt,
            hostname: &hostname,
            dns: dns.config,
            pod_logs_dir: &runtime.pod_logs_dir,
            cgroup_parent: &self.cgroup_parent(pod),
            resources: core_cm::sandbox_resources(pod, node),
            overhead: core_cm::sandbox_overhead(pod, node),
            users: &users,
        })
        .map_err(|error| error.to_string())
    }

    /// Parent cgroup of the pod's containers, as the runtime's driver wants it; empty without pod cgroups.
    fn cgroup_parent(&self, pod: &Pod) -> String {
        if self.cgroups.is_none() {
            return String::new();
        }
        let path = CgroupPath::pod(core_cm::qos_class(pod), &pod.uid());
        path.below_root(&self.settings.runtime.cgroup_root).path(self.driver)
    }

    async fn dns_settings(&self) -> Result<DnsSettings, String> {
        let runtime = &self.settings.runtime;
        let host = resolv_conf::host_dns(&self.outside, &self.settings).await?;
        let (cluster_dns, cluster_domain) = (runtime.cluster_dns.clone(), runtime.cluster_domain.clone());
        Ok(DnsSettings { cluster_dns, cluster_domain, host })
    }

    /// A host file as text; empty when it is not there.
    async fn host_text(&self, path: &str) -> Result<String, String> {
        let content = self.outside.files.read_host_file(path, MAX_HOST_FILE_BYTES).await;
        let content = content.map_err(|error| error.to_string())?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&content).into_owned())
    }

    /// Creates and starts one container. What goes wrong becomes its waiting reason.
    pub(super) async fn start_container(
        &self,
        op: &mut Op,
        setup: &mut PodSetup<'_>,
        name: &str,
        restart_count: RestartCount,
    ) -> StepResult<()> {
        let pod = setup.pod;
        let ephemeral = pod.ephemeral_container(name);
        let of_spec = pod.container_refs().into_iter().find(|container| container.spec.name == name);
        let ephemeral = ephemeral.as_ref().map(|spec| ContainerRef { spec, kind: ContainerKind::Ephemeral });
        let Some(container) = of_spec.or(ephemeral) else { return Ok(()) };
        let Some(sandbox) = setup.sandbox.clone() else {
            return Err(StepError::failed("FailedSync", "the plan starts a container without a sandbox"));
        };
        let sandbox_config =
            self.sandbox_config(op, setup).await.map_err(|error| StepError::failed("FailedSync", error))?;
        op.notes.metrics.container_starts(container.kind);
        let metrics = op.notes.metrics.clone();
        self.image_volumes(op, (setup.pod, &container), &sandbox_config, &mut setup.volumes).await?;
        let image =
            self.container_image(op, setup.pod, &container, &sandbox_config).await.inspect_err(|error| {
                if let StepError::Failed { reason, .. } = error {
                    metrics.container_start_failed(container.kind, reason);
                }
            })?;
        op.check_cancelled()?;
        op.notes.doing(name, "creating the container").await;
        if container.kind != ContainerKind::Ephemeral {
            op.put_container_in_force(container.spec).await;
        }
        let result = async {
            let config = self.container_config(op, setup, &container, image, restart_count).await?;
            let id = self.outside.runtime.create_container(&sandbox, &config, &sandbox_config).await;
            let id = id.map_err(|error| StartFailure::create(error.message()))?;
            op.tell(RuntimeEventText::Created, &container.field_path()).await;
            self.run(op, &container, &id, &sandbox_config, &config).await?;
            Ok(id)
        };
        let result = result.await;
        let failure = result.as_ref().err().map_or("", |failure: &StartFailure| &failure.message);
        self.count_image_volumes(container.spec, &setup.volumes, failure);
        match result {
            Ok(id) => self.post_start(op, (setup.pod, &setup.ips), &container, &id).await,
            Err(StartFailure { reason, message }) => {
                op.tell(RuntimeEventText::Failed(message.clone()), &container.field_path()).await;
                op.container_waits(name, reason.as_str(), &message);
                op.notes.metrics.container_start_failed(container.kind, reason.as_str());
                Err(StepError::failed(
                    reason.as_str(),
                    format!("failed to start container {name:?}: {message}"),
                ))
            }
        }
    }

    /// Makes sure that the image of a container is there. A failure becomes its waiting reason.
    async fn container_image(
        &self,
        op: &mut Op,
        pod: &Pod,
        container: &ContainerRef<'_>,
        sandbox: &SandboxConfig,
    ) -> StepResult<ReadyImage> {
        let spec = container.spec;
        let (written, place) = (spec.image.as_deref().unwrap_or_default(), container.field_path());
        let policy = PullPolicy::of(spec.image_pull_policy.as_deref().unwrap_or_default(), written);
        let wish = ImageWish { pod, written, policy, place: &place, container: &spec.name, sandbox };
        match self.ensure_image(op, wish).await {
            Ok(image) => Ok(image),
            Err(ImageError::Cancelled) => Err(StepError::Cancelled),
            Err(ImageError::Failed(failure)) => {
                let reason = failure.reason.as_str();
                op.tell(RuntimeEventText::Failed(reason.to_owned()), &place).await;
                op.container_waits(&spec.name, reason, &failure.message);
                Err(StepError::failed(reason, failure.message))
            }
        }
    }

    async fn run(
        &self,
        op: &Op,
        container: &ContainerRef<'_>,
        id: &ContainerId,
        sandbox: &SandboxConfig,
        config: &ContainerConfig,
    ) -> Result<(), StartFailure> {
        op.notes.doing(&container.spec.name, "starting the container").await;
        self.outside.runtime.start_container(id).await.map_err(|error| StartFailure {
            reason: WaitingReason::RunContainerError,
            message: error.message(),
        })?;
        op.tell(RuntimeEventText::Started, &container.field_path()).await;
        let link = LogLink {
            key: op.key.clone(),
            container: container.spec.name.clone(),
            container_id: id.to_string(),
            target: format!("{}/{}", sandbox.log_directory, config.log_path),
        };
        // Only tools that read the old directory miss it: not worth failing the container.
        if let Err(error) = self.outside.files.link_container_log(&link).await {
            tracing::warn!(pod = %op.key, container = container.spec.name, %error, "cannot link a container's log");
        }
        Ok(())
    }

    async fn container_config(
        &self,
        op: &Op,
        setup: &PodSetup<'_>,
        container: &ContainerRef<'_>,
        image: ReadyImage,
        restart_count: RestartCount,
    ) -> Result<ContainerConfig, StartFailure> {
        let (pod, spec, files) = (setup.pod, container.spec, &self.outside.files);
        let facts = PodFacts {
            pod,
            host_ips: &self.settings.host.node_ips,
            pod_ips: if pod.is_host_network() { &self.settings.host.node_ips } else { &setup.ips },
        };
        let envs = self.environment(op, setup, spec, &facts).await?;
        let node = NodeSecurity {
            seccomp_default: self.settings.runtime.seccomp_default,
            seccomp_root: format!("{}/seccomp", self.settings.runtime.root_dir),
            thermal_throttle_paths: Vec::new(),
        };
        let security = container_security(pod, spec, &ImageUser::of(&image.image), &setup.users(), &node);
        let mut security = security.map_err(StartFailure::config)?;
        joined_processes(op, pod, &spec.name)?.apply(&mut security);
        let last_log =
            files.ensure_log_dir(&op.key, &op.uid, &spec.name).await.map_err(StartFailure::config)?;
        let restart_count = match restart_count {
            RestartCount::Known(count) => count,
            RestartCount::FromLogs => last_log.map_or(0, |last| last + 1),
        };
        let volume_mounts = self.volume_mounts(op, pod, spec, &envs, &setup.volumes).await;
        let volume_mounts = volume_mounts.map_err(StartFailure::config)?;
        let etc_hosts = self.write_etc_hosts(op, setup).await.map_err(StartFailure::config)?;
        let termination =
            files.create_termination_log(&op.uid, &spec.name).await.map_err(StartFailure::config)?;
        container_config(ContainerInput {
            pod,
            container: spec,
            restart_count,
            stop_signals: self.settings.resources.gates.stop_signals,
            image_ref: &image.id,
            envs,
            volume_mounts,
            etc_hosts: etc_hosts.as_deref(),
            termination_log: Some(&termination.to_string_lossy()),
            resources: core_cm::container_resources(pod, spec, &self.settings.node_facts),
            security,
        })
        .map_err(StartFailure::config)
    }

    async fn environment(
        &self,
        op: &Op,
        setup: &PodSetup<'_>,
        container: &Container,
        facts: &PodFacts<'_>,
    ) -> Result<Vec<KeyValue>, StartFailure> {
        let services = self.services(setup.pod).await;
        let services = services.as_ref().map_or(Services::Standalone, |services| match services {
            Some(services) => Services::Known(services),
            None => Services::NotYetRead,
        });
        let services = service_variables(setup.pod, services).map_err(StartFailure::config)?;
        let files = self.env_files(op, setup, container).await;
        let objects = self.env_objects(setup.pod, container).await;
        let sources = EnvSources {
            facts,
            allocatable: &self.allocatable,
            files: &files,
            file_refs: self.settings.resources.gates.env_files,
            services: &services,
            objects: objects.as_api(),
        };
        environment(container, &sources).map_err(|error| {
            if let EnvError::File(EnvFileError::Broken(broken)) = &error {
                tracing::warn!(pod = %op.key, container = container.name, "{broken}");
            }
            StartFailure::config(error)
        })
    }

    /// The files that variables of a container come from. What is wrong with one is told when its variable is made.
    async fn env_files(&self, op: &Op, setup: &PodSetup<'_>, container: &Container) -> EnvFiles {
        let mut files = EnvFiles::new();
        if self.settings.resources.gates.env_files == EnvFileRefs::Ignored {
            return files;
        }
        for name in env_files::wanted(container) {
            let Some(volume) = setup.volumes.paths.get(&name.volume).filter(|_| !files.contains_key(&name))
            else {
                continue;
            };
            let read =
                self.outside.files.read_volume_file(&op.uid, volume, &name.path, MAX_ENV_FILE_BYTES + 1);
            let content = read.await.unwrap_or_else(|error| {
                tracing::warn!(pod = %op.key, container = container.name, %error, "cannot read an env file");
                None
            });
            let host_path = volume.join(&name.path).to_string_lossy().into_owned();
            files.insert(name, EnvFile { host_path, content });
        }
        files
    }

    /// Writes the pod's hosts file once its address is known, and gives its path.
    async fn write_etc_hosts(&self, op: &Op, setup: &PodSetup<'_>) -> Result<Option<String>, String> {
        let pod = setup.pod;
        let content = if pod.is_host_network() {
            host_network_hosts(pod, &self.host_text("/etc/hosts").await?)
        } else if setup.ips.is_empty() {
            return Ok(None);
        } else {
            let name: PodHostname = pod_hostname(pod, &self.settings.runtime.cluster_domain)
                .map_err(|error| error.to_string())?;
            pod_hosts(pod, &setup.ips, &name)
        };
        let path =
            self.outside.files.write_etc_hosts(&op.uid, &content).await.map_err(|error| error.to_string())?;
        Ok(Some(path.to_string_lossy().into_owned()))
    }
}
