//! The runtime's event stream (`GetContainerEvents`).
//!
//! A gRPC server in Go sends the first bytes of a streaming answer with the first event, so an idle runtime
//! that has accepted the call and a runtime that has not looked at it yet look the same. [`open`] therefore
//! asks `Version` on the same connection right after: its answer shows that the runtime works on requests,
//! and a refusal of the stream is then there or a moment away.

use std::time::Duration;

use core_types::runtime::RuntimeEvent;
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use ports::runtime::{RuntimeEvents, RuntimeResult};
use tonic::Status;

use crate::call::{Call, Deadline};
use crate::client::CriClient;
use crate::from_proto;
use crate::proto;

const EVENTS: Call = Call::new("GetContainerEvents", "get_container_events");

/// How much longer than the answer to `Version` a refusal may take.
const SETTLE: Duration = Duration::from_millis(100);

type Wire = stream::BoxStream<'static, Result<proto::ContainerEventResponse, Status>>;

/// Opens the stream. A refusal that comes late is the stream's first and last item.
pub(crate) async fn open(client: &CriClient) -> RuntimeResult<RuntimeEvents> {
    let wire = client.runtime_calls.measure(EVENTS, client.deadline(), start(client)).await?;
    Ok(Box::pin(read(client.clone(), wire)))
}

async fn start(client: &CriClient) -> RuntimeResult<Wire> {
    let mut service = client.runtime();
    let mut opening = Box::pin(async move { service.get_container_events(proto::GetEventsRequest {}).await });
    let mut service = client.runtime();
    let alive = async {
        service.version(proto::VersionRequest { version: String::new() }).await?;
        tokio::time::sleep(SETTLE).await;
        Ok::<_, Status>(())
    };
    let failed = |status: Status| client.runtime_calls.error(EVENTS, client.deadline(), &status);
    tokio::select! {
        biased;
        opened = &mut opening => Ok(opened.map_err(failed)?.into_inner().boxed()),
        alive = alive => {
            alive.map_err(failed)?;
            let opened = async { opening.await.map(|response| response.into_inner()) };
            Ok(stream::once(opened).try_flatten().boxed())
        }
    }
}

/// Translates until the stream ends or breaks. Kinds of events that are not known are passed over.
fn read(client: CriClient, wire: Wire) -> impl Stream<Item = RuntimeResult<RuntimeEvent>> + Send {
    stream::unfold(Some(wire), move |wire| {
        let calls = client.runtime_calls.clone();
        async move {
            let mut wire = wire?;
            loop {
                match wire.next().await? {
                    Ok(event) => {
                        if let Some(event) = from_proto::status::event(event) {
                            return Some((Ok(event), Some(wire)));
                        }
                    }
                    Err(status) => return Some((Err(calls.error(EVENTS, Deadline::Never, &status)), None)),
                }
            }
        }
    })
}
