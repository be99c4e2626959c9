//! A door in front of a server on loopback: while it is shut, connections wait before it; it counts them. Tests use it to
//! hold pulls in flight without any sleep.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};

/// What the door knows.
#[derive(Debug, Default)]
struct State {
    open: bool,
    ended: bool,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until the door is open; false when it is taken away instead.
    fn pass(&self) -> bool {
        let mut state = self.lock();
        state.waiting += 1;
        let mut state = self
            .changed
            .wait_while(state, |state| !state.open && !state.ended)
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        !state.ended
    }
}

/// A shut door that can be opened; dropping it ends everything behind it.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Gate {
    /// A shut door before `target` (`host:port`).
    pub fn before(target: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no free port on loopback")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let (behind, target) = (Arc::clone(&shared), target.to_owned());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), false) = (client, behind.lock().ended) else { return };
                let (shared, target) = (Arc::clone(&behind), target.clone());
                thread::spawn(move || {
                    if shared.pass() {
                        // A side that goes away ends the other; there is nobody to tell.
                        let _ = join(&client, &target);
                    }
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// `127.0.0.1:<port>` of the door.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Connections that wait before it now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.lock().waiting
    }

    /// Opens it.
    pub fn open(&self) {
        self.shared.change(|state| state.open = true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shared.change(|state| state.ended = true);
        // Wakes the listener, so that its thread sees the end.
        let _ = TcpStream::connect(self.address);
    }
}

/// Passes bytes both ways until both sides are done.
fn join(client: &TcpStream, target: &str) -> io::Result<()> {
    let server = TcpStream::connect(target)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let forth = thread::spawn(move || {
        let copied = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
        copied
    });
    let (mut from_server, mut to_client) = (&server, client);
    io::copy(&mut from_server, &mut to_client)?;
    client.shutdown(Shutdown::Both)?;
    let _ = forth.join();
    Ok(())
}
