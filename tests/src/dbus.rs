//! A program of its own on a private D-Bus, for what stands in for daemons there.

use lab::Bus;
use zbus::{Connection, connection};

/// A place on a bus, which survives that the bus is started anew.
#[derive(Debug)]
pub(crate) struct Place {
    runtime: tokio::runtime::Runtime,
    address: String,
    connection: Option<Connection>,
}

impl Place {
    pub(crate) fn new(bus: &Bus) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { runtime, address: bus.address(), connection: None }
    }

    /// Takes the place with the objects and names that `serve` adds.
    #[track_caller]
    pub(crate) fn take(
        &mut self,
        serve: impl for<'a> FnOnce(connection::Builder<'a>) -> connection::Builder<'a>,
    ) {
        let building = serve(connection::Builder::address(self.address.as_str())).build();
        self.connection = Some(self.runtime.block_on(building).unwrap());
    }

    /// The connection of who has taken the place.
    #[track_caller]
    pub(crate) fn connection(&self) -> &Connection {
        self.connection.as_ref().unwrap()
    }

    /// A connection of somebody who serves nothing.
    #[track_caller]
    pub(crate) fn stranger(&self) -> Connection {
        self.wait(connection::Builder::address(self.address.as_str()).build()).unwrap()
    }

    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}
