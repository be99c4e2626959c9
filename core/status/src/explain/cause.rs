//! The causes of a pod's state, and their words.

use std::fmt;

use core_types::PodUid;
use serde::{Deserialize, Serialize};

use super::text::Span;

/// Why a pod is in its state. Durations are whole seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Cause {
    /// The container runtime does not answer.
    RuntimeDown {
        /// Its error.
        error: String,
    },
    /// The runtime has no working pod network.
    NetworkNotReady {
        /// The runtime's words.
        message: String,
    },
    /// Another pod has the name.
    SameName {
        /// UID of the other pod.
        other: PodUid,
    },
    /// Nothing has been done for it yet.
    NotStartedYet,
    /// The agent does something for it.
    Busy {
        /// What, in words.
        doing: String,
        /// Container concerned; empty for the pod.
        container: String,
        /// For how long.
        for_secs: u64,
    },
    /// An image is being pulled.
    PullingImage {
        /// Image.
        image: String,
        /// Container that needs it.
        container: String,
        /// For how long.
        for_secs: u64,
    },
    /// An image cannot be had.
    ImageUnavailable {
        /// Image.
        image: String,
        /// Container that needs it.
        container: String,
        /// CamelCase reason.
        reason: String,
        /// The runtime's or registry's words.
        message: String,
    },
    /// A container ended and is to start again.
    CrashLoop {
        /// Container.
        container: String,
        /// Exit code of its last end.
        exit_code: i32,
        /// CamelCase reason of its last end.
        reason: String,
        /// Its last words: termination message or end of its log.
        message: String,
        /// How often it was restarted.
        restarts: i32,
        /// Until its next start, when that is known.
        next_start_in_secs: Option<u64>,
        /// `liveness` or `startup` when the agent stopped it because that probe failed; empty when it ended by itself.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        stopped_for: String,
    },
    /// One container's end starts all of them anew.
    RestartingAll {
        /// The container.
        container: String,
    },
    /// The pod's specification cannot be turned into a container.
    ConfigError {
        /// Container.
        container: String,
        /// What is wrong.
        message: String,
    },
    /// The runtime cannot create or start a container.
    StartError {
        /// Container.
        container: String,
        /// CamelCase reason.
        reason: String,
        /// The runtime's words.
        message: String,
    },
    /// Something of the pod, not of one container, cannot be done.
    PodProblem {
        /// CamelCase reason.
        reason: String,
        /// What is wrong.
        message: String,
    },
    /// An init container does its work.
    Initializing {
        /// Container.
        container: String,
        /// How many init containers are done.
        done: usize,
        /// How many there are.
        of: usize,
    },
    /// A container runs, and a probe of it fails.
    ProbeFails {
        /// Container.
        container: String,
        /// Which probe.
        probe: ProbeWord,
        /// What came of it, in the probe's words.
        said: String,
        /// How often it was told to fail.
        times: u32,
    },
    /// Containers run and are not ready.
    NotReady {
        /// Containers.
        containers: Vec<String>,
    },
    /// Everything runs and is ready.
    Ready,
    /// Everything has ended well.
    Completed,
    /// A container has ended badly, and is not started again.
    Failed {
        /// Container; empty when it is not known.
        container: String,
        /// Exit code.
        exit_code: i32,
        /// CamelCase reason.
        reason: String,
        /// Its last words.
        message: String,
    },
    /// The pod as a whole was refused or ended by the node.
    Refused {
        /// CamelCase reason, e.g. `Evicted`.
        reason: String,
        /// Text for people.
        message: String,
    },
    /// It is being stopped.
    Terminating {
        /// What is left of its grace period, when that is known.
        grace_left_secs: Option<u64>,
    },
    /// It was stopped.
    Stopped,
    /// The runtime holds it, and no source names it.
    Unwanted,
}

/// A kind of probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProbeWord {
    /// Decides about traffic.
    Readiness,
    /// Decides about restarts.
    Liveness,
    /// The others wait for it.
    Startup,
}

impl ProbeWord {
    /// The kind that an event's text begins with, and the rest of the text.
    pub(super) fn split(text: &str) -> Option<(Self, &str)> {
        [(Self::Readiness, "Readiness"), (Self::Liveness, "Liveness"), (Self::Startup, "Startup")]
            .into_iter()
            .find_map(|(word, name)| Some((word, text.strip_prefix(name)?.strip_prefix(" probe ")?)))
    }
}

impl fmt::Display for ProbeWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
            Self::Startup => "startup",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RuntimeDown { error } => write!(f, "the container runtime does not answer: {error}"),
            Self::NetworkNotReady { message } => {
                write!(f, "the pod network is not ready: {}", Words(message))
            }
            Self::SameName { other } => {
                write!(f, "another pod of the same name (UID {other}) must be gone first")
            }
            Self::NotStartedYet => f.write_str("it is known, and its start has not begun"),
            Self::Busy { doing, container, for_secs } => {
                write!(f, "{doing}{} for {}", Of(container), Span(*for_secs))
            }
            Self::PullingImage { image, container, for_secs } => {
                write!(f, "pulling image {image}{} for {}", Of(container), Span(*for_secs))
            }
            Self::ImageUnavailable { image, container, reason, message } => {
                write!(f, "image {image}{} cannot be had ({reason}): {}", Of(container), Words(message))
            }
            Self::CrashLoop { .. } => self.crash_loop(f),
            Self::ConfigError { container, message } => {
                write!(f, "container {container} cannot be made from its specification: {}", Words(message))
            }
            Self::StartError { container, reason, message } => {
                write!(f, "container {container} cannot be started ({reason}): {}", Words(message))
            }
            Self::PodProblem { reason, message } => write!(f, "{} ({reason})", Words(message)),
            Self::Initializing { container, done, of } => {
                write!(f, "init container {container} runs; {done} of {of} are done")
            }
            Self::RestartingAll { container } => {
                write!(
                    f,
                    "container {container} is restarted with all others, as a restart rule of the pod demands"
                )
            }
            Self::ProbeFails { container, probe, said, times } => {
                let times = if *times > 1 { format!(" ({times} times)") } else { String::new() };
                write!(f, "the {probe} probe of container {container} fails{times}: {}", Words(said))
            }
            Self::NotReady { containers } => {
                write!(f, "not ready: {}", containers.join(", "))
            }
            Self::Ready => f.write_str("every container runs and is ready"),
            Self::Completed => f.write_str("every container has ended with exit code 0"),
            Self::Failed { container, exit_code, reason, message } => {
                if container.is_empty() {
                    return f.write_str("it has failed; which container did is not known any more");
                }
                write!(f, "container {container} {} and is not restarted", End(*exit_code, reason))?;
                last_words(f, message)
            }
            Self::Refused { reason, message } => write!(f, "{reason}: {}", Words(message)),
            Self::Terminating { grace_left_secs } => match grace_left_secs {
                Some(0) => f.write_str("it is being stopped, and its grace period is over"),
                Some(secs) => write!(f, "it is being stopped; {} of its grace period are left", Span(*secs)),
                None => f.write_str("it is being stopped"),
            },
            Self::Stopped => f.write_str("it was stopped, and what it used is being released"),
            Self::Unwanted => {
                f.write_str("no manifest and no source names it (any more), so it is being removed")
            }
        }
    }
}

impl Cause {
    /// How a container ended that is started again and again, and when it is started next.
    fn crash_loop(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::CrashLoop {
            container,
            exit_code,
            reason,
            message,
            restarts,
            next_start_in_secs,
            stopped_for,
        } = self
        else {
            return Ok(());
        };
        match stopped_for.as_str() {
            "" => write!(f, "container {container} {}", End(*exit_code, reason))?,
            probe => write!(
                f,
                "container {container} was stopped because its {probe} probe failed (exit code {exit_code})"
            )?,
        }
        match restarts {
            0 => {}
            1 => f.write_str(" and was restarted once")?,
            times => write!(f, " and was restarted {times} times")?,
        }
        match next_start_in_secs {
            Some(0) => f.write_str("; it starts again now")?,
            Some(secs) => write!(f, "; it starts again in {}", Span(*secs))?,
            None => {}
        }
        last_words(f, message)
    }
}

fn last_words(f: &mut fmt::Formatter<'_>, message: &str) -> fmt::Result {
    let message = message.trim();
    if message.is_empty() { Ok(()) } else { write!(f, "; its last words: {message}") }
}

/// ` for container NAME`, or nothing.
struct Of<'a>(&'a str);

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " for container {}", self.0) }
    }
}

/// How a container ended.
struct End<'a>(i32, &'a str);

impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (code, "OOMKilled") => {
                write!(f, "was killed because it used more memory than its limit (exit code {code})")
            }
            (code, "ContainerStatusUnknown") => {
                write!(f, "is gone, and the runtime does not know how it ended (taken as exit code {code})")
            }
            (code, "ContainerCannotRun" | "StartError") => write!(f, "could not be run (exit code {code})"),
            (code, "") => write!(f, "ended with exit code {code}"),
            (code, reason) => write!(f, "ended with exit code {code} ({reason})"),
        }
    }
}

/// A message of others, or a stand-in where they gave none.
struct Words<'a>(&'a str);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.trim().is_empty() { "no reason was given" } else { self.0.trim() })
    }
}
