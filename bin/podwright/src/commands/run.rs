//! `podwright run`: gives manifests to the agent and follows their pods until they are ready.
//!
//! Done when each pod is ready or has completed. Failed when one has failed or was removed. A pod that starts again and
//! again is waited for: its next start may be the good one, and the wait has an end.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use core_status::{Explanation, State};
use core_types::{PodExt, PodKey, PodUid};
use http::Method;
use ports::control::AppliedPod;

use crate::cli::RunOptions;
use crate::client::{Agent, WatchLine};
use crate::error::{self, CliError};
use crate::output;

/// Size of all manifests together; the agent takes no more.
const MAX_MANIFEST_BYTES: u64 = 10 << 20;
/// Files of a directory that are manifests.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

pub(crate) async fn execute(agent: &Agent, options: RunOptions) -> Result<ExitCode, CliError> {
    let manifests = read(&options.source)?;
    let answer = agent.send(Method::POST, "/v1/pods", manifests).await?;
    let applied: Vec<AppliedPod> = answer.json("POST /v1/pods").await?;
    for pod in &applied {
        output::print(&format!("pod {} {}\n", pod.key, pod.outcome))?;
    }
    if options.no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    let mut progress = Progress::new(&applied, Screen::of_stdout());
    let followed = tokio::time::timeout(options.timeout, follow(agent, &mut progress)).await;
    match followed {
        Ok(result) => result,
        Err(_elapsed) => {
            progress.screen.finish()?;
            Err(CliError::Timeout { after: options.timeout, state: progress.unfinished() })
        }
    }
}

async fn follow(agent: &Agent, progress: &mut Progress) -> Result<ExitCode, CliError> {
    let mut lines = agent.send(Method::GET, "/v1/watch", Bytes::new()).await?.lines();
    loop {
        if let Some(end) = progress.end() {
            progress.screen.finish()?;
            return Ok(end);
        }
        let Some(line) = lines.next::<WatchLine>().await? else {
            progress.screen.finish()?;
            return Err(CliError::Stream(
                "the agent has stopped; it goes on with the pods when it starts again".into(),
            ));
        };
        for report in line.pods {
            progress.see(&report.pod.uid(), report.explanation)?;
        }
        for uid in &line.removed {
            progress.gone(uid)?;
        }
    }
}

/// What is known of one pod.
enum Seen {
    /// The agent has not shown it yet.
    Nothing,
    /// Its state.
    State(Box<Explanation>),
    /// It was removed.
    Gone,
}

/// The pods of this run and what has been told of them.
pub(crate) struct Progress {
    pods: BTreeMap<PodUid, (PodKey, Seen)>,
    told: BTreeMap<PodUid, String>,
    pub(crate) screen: Screen,
}

impl Progress {
    pub(crate) fn new(applied: &[AppliedPod], screen: Screen) -> Self {
        let pods = applied.iter().map(|pod| (pod.uid.clone(), (pod.key.clone(), Seen::Nothing)));
        Self { pods: pods.collect(), told: BTreeMap::new(), screen }
    }

    /// Takes news of a pod and shows them.
    pub(crate) fn see(&mut self, uid: &PodUid, explanation: Explanation) -> io::Result<()> {
        let Some((key, seen)) = self.pods.get_mut(uid) else { return Ok(()) };
        let text = format!("{key}: {} - {}", explanation.state, explanation.cause_text);
        // Times in the text pass by themselves; only what is between them is news.
        let essence: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
        let is_news = self.told.get(uid) != Some(&essence);
        let is_final = is_done(&explanation) || is_failed(&explanation);
        self.told.insert(uid.clone(), essence);
        *seen = Seen::State(Box::new(explanation));
        self.screen.show(&text, is_news, is_final)
    }

    /// Takes the news that a pod is gone.
    pub(crate) fn gone(&mut self, uid: &PodUid) -> io::Result<()> {
        let Some((key, seen)) = self.pods.get_mut(uid) else { return Ok(()) };
        *seen = Seen::Gone;
        let text = format!("{key}: removed");
        self.screen.show(&text, true, true)
    }

    /// The exit code, once it is certain.
    pub(crate) fn end(&self) -> Option<ExitCode> {
        let mut all_done = true;
        for (_, seen) in self.pods.values() {
            match seen {
                Seen::Gone => return Some(ExitCode::from(error::FAILED)),
                Seen::State(explanation) if is_failed(explanation) => {
                    return Some(ExitCode::from(error::FAILED));
                }
                Seen::State(explanation) => all_done &= is_done(explanation),
                Seen::Nothing => all_done = false,
            }
        }
        all_done.then_some(ExitCode::SUCCESS)
    }

    /// What the unfinished pods wait for.
    pub(crate) fn unfinished(&self) -> String {
        let waiting = self.pods.values().filter_map(|(key, seen)| match seen {
            Seen::State(explanation) if is_done(explanation) => None,
            Seen::State(explanation) => {
                Some(format!("pod {key} is {}: {}", explanation.state, explanation.cause_text))
            }
            Seen::Nothing => Some(format!("pod {key} was not seen")),
            Seen::Gone => Some(format!("pod {key} was removed")),
        });
        waiting.collect::<Vec<_>>().join("; ") + "; the agent goes on with it"
    }
}

fn is_done(explanation: &Explanation) -> bool {
    matches!(explanation.state, State::Ready | State::Completed)
}

fn is_failed(explanation: &Explanation) -> bool {
    matches!(explanation.state, State::Failed | State::Stopped)
}

/// Where progress is shown: on a terminal the last line is replaced; elsewhere only news make a line.
pub(crate) struct Screen {
    out: Box<dyn Write>,
    is_terminal: bool,
    has_open_line: bool,
}

impl Screen {
    fn of_stdout() -> Self {
        Self { out: Box::new(io::stdout()), is_terminal: io::stdout().is_terminal(), has_open_line: false }
    }

    /// A screen on any writer, as it is used without a terminal.
    #[cfg(test)]
    pub(crate) fn plain(out: Box<dyn Write>) -> Self {
        Self { out, is_terminal: false, has_open_line: false }
    }

    fn show(&mut self, text: &str, is_news: bool, is_final: bool) -> io::Result<()> {
        if !self.is_terminal {
            return if is_news { writeln!(self.out, "{text}") } else { Ok(()) };
        }
        if self.has_open_line {
            write!(self.out, "\r\x1b[2K")?;
        }
        let width = crate::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        let shown: String = text.chars().take(width.saturating_sub(1)).collect();
        // A line that is cut would wrap and could not be replaced; what is final is shown whole and stays.
        if is_final {
            writeln!(self.out, "{text}")?
        } else {
            write!(self.out, "{shown}")?
        }
        self.has_open_line = !is_final;
        self.out.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.has_open_line) {
            writeln!(self.out)?;
        }
        self.out.flush()
    }
}

/// Reads a manifest file, a directory of them, or standard input.
pub(crate) fn read(source: &Path) -> Result<Bytes, CliError> {
    if source == Path::new("-") {
        let mut manifests = Vec::new();
        io::stdin().lock().take(MAX_MANIFEST_BYTES + 1).read_to_end(&mut manifests)?;
        return bounded("standard input", manifests);
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CliError::File { path, source }
    };
    if !source.is_dir() {
        return bounded(&source.display().to_string(), read_file(source).map_err(failed(source))?);
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(source).map_err(failed(source))? {
        let path = entry.map_err(failed(source))?.path();
        let is_manifest =
            path.extension().and_then(|end| end.to_str()).is_some_and(|end| EXTENSIONS.contains(&end));
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_manifest && !is_hidden && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        let source = source.display();
        return Err(CliError::Manifest(format!("{source} holds no manifest (*.yaml, *.yml, *.json)")));
    }
    files.sort();
    let mut manifests = Vec::new();
    for path in files {
        manifests.extend_from_slice(&read_file(&path).map_err(failed(&path))?);
        manifests.extend_from_slice(b"\n---\n");
    }
    bounded(&source.display().to_string(), manifests)
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::open(path)?.take(MAX_MANIFEST_BYTES + 1).read_to_end(&mut content)?;
    Ok(content)
}

fn bounded(source: &str, manifests: Vec<u8>) -> Result<Bytes, CliError> {
    if manifests.len() as u64 > MAX_MANIFEST_BYTES {
        return Err(CliError::Manifest(format!("{source} is larger than {} MiB", MAX_MANIFEST_BYTES >> 20)));
    }
    if manifests.iter().all(u8::is_ascii_whitespace) {
        return Err(CliError::Manifest(format!("{source} is empty")));
    }
    Ok(manifests.into())
}
