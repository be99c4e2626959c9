//! The server's side of a WebSocket handshake, and which kind of stream a WebSocket request wants.

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use super::{StreamError, is_upgrade};
use crate::body::{Body, text};

/// Remote commands in channels, one of which can end before the others.
pub(super) const V5: &str = "v5.channel.k8s.io";
/// What stands before the protocol of a tunnel.
pub(super) const TUNNEL_PREFIX: &str = "SPDY/3.1+";
/// What every protocol of a tunnel ends with.
const TUNNEL_SUFFIX: &str = ".k8s.io";
/// Largest message of a client. Clients send what they have read in pieces of 32 KiB; a larger message ends the stream.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Buffers of one connection: more would only lie idle on a thousand quiet connections.
const BUFFER_BYTES: usize = 16 * 1024;
/// Largest message to a client; more is sent in several.
pub(super) const MAX_SENT_BYTES: usize = 32 * 1024;
/// What may wait to be written: each message is flushed before the next is taken, so this is one message and control frames.
const MAX_UNSENT_BYTES: usize = 4 * MAX_SENT_BYTES;

/// A client's WebSocket.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The end of a stream that went as it should. Clients take an end without this code for a broken connection, and what they have
/// read last for incomplete.
pub(super) fn end() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// True when the request wants a WebSocket.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    upgrade.eq_ignore_ascii_case("websocket") && is_upgrade(headers)
}

/// True when the request wants a remote command whose channels the kubelet ends (`v5.channel.k8s.io`).
pub(crate) fn asks_to_translate(headers: &HeaderMap) -> bool {
    is_websocket(headers) && offers(headers).any(|name| name == V5)
}

/// True when the request wants SPDY inside a WebSocket (`SPDY/3.1+portforward.k8s.io`).
pub(crate) fn asks_to_tunnel(headers: &HeaderMap) -> bool {
    is_websocket(headers) && tunnels(headers).next().is_some()
}

/// The protocols of the tunnels that the client offers.
pub(super) fn tunnels(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    offers(headers)
        .filter_map(|name| name.strip_prefix(TUNNEL_PREFIX))
        .filter(|name| name.ends_with(TUNNEL_SUFFIX))
}

fn offers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim)
}

/// Accepts the request with one of the protocols it offers.
pub(super) fn accept(
    request: Request<Incoming>,
    protocol: &str,
) -> Result<(Response<Body>, Accepted), StreamError> {
    let headers = request.headers();
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(StreamError::Handshake("Sec-WebSocket-Version must be 13"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let key = key.ok_or(StreamError::Handshake("Sec-WebSocket-Key is missing"))?;
    let accepted = derive_accept_key(key.as_bytes());
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, bytes::Bytes::new());
    let headers = response.headers_mut();
    headers.clear();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let not_text = |_| StreamError::Handshake("the protocol is no text");
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&accepted).map_err(not_text)?);
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(protocol).map_err(not_text)?);
    Ok((response, Accepted(hyper::upgrade::on(request))))
}

/// A WebSocket that opens when its answer has been sent.
pub(super) struct Accepted(OnUpgrade);

impl Accepted {
    /// The open WebSocket; `None` when the client went away before.
    pub(super) async fn open(self) -> Option<Socket> {
        let upgraded = match self.0.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "a WebSocket was not taken up");
                return None;
            }
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .max_write_buffer_size(MAX_UNSENT_BYTES)
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        Some(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(upgrade: &'static str, protocols: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static(upgrade));
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocols));
        headers
    }

    #[test]
    fn the_protocol_decides_what_becomes_of_a_web_socket() {
        // Upgrade, protocols offered, whether it is translated, the protocols of its tunnels.
        let table: [(&str, &str, bool, &[&str]); 8] = [
            ("websocket", "v5.channel.k8s.io", true, &[]),
            ("WebSocket", "v4.channel.k8s.io, v5.channel.k8s.io", true, &[]),
            ("websocket", "v4.channel.k8s.io", false, &[]),
            ("websocket", "v4.base64.channel.k8s.io", false, &[]),
            ("websocket", "SPDY/3.1+portforward.k8s.io", false, &["portforward.k8s.io"]),
            ("websocket", "SPDY/3.1+other", false, &[]),
            ("SPDY/3.1", "v5.channel.k8s.io", false, &[]),
            ("SPDY/3.1", "SPDY/3.1+portforward.k8s.io", false, &["portforward.k8s.io"]),
        ];
        for (upgrade, protocols, translated, inside) in table {
            let headers = headers(upgrade, protocols);
            let is_web_socket = upgrade.eq_ignore_ascii_case("websocket");
            assert_eq!(is_websocket(&headers), is_web_socket, "{upgrade} {protocols}");
            assert_eq!(asks_to_translate(&headers), translated, "{upgrade} {protocols}");
            assert_eq!(
                asks_to_tunnel(&headers),
                is_web_socket && !inside.is_empty(),
                "{upgrade} {protocols}"
            );
            assert_eq!(tunnels(&headers).collect::<Vec<_>>(), inside, "{upgrade} {protocols}");
        }
    }
}
