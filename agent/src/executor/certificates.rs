//! Certificates that a pod's volumes show: asked for, looked at, renewed (CONTRACT 6.12). Which of it is due, the machine says.

use std::collections::BTreeMap;

use core_certificates::pod::{
    KeyType, MAX_JITTER, Next, NoBundle, PodBundle, PodCertificate, PodCertificateAsk,
};
use core_types::api::Pod;

use super::Executor;
use super::context::Op;
use crate::events::Happening;
use crate::outside::Cluster;

impl Executor {
    /// The certificates that the pod's volumes show. The operation comes back when there is more to do.
    pub(super) async fn certificates(
        &self,
        op: &mut Op,
        pod: &Pod,
    ) -> BTreeMap<PodCertificateAsk, Result<PodBundle, NoBundle>> {
        let Some(cluster) = self.outside.cluster.clone() else { return BTreeMap::new() };
        let mut shown = BTreeMap::new();
        for ask in core_volumes::certificate_asks(pod) {
            let mut certificate = op.memory.certificates.remove(&ask).unwrap_or_default();
            let problem = advance(op, &cluster, &ask, &mut certificate).await.err();
            for news in certificate.overdue(op.now().wall) {
                op.happened(Happening::warning(news.reason, news.message)).await;
            }
            if let Some(at) = certificate.again_at(op.now().wall) {
                op.again_at_wall(at);
            }
            let bundle = match (certificate.bundle(), problem) {
                (Err(NoBundle::NotYet), Some(problem)) => Err(NoBundle::Unavailable(problem)),
                (bundle, problem) => {
                    if let Some(problem) = problem {
                        tracing::warn!(pod = %op.key, volume = ask.volume, problem, "a certificate of a pod is not renewed yet");
                    }
                    bundle
                }
            };
            op.memory.certificates.insert(ask.clone(), certificate);
            shown.insert(ask, bundle);
        }
        // What no volume asks for any more is not kept.
        op.memory.certificates.retain(|ask, _| shown.contains_key(ask));
        shown
    }
}

/// Does what is due, and then looks at once what became of it: many signers answer within the moment.
async fn advance(
    op: &Op,
    cluster: &Cluster,
    ask: &PodCertificateAsk,
    certificate: &mut PodCertificate,
) -> Result<(), String> {
    if certificate.next(op.now().wall) == Next::Ask {
        let key_type = KeyType::parse(&ask.key_type);
        let key_type = key_type.ok_or_else(|| format!("unknown key type {:?}", ask.key_type))?;
        let key = cluster.pod_keys.new_key(key_type).await?;
        let name = cluster.pod_certificates.create(ask, key.request_der).await;
        let name = name.map_err(|error| format!("while creating PodCertificateRequest: {error}"))?;
        certificate.asked(name, key.key_pem, op.now().wall);
    }
    let Next::Look(name) = certificate.next(op.now().wall) else { return Ok(()) };
    let state = cluster.pod_certificates.look(&ask.pod.namespace, &name).await;
    let state = state.map_err(|error| format!("while getting PodCertificateRequest {name}: {error}"))?;
    if let Some(news) = certificate.seen(state, MAX_JITTER.mul_f64(fastrand::f64())) {
        op.happened(Happening::warning(news.reason, news.message)).await;
    }
    Ok(())
}
