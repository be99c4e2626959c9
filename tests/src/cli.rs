//! Typing `podwright` commands.

use std::{
    io::{Read as _, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use lab::{Agent, agent::own_program, wait::Stopwatch};
use serde_json::Value;

use crate::eventually;

/// How long one command may take before it is killed: longer than any wait inside it.
const LIMIT: Duration = Duration::from_secs(90);

/// `podwright` with the socket of one agent.
#[derive(Clone, Debug)]
pub struct Podwright {
    socket: PathBuf,
}

/// What a command printed and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// The standard output of a command that has to succeed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// The standard output, read as JSON, of a command that has to succeed.
    #[track_caller]
    pub fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in:\n{text}"))
    }

    /// Both outputs.
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

impl Podwright {
    /// Talks to that agent.
    pub fn new(agent: &Agent) -> Self {
        Self { socket: agent.local_socket() }
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Said {
        self.run_with(args, "")
    }

    /// Runs a command that reads `input` from its standard input.
    #[track_caller]
    pub fn run_with(&self, args: &[&str], input: &str) -> Said {
        let mut child = self.command(args).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let text = input.to_owned();
        // A command that does not read all of it closes the pipe, which is no fault.
        let feeder = std::thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
        let (out, err) = (drain(child.stdout.take().unwrap()), drain(child.stderr.take().unwrap()));
        let code = wait_for_end(&mut child, args);
        feeder.join().unwrap();
        Said { code, out: out.recv().unwrap(), err: err.recv().unwrap() }
    }

    /// Starts a command that goes on by itself, like `logs -f`.
    #[track_caller]
    pub fn follow(&self, args: &[&str]) -> Following {
        Following::start(self.command(args))
    }

    /// Starts a command in a terminal of its own with 33 rows and 111 columns; both outputs come as one.
    #[track_caller]
    pub fn in_terminal(&self, args: &[&str]) -> Following {
        let program = own_program("podwright").unwrap();
        let words =
            [&*program.to_string_lossy(), "--socket", &*self.socket.to_string_lossy()].map(str::to_owned);
        let quoted: Vec<String> = words
            .into_iter()
            .chain(args.iter().map(|&arg| arg.to_owned()))
            .map(|word| format!("'{}'", word.replace('\'', "'\\''")))
            .collect();
        let inside = format!("stty rows 33 cols 111; exec {}", quoted.join(" "));
        let mut command = Command::new("script");
        command.args(["-qefc", &inside, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Following::start(command)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(own_program("podwright").unwrap());
        command.arg("--socket").arg(&self.socket).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }
}

/// A command that goes on; dropping it kills it.
#[derive(Debug)]
pub struct Following {
    child: Child,
    inbox: Receiver<String>,
    seen: String,
}

impl Following {
    /// Starts a command whose input and output are pipes.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (pieces, inbox) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                if pieces.send(String::from_utf8_lossy(&buffer[..count]).into_owned()).is_err() {
                    return;
                }
            }
        });
        Self { child, inbox, seen: String::new() }
    }

    /// Waits until the command has printed `text`, and returns all that it has printed.
    #[track_caller]
    pub fn until(&mut self, text: &str, limit: Duration) -> String {
        let (inbox, seen) = (&self.inbox, &mut self.seen);
        eventually(&format!("the command to print {text:?}"), limit, || {
            seen.extend(inbox.try_iter());
            if seen.contains(text) { Ok(seen.clone()) } else { Err(format!("{seen:?}")) }
        })
    }

    /// Types a text.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits for the end by itself and returns the exit code.
    #[track_caller]
    pub fn end(&mut self) -> i32 {
        wait_for_end(&mut self.child, &["a command that follows"])
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn drain(mut pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is what the test gets to see.
        let _read = pipe.read_to_end(&mut bytes);
        sender.send(String::from_utf8_lossy(&bytes).into_owned())
    });
    receiver
}

#[track_caller]
fn wait_for_end(child: &mut Child, args: &[&str]) -> i32 {
    let clock = Stopwatch::start();
    eventually(&format!("`podwright {}` to end", args.join(" ")), LIMIT * 2, || {
        if clock.elapsed() > LIMIT {
            let _gone = child.kill();
        }
        match child.try_wait().unwrap() {
            Some(status) => Ok(status.code().unwrap_or(-1)),
            None => Err("it runs".to_owned()),
        }
    })
}
