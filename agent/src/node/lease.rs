//! Keeps the node's Lease alive. A task of its own, so that nothing else can delay it.
//!
//! Reads: the UID of the Node object. Publishes nothing; calls that [`LeaseMachine`] wants go to the API server.

use std::sync::Arc;

use core_node::{LeaseAnswer, LeaseCall, LeaseMachine, LeaseSettings, Spread};
use k8s_openapi::api::coordination::v1::Lease;
use ports::api::ApiResult;
use ports::{Clock, LeaseApi, NodeApi};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;
use crate::{task, timer};

use super::{NodeParts, SeenNode};

/// The task.
pub(super) struct LeaseTask {
    leases: Arc<dyn LeaseApi>,
    nodes: Arc<dyn NodeApi>,
    clock: Arc<dyn Clock>,
    name: String,
    machine: LeaseMachine,
    known: watch::Receiver<SeenNode>,
}

impl LeaseTask {
    pub(super) fn new(parts: &NodeParts, settings: &Settings, known: watch::Receiver<SeenNode>) -> Self {
        let NodeParts { cluster, outside, .. } = parts;
        let name = settings.host.node_name.clone();
        let spread = Spread::new(&name, outside.clock.wall().unix_nanos());
        let lease =
            LeaseSettings { node: name.clone(), duration_seconds: settings.node.lease_duration_seconds };
        Self {
            leases: Arc::clone(&cluster.leases),
            nodes: Arc::clone(&cluster.nodes),
            machine: LeaseMachine::new(lease, spread, outside.clock.now()),
            clock: Arc::clone(&outside.clock),
            name,
            known,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        task::until_stopped(&stop, self.live()).await;
    }

    async fn live(&mut self) {
        // Without a node there is nobody to own a lease, and a new one is what everybody waits for: begin when it is there.
        if self.known.wait_for(|seen| seen.node.is_some()).await.is_err() {
            return;
        }
        loop {
            timer::until(self.clock.as_ref(), self.machine.next_deadline()).await;
            let owner = self.known.borrow().node.as_ref().and_then(|node| node.metadata.uid.clone());
            let (now, wall) = (self.clock.now(), self.clock.wall());
            if let Some(call) = self.machine.next_call(now, wall, owner.as_deref()) {
                let answer = self.answer(call).await;
                if self.machine.on_answer(self.clock.now(), answer) > 1 {
                    self.nodes.reconnect();
                }
            }
        }
    }

    async fn answer(&self, call: LeaseCall) -> LeaseAnswer {
        let (doing, result): (_, ApiResult<Lease>) = match call {
            LeaseCall::Get => ("read", self.leases.get(&self.name).await),
            LeaseCall::Create(lease) => ("made", self.leases.create(&lease).await),
            LeaseCall::Update(lease) => ("renewed", self.leases.update(&lease).await),
        };
        match result {
            Ok(lease) => LeaseAnswer::Known(Box::new(lease)),
            Err(error) if error.is_not_found() => LeaseAnswer::NotFound,
            Err(error) if error.is_conflict() => LeaseAnswer::Conflict,
            Err(error) => {
                tracing::error!("the node's lease cannot be {doing}, and is tried again: {error}");
                LeaseAnswer::Failed
            }
        }
    }
}
