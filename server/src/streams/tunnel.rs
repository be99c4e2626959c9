//! Port-forward over WebSocket: messages hold the bytes of a SPDY connection, which the runtime speaks itself
//! (`SPDY/3.1+portforward.k8s.io`).
//!
//! The runtime is asked first, so that its refusal reaches the client as an ordinary answer.

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use super::runtime::{Asking, Target};
use super::splice::Activity;
use super::websocket::{self, MAX_SENT_BYTES, Socket, TUNNEL_PREFIX, accept, tunnels};
use super::{STREAM_PROTOCOL, StreamError, Streams, refusal};
use crate::body::Body;

impl Streams {
    /// Connects the client's WebSocket with the SPDY connection at `url`.
    pub(crate) async fn tunnel(
        &self,
        request: Request<Incoming>,
        url: &str,
    ) -> Result<Response<Body>, StreamError> {
        let slot = self.slot()?;
        let asking = Asking::spdy(tunnels(request.headers()));
        let answer = Target::parse(url)?.ask(asking, &self.tasks).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return refusal(answer).await;
        }
        let chosen = answer.headers().get(STREAM_PROTOCOL).and_then(|value| value.to_str().ok());
        let protocol = format!("{TUNNEL_PREFIX}{}", chosen.unwrap_or_default());
        let (response, accepted) = accept(request, &protocol)?;
        let runtime = hyper::upgrade::on(answer);
        let activity = Activity::new(self.idle_limit);
        self.tasks.spawn(async move {
            let _slot = slot;
            let (Some(socket), runtime) = tokio::join!(accepted.open(), runtime) else { return };
            match runtime {
                Ok(runtime) => carry(socket, TokioIo::new(runtime), &activity).await,
                Err(error) => tracing::debug!(%error, "a tunnel was not taken up"),
            }
        });
        Ok(response)
    }
}

async fn carry(socket: Socket, runtime: impl AsyncRead + AsyncWrite, activity: &Activity) {
    let (from_runtime, to_runtime) = tokio::io::split(runtime);
    let (sink, source) = socket.split();
    tokio::select! {
        () = from_client(source, to_runtime, activity) => {}
        () = to_client(from_runtime, sink, activity) => {}
        () = activity.idle() => {}
    }
}

async fn from_client(
    mut source: SplitStream<Socket>,
    mut to_runtime: impl AsyncWrite + Unpin,
    activity: &Activity,
) {
    while let Some(Ok(message)) = source.next().await {
        let data = match message {
            Message::Binary(data) => data,
            Message::Close(_) | Message::Text(_) => return,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        activity.touch();
        if to_runtime.write_all(&data).await.is_err() || to_runtime.flush().await.is_err() {
            return;
        }
    }
}

async fn to_client(
    mut from_runtime: impl AsyncRead + Unpin,
    mut sink: SplitSink<Socket, Message>,
    activity: &Activity,
) {
    let mut data = vec![0; MAX_SENT_BYTES];
    while let Ok(count @ 1..) = from_runtime.read(&mut data).await {
        activity.touch();
        if sink.send(Message::binary(data[..count].to_vec())).await.is_err() {
            return;
        }
    }
    // The client may have gone already.
    let _ = sink.send(websocket::end()).await;
}
