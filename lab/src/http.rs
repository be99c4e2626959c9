//! One blocking HTTP GET over plain TCP, enough for 10248, 10255 and a pod's page.
//!
//! Leaves out TLS, redirects and connection reuse.

use std::{
    io::{Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    time::Duration,
};

use anyhow::{Context as _, Result};

/// How long connecting, and each read or write, may take.
const LIMIT: Duration = Duration::from_secs(5);

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The header lines as sent, without the status line.
    pub headers: String,
    /// The body with any chunking undone.
    pub body: String,
}

/// GETs `path` from `address` (`host:port`).
pub fn get(address: &str, path: &str) -> Result<Reply> {
    let asked = || format!("GET http://{address}{path}");
    let target = address.to_socket_addrs()?.next().with_context(|| format!("no address for {address}"))?;
    let mut stream = TcpStream::connect_timeout(&target, LIMIT).with_context(asked)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
        .with_context(asked)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).with_context(asked)?;
    parse(&bytes).with_context(asked)
}

fn parse(bytes: &[u8]) -> Result<Reply> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").context("the reply has no header end")?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let (first, headers) = head.split_once("\r\n").unwrap_or((&head, ""));
    let status =
        first.split(' ').nth(1).and_then(|code| code.parse().ok()).context("the reply has no status")?;
    let rest = &bytes[end + 4..];
    let chunked = headers.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(rest)? } else { rest.to_vec() };
    Ok(Reply { status, headers: headers.to_owned(), body: String::from_utf8_lossy(&body).into_owned() })
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").context("a chunk without its size")?;
        let size = std::str::from_utf8(&rest[..end])?.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size.trim(), 16).context("a chunk size that is no number")?;
        if size == 0 {
            return Ok(body);
        }
        let data = rest.get(end + 2..end + 2 + size).context("a chunk cut short")?;
        body.extend_from_slice(data);
        rest = rest.get(end + 2 + size + 2..).context("a chunk cut short")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_plain_and_chunked() {
        let plain = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("plain");
        assert_eq!((plain.status, plain.body.as_str()), (200, "ok"));
        let chunked =
            parse(b"HTTP/1.1 404 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n1;x=y\r\n!\r\n0\r\n\r\n");
        let chunked = chunked.expect("chunked");
        assert_eq!((chunked.status, chunked.body.as_str()), (404, "no!"));
    }

    #[test]
    fn broken_replies_are_errors() {
        for broken in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"nonsense\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nx",
        ] {
            assert!(parse(broken).is_err(), "{broken:?}");
        }
    }
}
