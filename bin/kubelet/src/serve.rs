//! The listeners that the configuration asks for (CONTRACT 2.1).
//!
//! | listener | when |
//! |---|---|
//! | `/healthz` on `healthzBindAddress` | `healthzPort` is not 0 |
//! | read-only on `address` | `readOnlyPort` is not 0 |
//! | HTTPS on `address` and `port` | `enableServer` |
//! | cAdvisor's metrics on `address`, as the classic kubelet had them | `--cadvisor-port` is not 0 |
//! | the local socket | `--local-socket` is not empty |
//!
//! An address that cannot be had ends the start: a node that does not answer where it should is worse than one that says
//! why it does not come up.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use core_config::{Config, Feature, KubeletConfiguration};
use io_host::{HostJournal, HostNodeFiles};
use server::health::HealthChecks;
use server::https::authentication::{AnonymousAccess, WebhookAuthentication};
use server::https::authorization::AuthorizationMode;
use server::https::{
    AccessTtl, CertificateSource, CheckpointOptions, DebugHandlers, HttpsOptions, NodeLogs, NodeOptions,
    Reload, Reviewers, Switch, TlsSettings, WebSockets,
};
use server::{ServerContext, ServerHandle, cadvisor, healthz, https, local, read_only};

use crate::cluster::Cluster;
use crate::host::Directories;
use crate::logging::ProcessVerbosity;

/// How long open requests may take to end at stop.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Where the node's logs are, as upstream has it.
const NODE_LOG_DIR: &str = "/var/log";

/// Running listeners.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Vec<(&'static str, ServerHandle)>);

impl Listeners {
    /// Starts all. On an error those that were started are stopped again.
    pub(crate) async fn start(
        config: &Config,
        context: &ServerContext,
        node: (&Directories, Option<&Cluster>),
    ) -> Result<Self> {
        let mut listeners = Self::default();
        match listeners.start_all(config, context, node).await {
            Ok(()) => Ok(listeners),
            Err(error) => {
                listeners.stop().await;
                Err(error)
            }
        }
    }

    async fn start_all(
        &mut self,
        config: &Config,
        context: &ServerContext,
        (directories, cluster): (&Directories, Option<&Cluster>),
    ) -> Result<()> {
        let (kubelet, options) = (&config.kubelet, &config.options);
        if let Some(port) = port("healthzPort", kubelet.healthz_port)? {
            let address = address("healthzBindAddress", &kubelet.healthz_bind_address, port)?;
            self.add("healthz", healthz::start(address, HealthChecks::ping())?);
        }
        if let Some(port) = port("readOnlyPort", kubelet.read_only_port)? {
            let address = address("address", &kubelet.address, port)?;
            self.add("read-only", read_only::start(address, context.clone()).await?);
        }
        if let Some(port) = port("port", kubelet.port)?.filter(|_| kubelet.enable_server) {
            let mut options = https_options(config, context, directories, port)?;
            if let Some(cluster) = cluster {
                options.reviewers = cluster.reviewers();
                if let Some(signed) = &cluster.serving {
                    options.certificate = CertificateSource::Signed(signed.clone());
                }
            }
            self.add("https", https::start(options, context.clone()).await?);
        }
        if options.cadvisor_port != 0 {
            let address = address("address", &kubelet.address, options.cadvisor_port)?;
            let started = cadvisor::start(address, context.clone()).await;
            self.add("cadvisor", started.context("--cadvisor-port")?);
        }
        if let Some(path) = &options.own.local_socket {
            self.add("local socket", local::start(path, context.clone()).await?);
        }
        Ok(())
    }

    fn add(&mut self, name: &'static str, handle: ServerHandle) {
        tracing::info!(server = name, address = handle.address(), "listening");
        self.0.push((name, handle));
    }

    /// Stops all at once, after the requests that are open, but not long after.
    pub(crate) async fn stop(self) {
        futures_util::future::join_all(self.0.into_iter().map(|(_, handle)| handle.shutdown(STOP_GRACE)))
            .await;
    }
}

/// What the configuration says of requests must be possible without an API server.
pub(crate) fn check_webhooks(kubelet: &KubeletConfiguration) -> Result<()> {
    let authentication = kubelet.authentication.webhook.enabled.then_some(
        "no client provided, cannot use webhook authentication: set authentication.webhook.enabled to false",
    );
    let authorization = (kubelet.authorization.mode == "Webhook").then_some(
        "no client provided, cannot use webhook authorization: set authorization.mode to AlwaysAllow",
    );
    let problems: Vec<&str> = authentication.into_iter().chain(authorization).collect();
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{}; both need an API server, and there is no --kubeconfig", problems.join("; "))
}

fn https_options(
    config: &Config,
    context: &ServerContext,
    directories: &Directories,
    port: u16,
) -> Result<HttpsOptions> {
    let is_on = |feature| config.features.enabled(feature);
    let kubelet = &config.kubelet;
    let authentication = &kubelet.authentication;
    let file = |path: &str| (!path.is_empty()).then(|| PathBuf::from(path));
    Ok(HttpsOptions {
        address: address("address", &kubelet.address, port)?,
        certificate: match (file(&kubelet.tls_cert_file), file(&kubelet.tls_private_key_file)) {
            (Some(certificate), Some(key)) => {
                let reload = reload(config, Feature::ReloadKubeletServerCertificateFile);
                CertificateSource::Files { certificate, key, reload }
            }
            // As upstream: with one of them alone the node makes its own pair.
            _ => self_signed(&config.options.cert_dir, &context.facts.node_name),
        },
        tls: TlsSettings {
            min_version: kubelet.tls_min_version.clone(),
            cipher_suites: kubelet.tls_cipher_suites.clone(),
            curves: kubelet.tls_curve_preferences.clone(),
        },
        client_ca_file: file(&authentication.x509.client_ca_file),
        reload_client_ca: reload(config, Feature::ReloadKubeletClientCAFile),
        anonymous: match authentication.anonymous.enabled {
            true => AnonymousAccess::Enabled,
            false => AnonymousAccess::Disabled,
        },
        webhook: match authentication.webhook.enabled {
            true => WebhookAuthentication::Enabled { cache_ttl: authentication.webhook.cache_ttl.to_std() },
            false => WebhookAuthentication::Disabled,
        },
        authorization: match kubelet.authorization.mode.as_str() {
            "AlwaysAllow" => AuthorizationMode::AlwaysAllow,
            "Webhook" => AuthorizationMode::Webhook(AccessTtl {
                allowed: kubelet.authorization.webhook.cache_authorized_ttl.to_std(),
                refused: kubelet.authorization.webhook.cache_unauthorized_ttl.to_std(),
            }),
            other => bail!("authorization.mode {other:?} must be AlwaysAllow or Webhook"),
        },
        reviewers: Reviewers::Missing,
        debugging: match kubelet.enable_debugging_handlers {
            true => DebugHandlers::Enabled,
            false => DebugHandlers::Disabled,
        },
        websockets: match is_on(Feature::ExtendWebSocketsToKubelet) {
            true => WebSockets::Translated,
            false => WebSockets::PassedOn,
        },
        checkpoints: is_on(Feature::ContainerCheckpoint).then(|| CheckpointOptions {
            directory: directories.checkpoints.clone(),
            files: Arc::new(HostNodeFiles::new(&directories.checkpoints)),
        }),
        node: node_options(config, context),
    })
}

fn reload(config: &Config, gate: Feature) -> Reload {
    match config.features.enabled(gate) {
        true => Reload::WhenChanged,
        false => Reload::Never,
    }
}

/// What is shown of the node itself.
fn node_options(config: &Config, context: &ServerContext) -> NodeOptions {
    let kubelet = &config.kubelet;
    let switch = |is_on| if is_on { Switch::On } else { Switch::Off };
    NodeOptions {
        logs: match (kubelet.enable_system_log_handler, kubelet.enable_system_log_query) {
            (false, _) => NodeLogs::Off,
            (true, false) => NodeLogs::Files,
            (true, true) => NodeLogs::Query,
        },
        profiling: switch(kubelet.enable_profiling_handler),
        debug_flags: switch(kubelet.enable_debug_flags_handler),
        flagz: switch(config.features.enabled(Feature::ComponentFlagz)),
        statusz: switch(config.features.enabled(Feature::ComponentStatusz)),
        files: Arc::new(HostNodeFiles::new(NODE_LOG_DIR)),
        journal: Arc::new(HostJournal),
        verbosity: Arc::new(ProcessVerbosity),
        flags: Arc::new(config.flags.clone()),
        command_line: std::env::args().collect(),
        started: context.clock.wall(),
    }
}

fn self_signed(directory: &Path, node_name: &str) -> CertificateSource {
    CertificateSource::SelfSigned { directory: directory.to_owned(), host_name: node_name.to_owned() }
}

/// A port; `None` for 0, which switches its listener off.
fn port(field: &str, value: i32) -> Result<Option<u16>> {
    let port = u16::try_from(value).map_err(|_| anyhow!("{field} {value} is no port"))?;
    Ok((port != 0).then_some(port))
}

fn address(field: &str, text: &str, port: u16) -> Result<SocketAddr> {
    let ip: IpAddr = text.parse().map_err(|_| anyhow!("{field} {text:?} is no IP address"))?;
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhooks_need_an_api_server() {
        let mut kubelet = KubeletConfiguration::default();
        let error = check_webhooks(&kubelet).unwrap_err().to_string();
        assert!(
            error.contains("webhook authentication") && error.contains("webhook authorization"),
            "{error}"
        );
        kubelet.authentication.webhook.enabled = false;
        assert!(
            check_webhooks(&kubelet).unwrap_err().to_string().contains("cannot use webhook authorization")
        );
        kubelet.authorization.mode = "AlwaysAllow".to_owned();
        check_webhooks(&kubelet).unwrap();
    }

    #[test]
    fn addresses_and_ports_are_read_or_named() {
        assert_eq!(port("port", 0).unwrap(), None);
        assert_eq!(port("port", 10250).unwrap(), Some(10250));
        assert_eq!(port("port", 65536).unwrap_err().to_string(), "port 65536 is no port");
        assert_eq!(address("address", "::1", 1).unwrap().to_string(), "[::1]:1");
        assert_eq!(
            address("address", "here", 1).unwrap_err().to_string(),
            "address \"here\" is no IP address"
        );
    }
}
