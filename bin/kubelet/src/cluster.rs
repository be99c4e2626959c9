//! The way to the API server: who the node is there, and how that is renewed (CONTRACT 1.7, 7.1, 7.2).
//!
//! | `rotateCertificates` | `--bootstrap-kubeconfig` | the kubeconfig | what happens |
//! |---|---|---|---|
//! | off | no | must be good | it is used as it is |
//! | off | yes | is good | it is used as it is |
//! | off | yes | missing or expired | a certificate is asked for first, and a kubeconfig written when it is there |
//! | on | no | must be good | its certificate is used, and renewed |
//! | on | yes | is good | as without bootstrap |
//! | on | yes | missing or expired | a kubeconfig is written at once, and a certificate asked for while the node starts |
//!
//! The start waits for nothing but the third row. A new certificate moves live connections over.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::certificates::{CertificateEnd, CertificateParts, CertificateTask, CurrentPair};
use anyhow::{Context, Result, anyhow, bail};
use async_trait::async_trait;
use core_certificates::{NamesAlone, NodeAddress, Purpose, Template};
use core_config::{Config, Feature};
use core_metrics::Registry;
use core_types::Secret;
use io_api::{
    ApiClient, ApiSigner, ClientIdentity, Credentials, IdentitySource, Kubeconfig, ServerTrust, Token,
};
use io_pki::{Fallback, HostCertificates};
use ports::certificates::{CertificatePair, SignError};
use ports::{CertificateFiles, CertificateSigner, Clock};
use server::https::Reviewers;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long a node without a certificate waits for its first one where it can do nothing else; upstream's value.
const BOOTSTRAP_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// The API server, and the tasks that keep the node known there.
pub(crate) struct Cluster {
    /// For all requests.
    pub(crate) client: ApiClient,
    /// The serving certificate, with `serverTLSBootstrap`.
    pub(crate) serving: Option<CurrentPair>,
    tasks: JoinSet<CertificateEnd>,
    stop: CancellationToken,
}

/// What making the connection needs to know of the node.
pub(crate) struct ClusterFacts<'a> {
    pub(crate) config: &'a Config,
    pub(crate) node_name: &'a str,
    pub(crate) node_ips: &'a [String],
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) registry: &'a Registry,
}

impl Cluster {
    /// Makes the client; `None` without `--kubeconfig`. Nothing is asked of the API server before somebody needs it, but for
    /// the bootstrap that must come first.
    pub(crate) async fn connect(facts: &ClusterFacts<'_>) -> Result<Option<Self>> {
        let options = &facts.config.options;
        let Some(path) = &options.kubeconfig else { return Ok(None) };
        let mut tasks = JoinSet::new();
        let stop = CancellationToken::new();
        let good = options.bootstrap_kubeconfig.is_none() || is_good(path, facts.clock.as_ref());
        let rotate = facts.config.kubelet.rotate_certificates;
        let client = match (rotate, good, &options.bootstrap_kubeconfig) {
            (true, false, Some(bootstrap)) => {
                let kubeconfig = write_kubeconfig(facts, path, bootstrap)?;
                rotating(facts, kubeconfig, (&mut tasks, &stop)).await?
            }
            (true, ..) => {
                let kubeconfig = Kubeconfig::load(path).context("--kubeconfig")?;
                rotating(facts, kubeconfig, (&mut tasks, &stop)).await?
            }
            (false, false, Some(bootstrap)) => {
                first_certificate(facts, bootstrap).await?;
                write_kubeconfig(facts, path, bootstrap)?;
                fixed(facts, path)?
            }
            (false, ..) => fixed(facts, path)?,
        };
        tracing::info!(server = client.server().authority(), "the API server");
        let mut cluster = Self { client, serving: None, tasks, stop };
        cluster.serve_signed(facts).await;
        Ok(Some(cluster))
    }

    /// Who answers questions about users of the node's own port.
    pub(crate) fn reviewers(&self) -> Reviewers {
        let reviews = Arc::new(io_api::ApiReviews::new(self.client.clone()));
        Reviewers::Api { tokens: reviews.clone(), access: reviews }
    }

    /// Returns when the API server refuses this node for good; never without a certificate to renew.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(CertificateEnd::GaveUp) => {
                    return anyhow!(
                        "the API server refuses this node and there is no valid client certificate: new credentials are needed"
                    );
                }
                Ok(CertificateEnd::Stopped) => {}
                Err(error) => return anyhow!("a task of the node's certificates ended: {error}"),
            }
        }
        std::future::pending().await
    }

    /// Ends the tasks.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    /// Has the serving certificate signed by the API server, with `serverTLSBootstrap`.
    async fn serve_signed(&mut self, facts: &ClusterFacts<'_>) {
        let (kubelet, features) = (&facts.config.kubelet, &facts.config.features);
        if !kubelet.server_tls_bootstrap || !features.enabled(Feature::RotateKubeletServerCertificate) {
            return;
        }
        let names_alone = match features.enabled(Feature::AllowDNSOnlyNodeCSR) {
            true => NamesAlone::Enough,
            false => NamesAlone::NotEnough,
        };
        let ips = facts.node_ips.iter().cloned().map(NodeAddress::Ip);
        let addresses: Vec<_> = ips.chain([NodeAddress::Hostname(facts.node_name.to_owned())]).collect();
        let template = Template::serving(facts.node_name, &addresses, names_alone);
        let fallback = match (kubelet.tls_cert_file.as_str(), kubelet.tls_private_key_file.as_str()) {
            ("", _) | (_, "") => Fallback::Directory,
            (certificate, key) => Fallback::Files { certificate: certificate.into(), key: key.into() },
        };
        let parts = CertificateParts {
            purpose: Purpose::Serving,
            files: Arc::new(certificate_files(facts, Purpose::Serving, fallback)),
            signer: Arc::new(ApiSigner::new(self.client.clone())),
            clock: Arc::clone(&facts.clock),
        };
        self.serving = Some(spawn(facts, parts, template, (&mut self.tasks, &self.stop)).await);
    }
}

fn client(facts: &ClusterFacts<'_>, kubeconfig: &Kubeconfig, credentials: Credentials) -> ApiClient {
    ApiClient::new(
        kubeconfig.server.clone(),
        credentials,
        crate::api::options(&facts.config.kubelet),
        facts.registry,
    )
}

/// A client with the credentials of the kubeconfig, for as long as it runs.
fn fixed(facts: &ClusterFacts<'_>, path: &Path) -> Result<ApiClient> {
    let kubeconfig = Kubeconfig::load(path).context("--kubeconfig")?;
    Ok(client(facts, &kubeconfig, kubeconfig.credentials.clone()))
}

/// A client whose certificate is renewed. `kubeconfig` holds the credentials of the first request, a certificate or others.
async fn rotating(
    facts: &ClusterFacts<'_>,
    kubeconfig: Kubeconfig,
    (tasks, stop): (&mut JoinSet<CertificateEnd>, &CancellationToken),
) -> Result<ApiClient> {
    let fallback = match &kubeconfig.identity {
        IdentitySource::Files { certificate, key, .. } => {
            Fallback::Files { certificate: certificate.clone(), key: key.clone() }
        }
        IdentitySource::Missing | IdentitySource::Inline(_) => Fallback::Directory,
    };
    let files = certificate_files(facts, Purpose::Client, fallback);
    keep_inline(&files, &kubeconfig).await?;
    let anonymous = Credentials::new(&kubeconfig.trust, None, Token::None)?;
    let main = client(facts, &kubeconfig, anonymous);
    let first = client(facts, &kubeconfig, kubeconfig.credentials.clone());
    let (sender, known) = watch::channel(None);
    let signer = ClientSigner { first: ApiSigner::new(first), main: ApiSigner::new(main.clone()), known };
    let parts = CertificateParts {
        purpose: Purpose::Client,
        files: Arc::new(files),
        signer: Arc::new(signer),
        clock: Arc::clone(&facts.clock),
    };
    let template = Some(Template::client(facts.node_name));
    let mut current = spawn(facts, parts, template, (&mut *tasks, stop)).await;
    let show = Shown { client: main.clone(), trust: kubeconfig.trust, known: sender };
    let pair = current.borrow_and_update().clone();
    show.use_pair(pair);
    let stop = stop.clone();
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return CertificateEnd::Stopped,
                changed = current.changed() => {
                    if changed.is_err() {
                        return CertificateEnd::Stopped;
                    }
                    let pair = current.borrow_and_update().clone();
                    show.use_pair(pair);
                }
            }
        }
    });
    Ok(main)
}

/// A certificate that stands in the kubeconfig itself is kept like a signed one, as upstream does.
async fn keep_inline(files: &HostCertificates, kubeconfig: &Kubeconfig) -> Result<()> {
    let IdentitySource::Inline(identity) = &kubeconfig.identity else { return Ok(()) };
    if files.current().await.is_ok_and(|current| current.is_some()) {
        return Ok(());
    }
    let ClientIdentity { certificate_pem, key_pem } = identity.clone();
    files.keep(certificate_pem, Secret::new(key_pem)).await.context("the certificate of --kubeconfig")?;
    Ok(())
}

/// Where a new client certificate goes.
struct Shown {
    client: ApiClient,
    trust: ServerTrust,
    known: watch::Sender<Option<Arc<CertificatePair>>>,
}

impl Shown {
    /// New requests show this certificate; connections with another one are closed.
    fn use_pair(&self, pair: Option<Arc<CertificatePair>>) {
        let Some(pair) = pair else { return };
        let identity = ClientIdentity {
            certificate_pem: pair.chain_pem.clone(),
            key_pem: pair.key_pem.expose().clone(),
        };
        match Credentials::new(&self.trust, Some(&identity), Token::None) {
            Ok(credentials) => {
                self.client.replace_credentials(credentials);
                self.known.send_replace(Some(pair));
            }
            Err(error) => tracing::error!(%error, "the new client certificate cannot be used"),
        }
    }
}

/// Asks with the newest certificate, and with the credentials of the start as long as there is none.
struct ClientSigner {
    first: ApiSigner,
    main: ApiSigner,
    known: watch::Receiver<Option<Arc<CertificatePair>>>,
}

#[async_trait]
impl CertificateSigner for ClientSigner {
    async fn sign(&self, purpose: Purpose, request_pem: Vec<u8>) -> Result<Vec<u8>, SignError> {
        let has_certificate = self.known.borrow().is_some();
        let signer = if has_certificate { &self.main } else { &self.first };
        signer.sign(purpose, request_pem).await
    }
}

async fn spawn(
    facts: &ClusterFacts<'_>,
    parts: CertificateParts,
    template: Option<Template>,
    (tasks, stop): (&mut JoinSet<CertificateEnd>, &CancellationToken),
) -> CurrentPair {
    // The addresses of the node are those of its start, so what the certificate must say does not change.
    let (_, templates) = watch::channel(template);
    let (task, current) = CertificateTask::new(parts, templates, facts.registry).await;
    tasks.spawn(task.run(stop.clone()));
    current
}

fn certificate_files(facts: &ClusterFacts<'_>, purpose: Purpose, fallback: Fallback) -> HostCertificates {
    let directory: PathBuf = facts.config.options.cert_dir.clone();
    HostCertificates::new(directory, purpose, fallback, Arc::clone(&facts.clock))
}

/// Whether the kubeconfig holds a client certificate that has not expired. What is wrong with it is logged.
fn is_good(path: &Path, clock: &dyn Clock) -> bool {
    if !path.exists() {
        return false;
    }
    let problem = match Kubeconfig::load(path) {
        Err(error) => error.to_string(),
        Ok(kubeconfig) => match kubeconfig.identity.identity() {
            None => "it holds no client certificate".to_owned(),
            Some(identity) => match io_pki::expiry(&identity.certificate_pem) {
                Err(problem) => problem,
                Ok(end) if end < clock.wall() => format!("part of its client certificate expired at {end}"),
                Ok(_) => return true,
            },
        },
    };
    tracing::warn!(kubeconfig = %path.display(), problem, "the kubeconfig cannot be used; bootstrapping");
    false
}

/// Writes the kubeconfig that points at the certificate directory; the credentials that stay in hand are the bootstrap's.
fn write_kubeconfig(facts: &ClusterFacts<'_>, path: &Path, bootstrap: &Path) -> Result<Kubeconfig> {
    let kubeconfig = Kubeconfig::load(bootstrap).context("--bootstrap-kubeconfig")?;
    let files = certificate_files(facts, Purpose::Client, Fallback::Directory);
    let current = std::path::absolute(files.current_path()).context("--cert-dir")?;
    kubeconfig.write_for(path, &current).context("--kubeconfig")?;
    tracing::info!(kubeconfig = %path.display(), certificate = %current.display(), "wrote a kubeconfig");
    Ok(kubeconfig)
}

/// Waits for the first certificate, where nothing else can be done without it.
async fn first_certificate(facts: &ClusterFacts<'_>, bootstrap: &Path) -> Result<()> {
    let kubeconfig = Kubeconfig::load(bootstrap).context("--bootstrap-kubeconfig")?;
    let first = client(facts, &kubeconfig, kubeconfig.credentials.clone());
    let parts = CertificateParts {
        purpose: Purpose::Client,
        files: Arc::new(certificate_files(facts, Purpose::Client, Fallback::Directory)),
        signer: Arc::new(ApiSigner::new(first)),
        clock: Arc::clone(&facts.clock),
    };
    let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
    let template = Some(Template::client(facts.node_name));
    let mut current = spawn(facts, parts, template, (&mut tasks, &stop)).await;
    tracing::info!("waiting for the node's first client certificate");
    let signed = tokio::time::timeout(BOOTSTRAP_TIMEOUT, current.wait_for(Option::is_some)).await;
    let signed = matches!(signed, Ok(Ok(_)));
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    match signed {
        true => Ok(()),
        false => bail!("bootstrap: no client certificate was signed; see the log"),
    }
}
