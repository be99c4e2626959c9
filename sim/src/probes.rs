//! Probes over the simulated network: a port is well unless a test says otherwise.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use core_probes::ProbeRequest;
use ports::ProbeDialer;
use ports::probes::ProbeAnswer;

/// How a port answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Well.
    Well,
    /// With an error.
    Failing,
    /// Not at all.
    Silent,
}

/// The network of the simulated node, as probes see it.
#[derive(Debug, Default)]
pub struct FakeProbes {
    ports: Mutex<BTreeMap<u16, (Health, u64)>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl FakeProbes {
    /// Sets how a port answers from now on, in every pod.
    pub fn set(&self, port: u16, health: Health) {
        self.ports().entry(port).or_insert((health, 0)).0 = health;
    }

    /// How often a port was asked.
    pub fn asked(&self, port: u16) -> u64 {
        self.ports().get(&port).map_or(0, |(_, asked)| *asked)
    }

    /// How many probes waited for their answers at once, at most so far.
    pub fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::Relaxed)
    }

    fn ports(&self) -> MutexGuard<'_, BTreeMap<u16, (Health, u64)>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ProbeDialer for FakeProbes {
    async fn ask(&self, request: &ProbeRequest, timeout: Duration) -> ProbeAnswer {
        let port = match request {
            ProbeRequest::Http(get) => get.port,
            ProbeRequest::Tcp { port, .. } | ProbeRequest::Grpc { port, .. } => *port,
            ProbeRequest::Exec { .. } => return ProbeAnswer::Unknown("not over the network".to_owned()),
        };
        let health = {
            let mut ports = self.ports();
            let (health, asked) = ports.entry(port).or_insert((Health::Well, 0));
            *asked += 1;
            *health
        };
        match health {
            Health::Well => ProbeAnswer::Success(String::new()),
            Health::Failing => ProbeAnswer::Failure("HTTP probe failed with statuscode: 500".to_owned()),
            Health::Silent => {
                let at_once = self.at_once.fetch_add(1, Ordering::Relaxed) + 1;
                self.most_at_once.fetch_max(at_once, Ordering::Relaxed);
                tokio::time::sleep(timeout).await;
                self.at_once.fetch_sub(1, Ordering::Relaxed);
                ProbeAnswer::TimedOut("context deadline exceeded".to_owned())
            }
        }
    }
}
