//! A real image registry on loopback, for pull, sign-in and back-off tests.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    Containerd, Parts,
    free_port::free_port,
    http,
    process::{Program, Running},
    wait,
};

/// How long the registry may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to leave.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The user name that a registry with sign-in knows.
pub const USER: &str = "puller";
/// That user's password.
pub const PASSWORD: &str = "open-sesame";
/// The same as bcrypt, the only form that the registry takes.
const PASSWORD_BCRYPT: &str = "$2y$05$podwrightpodwrightpoOOibrLylYXdA6ybUYKZqN4IyCcHRX5kNK";

/// Who may use a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Who signs in as [`USER`] with [`PASSWORD`].
    SignIn,
}

/// A running registry; dropping it stops it.
#[derive(Debug)]
pub struct Registry {
    host: String,
    access: Access,
    running: Option<Running>,
}

impl Registry {
    /// Starts a registry that keeps its images below `dir`.
    pub fn start(parts: &Parts, dir: &Path, access: Access) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
        let host = format!("127.0.0.1:{}", free_port()?);
        fs::write(dir.join("htpasswd"), format!("{USER}:{PASSWORD_BCRYPT}\n"))?;
        let config_file = dir.join("config.yml");
        fs::write(&config_file, config(&host, dir, access))?;
        let mut running = Running::start(&Program {
            file: parts.registry(),
            args: vec!["serve".to_owned(), config_file.display().to_string()],
            env: Vec::new(),
            log: dir.join("registry.log"),
        })?;
        wait::until("the registry to answer", START_LIMIT, || {
            running.still_runs()?;
            Ok(match http::get(&host, "/v2/") {
                Ok(_) => wait::Look::Done(()),
                Err(error) => wait::Look::Waiting(format!("{error:#}")),
            })
        })?;
        Ok(Self { host, access, running: Some(running) })
    }

    /// `127.0.0.1:<port>`, the first part of this registry's image names.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Pushes the image `local` of `containerd` as `<host>/<name>`, forgets it there again, and returns that name.
    pub fn push(&self, containerd: &Containerd, local: &str, name: &str) -> Result<String> {
        let remote = format!("{}/{name}", self.host);
        containerd.ctr(&["images", "tag", "--force", local, &remote])?;
        let user = format!("{USER}:{PASSWORD}");
        let mut args = vec!["images", "push", "--plain-http"];
        if self.access == Access::SignIn {
            args.extend(["--user", &user]);
        }
        args.push(&remote);
        containerd.ctr(&args)?;
        containerd.ctr(&["images", "remove", "--sync", &remote])?;
        containerd.allow_plain_registry(&self.host)?;
        Ok(remote)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.running.take().map(|running| running.stop(STOP_LIMIT)) {
            eprintln!("cannot stop the registry: {error:#}");
        }
    }
}

fn config(host: &str, dir: &Path, access: Access) -> String {
    let dir = dir.display();
    let auth = match access {
        Access::Open => String::new(),
        Access::SignIn => format!("auth:\n  htpasswd:\n    realm: podwright\n    path: {dir}/htpasswd\n"),
    };
    format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {dir}/data\nhttp:\n  addr: {host}\n{auth}"
    )
}
