//! Ports for servers that are told where to listen.
//!
//! Reads the machine's sockets. Guarantees that a port is given once by a process, and that it lies below those that the kernel
//! gives to connections, so that none of them takes it before the server listens.

use std::{
    net::TcpListener,
    ops::Range,
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Context as _, Result};

const PORTS: Range<u16> = 10_000..30_000;

/// How far apart processes begin, so that those that run at the same time seldom meet.
const STRIDE: u32 = 97;

/// A TCP port that nobody listens on at this moment on any address.
pub(crate) fn free_port() -> Result<u16> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    let begin = std::process::id().wrapping_mul(STRIDE) % u32::from(count);
    let candidates = std::iter::repeat_with(|| {
        let given = u32::from(GIVEN.fetch_add(1, Ordering::Relaxed));
        PORTS.start + ((begin + given) % u32::from(count)) as u16
    });
    let is_free = |port: &u16| TcpListener::bind(("0.0.0.0", *port)).is_ok();
    candidates.take(usize::from(count)).find(is_free).context("no free TCP port from 10000 to 29999")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_nor_one_that_is_taken() {
        let first = free_port().unwrap();
        let taken = (first + 1..).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).unwrap();
        let taken_port = taken.local_addr().unwrap().port();
        let more: Vec<u16> = (0..100).map(|_| free_port().unwrap()).collect();
        drop(taken);
        assert!(
            more.iter().all(|port| PORTS.contains(port) && ![first, taken_port].contains(port)),
            "{more:?}"
        );
        assert!(more.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
