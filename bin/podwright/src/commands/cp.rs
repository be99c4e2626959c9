//! `podwright cp`: files from a container and into one, as an archive that `tar` in the container writes or reads.
//!
//! ```text
//! from: exec tar cf -  -> stdout -> pipe -> extract, on a thread      to: pack, on a thread -> pipe -> stdin -> exec tar xf -
//! ```
//! The archive goes through a pipe, so its size does not matter. What a container sends is not trusted: see [`extract`].

mod extract;
mod pack;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use core_spdy::Wanted;
use core_types::PodExt;
use tokio::net::unix::pipe;

use crate::cli::CpOptions;
use crate::client::{Agent, StreamProtocol};
use crate::error::CliError;
use crate::pods;
use crate::session::{self, Ends};

/// One side of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A path of this machine.
    Here(PathBuf),
    /// A path in a container of this pod.
    Pod {
        /// Name, or namespace and name.
        pod: String,
        /// Path in the container.
        path: PathBuf,
    },
}

impl Place {
    /// Reads `POD:PATH`, `NAMESPACE/POD:PATH`, or a path of this machine. What begins with `/` or `.` is a path.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((pod, path)) if !text.starts_with(['/', '.']) => {
                if pod.is_empty() || path.is_empty() {
                    return Err(format!("{text:?} must be a path, or POD:PATH"));
                }
                Ok(Self::Pod { pod: pod.to_owned(), path: PathBuf::from(path) })
            }
            _ if text.is_empty() => Err("a path must not be empty".to_owned()),
            _ => Ok(Self::Here(PathBuf::from(text))),
        }
    }
}

pub(crate) async fn execute(agent: &Agent, options: CpOptions) -> Result<ExitCode, CliError> {
    let container = options.container.as_deref();
    match (options.source, options.target) {
        (Place::Pod { pod, path }, Place::Here(target)) => {
            Remote::find(agent, &pod, container).await?.copy_from(&path, &target).await?;
        }
        (Place::Here(source), Place::Pod { pod, path }) => {
            Remote::find(agent, &pod, container).await?.copy_to(&source, &path).await?;
        }
        (Place::Pod { .. }, Place::Pod { .. }) | (Place::Here(_), Place::Here(_)) => {
            let message = "one of source and target must be in a pod (POD:PATH), the other on this machine";
            return Err(CliError::Manifest(message.to_owned()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The container.
struct Remote<'a> {
    agent: &'a Agent,
    /// `namespace/pod/container`.
    path: String,
}

impl<'a> Remote<'a> {
    async fn find(agent: &'a Agent, pod: &str, container: Option<&str>) -> Result<Self, CliError> {
        let all = agent.pods().await?;
        let report = pods::resolve(&all, pod)?;
        let container = pods::container(report, container)?;
        container.tell_if_guessed();
        Ok(Self { agent, path: format!("{}/{}", report.pod.key(), container.name) })
    }

    /// Into the target if it is a directory, else as the target.
    async fn copy_from(&self, source: &Path, target: &Path) -> Result<(), CliError> {
        let (parent, name) = split(source)?;
        let (directory, new_name) = match target.is_dir() {
            true => (target.to_owned(), PathBuf::from(&name)),
            false => {
                let (directory, new_name) = split(target)?;
                (directory, PathBuf::from(new_name))
            }
        };
        let (reader, writer) = io::pipe()?;
        let root = name.clone();
        let extracting =
            tokio::task::spawn_blocking(move || extract::extract(reader, &directory, &root, &new_name));
        let writer = pipe::Sender::from_owned_fd(OwnedFd::from(writer))?;
        let command = ["tar", "cf", "-", "-C", &text(&parent)?, &format!("./{name}")];
        let sent = self.run(&command, tokio::io::empty(), writer).await;
        // What was taken in tells more than that nobody took the rest.
        extracting.await.map_err(|error| CliError::Stream(error.to_string()))??;
        check("tar", sent?)
    }

    /// Into the target if it is a directory of the container, else as the target.
    async fn copy_to(&self, source: &Path, target: &Path) -> Result<(), CliError> {
        let (_, name) = split(source)?;
        std::fs::symlink_metadata(source)
            .map_err(|error| CliError::File { path: source.to_owned(), source: error })?;
        let is_directory =
            self.run(&["test", "-d", &text(target)?], tokio::io::empty(), tokio::io::sink()).await;
        let (directory, new_name) = match is_directory {
            Ok(0) => (target.to_owned(), name),
            Ok(_) | Err(CliError::Refused(_)) => split(target)?,
            Err(error) => return Err(error),
        };
        let (reader, writer) = io::pipe()?;
        let packed = source.to_owned();
        let packing = tokio::task::spawn_blocking(move || pack::pack(writer, &packed, &new_name));
        let reader = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
        let sent =
            self.run(&["tar", "xmof", "-", "-C", &text(&directory)?], reader, tokio::io::stdout()).await;
        let packed = packing.await.map_err(|error| CliError::Stream(error.to_string()))?;
        // A tar that gave up explains why packing did.
        check("tar", sent?)?;
        packed
    }

    /// Runs a command in the container, and gives its exit code. Its standard error is ours.
    async fn run(
        &self,
        command: &[&str],
        stdin: impl tokio::io::AsyncRead + Unpin,
        stdout: impl tokio::io::AsyncWrite + Unpin,
    ) -> Result<u8, CliError> {
        let wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: false };
        let path = format!("/v1/exec/{}?{}", self.path, session::command_query(command, wanted));
        let connection = self.agent.open_stream(&path, StreamProtocol::Command).await?;
        session::run(connection, wanted, Ends { stdin, stdout, stderr: tokio::io::stderr() }).await
    }
}

fn check(command: &str, code: u8) -> Result<(), CliError> {
    match code {
        0 => Ok(()),
        code => Err(CliError::Refused(format!("{command} in the container ended with exit code {code}"))),
    }
}

/// Directory and last name of a path. The root is the name `.` of itself.
fn split(path: &Path) -> Result<(PathBuf, String), CliError> {
    let clean: PathBuf = path.components().collect();
    match clean.components().next_back() {
        Some(Component::Normal(name)) => {
            let parent = clean.parent().filter(|parent| !parent.as_os_str().is_empty());
            Ok((parent.unwrap_or(Path::new(".")).to_owned(), text(Path::new(name))?))
        }
        Some(Component::RootDir | Component::CurDir) => Ok((clean, ".".to_owned())),
        _ => Err(CliError::Manifest(format!("{}: the path must end with a name", path.display()))),
    }
}

fn text(path: &Path) -> Result<String, CliError> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| CliError::Manifest(format!("{}: the path is no UTF-8 text", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_paths_or_paths_in_pods() {
        let pod = |pod: &str, path: &str| Place::Pod { pod: pod.into(), path: path.into() };
        let table = [
            ("web:/etc/hosts", pod("web", "/etc/hosts")),
            ("ns/web:data", pod("ns/web", "data")),
            ("web:a:b", pod("web", "a:b")),
            ("./a:b", Place::Here("./a:b".into())),
            ("/a:b", Place::Here("/a:b".into())),
            ("a/b", Place::Here("a/b".into())),
        ];
        for (text, want) in table {
            assert_eq!(Place::parse(text), Ok(want), "{text}");
        }
        for bad in ["", ":/a", "web:"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_has_a_directory_and_a_name() {
        let table =
            [("/a/b", "/a", "b"), ("/a/b/", "/a", "b"), ("a", ".", "a"), ("/", "/", "."), (".", ".", ".")];
        for (path, directory, name) in table {
            assert_eq!(split(Path::new(path)).expect("split"), (directory.into(), name.into()), "{path}");
        }
        for bad in ["..", "/a/..", ""] {
            assert!(split(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
