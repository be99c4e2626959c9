//! A private D-Bus, for what the kubelet says to systemd.
//!
//! Guarantees: it lies in the given folder and serves whoever may enter that; it ends with the value.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    parts,
    process::{Program, Running},
    wait,
};

/// How long the bus may take until its socket is there.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running bus.
#[derive(Debug)]
pub struct Bus {
    dir: PathBuf,
    running: Option<Running>,
}

impl Bus {
    /// Starts a bus that keeps its files in `dir`.
    pub fn start(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
        let mut bus = Self { dir: dir.to_owned(), running: None };
        fs::write(dir.join("bus.conf"), config(&bus.address())).context("the configuration of the bus")?;
        bus.run()?;
        Ok(bus)
    }

    /// The address, as `DBUS_SYSTEM_BUS_ADDRESS` takes it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix:path={}", self.socket().display())
    }

    /// Ends the bus and with it all connections, and starts it anew.
    pub fn restart(&mut self) -> Result<()> {
        self.running.take().context("the bus does not run")?.kill()?;
        self.run()
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("bus.sock")
    }

    fn run(&mut self) -> Result<()> {
        // A bus that was killed leaves its socket behind.
        fs::remove_file(self.socket()).ok();
        let mut running = Running::start(&Program {
            file: parts::dbus_daemon()?,
            args: vec![
                format!("--config-file={}", self.dir.join("bus.conf").display()),
                "--nofork".to_owned(),
                "--nopidfile".to_owned(),
            ],
            env: Vec::new(),
            log: self.dir.join("bus.log"),
        })?;
        wait::until("the bus to listen", START_LIMIT, || {
            running.still_runs()?;
            Ok(match std::os::unix::net::UnixStream::connect(self.socket()) {
                Ok(_) => wait::Look::Done(()),
                Err(error) => wait::Look::Waiting(error.to_string()),
            })
        })?;
        self.running = Some(running);
        Ok(())
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.running.take().map(Running::kill) {
            eprintln!("cannot end the bus: {error:#}");
        }
    }
}

/// Everybody may own every name and send everything, as on a bus between two programs of one test.
fn config(address: &str) -> String {
    format!(
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"\n \
         \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig>\n  <type>system</type>\n  \
         <listen>{address}</listen>\n  <auth>EXTERNAL</auth>\n  <policy context=\"default\">\n    <allow own=\"*\"/>\n    \
         <allow send_destination=\"*\"/>\n    <allow receive_sender=\"*\"/>\n    <allow user=\"*\"/>\n  </policy>\n</busconfig>\n"
    )
}
