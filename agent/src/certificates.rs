//! Keeps one of the node's certificates fresh: asks for it, waits for its signature, keeps it, and publishes it.
//!
//! Reads: the file in use, what the certificate must say. Publishes: the pair in use. When to ask is decided by
//! [`core_certificates::Rotation`]. At rest there is one deadline. It runs beside the agent, because an agent of a cluster
//! needs its client certificate first.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use core_certificates::{Effect, Event, Moment, Purpose, Rotation, Server, Template};
use core_metrics::{Counter, Desc, Histogram, Registry};
use ports::certificates::CertificatePair;
use ports::{CertificateFiles, CertificateSigner, Clock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::timer;

/// How long a request may wait for approval; then another one is made. Upstream's value.
const SIGN_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// What the task works with.
#[derive(Clone)]
pub struct CertificateParts {
    /// What the certificate is for.
    pub purpose: Purpose,
    /// Its files.
    pub files: Arc<dyn CertificateFiles>,
    /// Who signs it.
    pub signer: Arc<dyn CertificateSigner>,
    /// Clocks.
    pub clock: Arc<dyn Clock>,
}

/// The pair in use; `None` when there is none, or it has expired.
pub type CurrentPair = watch::Receiver<Option<Arc<CertificatePair>>>;

/// How the task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateEnd {
    /// It was stopped.
    Stopped,
    /// The API server refuses this node and there is no certificate that would change that: the process should end.
    GaveUp,
}

type Signing = Pin<Box<dyn Future<Output = Result<CertificatePair, Server>> + Send>>;

/// The task.
pub struct CertificateTask {
    parts: CertificateParts,
    templates: watch::Receiver<Option<Template>>,
    current: watch::Sender<Option<Arc<CertificatePair>>>,
    failures: Counter,
    rotated: Histogram,
}

/// Upper bounds of the life of a certificate, in seconds: from a minute to four years.
const ROTATED_SECS: &[f64] = &[
    60.0,
    3_600.0,
    14_400.0,
    86_400.0,
    604_800.0,
    2_592_000.0,
    7_776_000.0,
    15_552_000.0,
    31_104_000.0,
    124_416_000.0,
];
const ROTATED: Desc = Desc {
    name: "kubelet_certificate_manager_server_rotation_seconds",
    help: "[ALPHA] Histogram of the number of seconds the previous certificate lived before being rotated.",
    labels: &[],
};

/// What is left of the life of the certificate in use.
const fn left(purpose: Purpose) -> Desc {
    match purpose {
        Purpose::Client => Desc {
            name: "kubelet_certificate_manager_client_ttl_seconds",
            help: "[ALPHA] Gauge of the TTL (time-to-live) of the Kubelet's client certificate. The value is in seconds until certificate expiry (negative if already expired). If client certificate is invalid or unused, the value will be +INF.",
            labels: &[],
        },
        Purpose::Serving => Desc {
            name: "kubelet_certificate_manager_server_ttl_seconds",
            help: "[ALPHA] Gauge of the shortest TTL (time-to-live) of the Kubelet's serving certificate. The value is in seconds until certificate expiry (negative if already expired). If serving certificate is invalid or unused, the value will be +INF.",
            labels: &[],
        },
    }
}

impl CertificateTask {
    /// Reads the pair that is there. A file that cannot be used is told and counts as none.
    pub async fn new(
        parts: CertificateParts,
        templates: watch::Receiver<Option<Template>>,
        metrics: &Registry,
    ) -> (Self, CurrentPair) {
        let found = match parts.files.current().await {
            Ok(found) => found.filter(|pair| !pair.content.is_expired(parts.clock.wall())),
            Err(error) => {
                tracing::error!(%error, "a certificate cannot be used; a new one is asked for");
                None
            }
        };
        let (sender, current) = watch::channel(found.map(Arc::new));
        let failures = metrics.counter(match parts.purpose {
            Purpose::Client => Desc {
                name: "kubelet_certificate_manager_client_expiration_renew_errors",
                help: "[ALPHA] Counter of certificate renewal errors.",
                labels: &[],
            },
            Purpose::Serving => Desc {
                name: "kubelet_server_expiration_renew_errors",
                help: "[ALPHA] Counter of certificate renewal errors.",
                labels: &[],
            },
        });
        let (pair, clock) = (current.clone(), Arc::clone(&parts.clock));
        metrics.gauge_read(left(parts.purpose), move || {
            let wall = clock.wall();
            let left = |pair: &Arc<CertificatePair>| {
                (pair.content.not_after.unix_secs() as f64) - (wall.unix_secs() as f64)
            };
            pair.borrow().as_ref().map_or(f64::INFINITY, left)
        });
        let rotated = metrics.histogram(ROTATED, ROTATED_SECS);
        (Self { parts, templates, current: sender, failures, rotated }, current)
    }

    /// Runs until it is stopped or gives up.
    pub async fn run(mut self, stop: CancellationToken) -> CertificateEnd {
        let found = self.current.borrow().as_ref().map(|pair| pair.content.clone());
        let mut rotation = Rotation::new(self.parts.purpose, found, self.now());
        let mut signing: Option<Signing> = None;
        let mut event = Event::Template(self.templates.borrow_and_update().clone());
        loop {
            for effect in rotation.step(self.now(), event) {
                match effect {
                    Effect::Request(template) => signing = Some(self.sign(template)),
                    // Dropping the request ends the wait; the machine hears of it in the next turn.
                    Effect::Cancel => signing = Some(Box::pin(std::future::ready(Err(Server::Unknown)))),
                    Effect::GiveUp => return CertificateEnd::GaveUp,
                }
            }
            let due = rotation.next_deadline(self.now());
            event = tokio::select! {
                biased;
                () = stop.cancelled() => return CertificateEnd::Stopped,
                signed = until_signed(&mut signing) => {
                    signing = None;
                    self.take(signed)
                }
                Ok(()) = self.templates.changed() => {
                    Event::Template(self.templates.borrow_and_update().clone())
                }
                () = timer::until(self.parts.clock.as_ref(), due) => Event::Tick,
            };
        }
    }

    fn now(&self) -> Moment {
        let clock = &self.parts.clock;
        Moment { mono: clock.now(), wall: clock.wall(), chance: fastrand::f64() }
    }

    fn take(&self, signed: Result<CertificatePair, Server>) -> Event {
        match signed {
            Ok(pair) => {
                tracing::info!(purpose = ?self.parts.purpose, until = %pair.content.not_after, "a new certificate is in use");
                let content = pair.content.clone();
                let before = self.current.borrow().as_ref().map(|old| old.content.not_before);
                if let Some(begin) = before.filter(|_| self.parts.purpose == Purpose::Serving) {
                    self.rotated.observe(&[], self.parts.clock.wall().since(begin).as_secs_f64());
                }
                self.current.send_replace(Some(Arc::new(pair)));
                Event::Signed(content)
            }
            Err(server) => {
                self.failures.inc(&[]);
                Event::Failed(server)
            }
        }
    }

    /// One request from the new key to the file. The key is nowhere else before the certificate is signed.
    fn sign(&self, template: Template) -> Signing {
        let CertificateParts { purpose, files, signer, .. } = self.parts.clone();
        Box::pin(async move {
            let failed = |problem: String, server: Server| {
                tracing::error!(problem, ?purpose, "no certificate; it is tried again");
                server
            };
            let key = files.new_key(&template).await;
            let key = key.map_err(|error| failed(error.to_string(), Server::Unknown))?;
            let signing = tokio::time::timeout(SIGN_TIMEOUT, signer.sign(purpose, key.request_pem));
            let chain = match signing.await {
                Ok(Ok(chain)) => chain,
                Ok(Err(error)) => return Err(failed(error.problem, error.server)),
                Err(_elapsed) => {
                    let problem = format!("nobody has approved and signed the request in {SIGN_TIMEOUT:?}");
                    return Err(failed(problem, Server::Unknown));
                }
            };
            let kept = files.keep(chain, key.key_pem).await;
            kept.map_err(|error| failed(error.to_string(), Server::Unknown))
        })
    }
}

async fn until_signed(signing: &mut Option<Signing>) -> Result<CertificatePair, Server> {
    match signing {
        Some(signing) => signing.await,
        None => std::future::pending().await,
    }
}
