//! Running a helper program to its end.
//!
//! Guarantees: an error names the whole command line and the end of what the program wrote to its standard error.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// How much of a failed program's standard error goes into our error.
const ERROR_TAIL_BYTES: usize = 2000;

/// Runs `command` quietly and returns its standard output; anything but exit code 0 is an error.
pub fn output(command: &mut Command) -> Result<String> {
    let line = line_of(command);
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{line}`"))?;
    if !done.status.success() {
        bail!("`{line}` ended with {}: {}", done.status, tail(&String::from_utf8_lossy(&done.stderr)));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs `command` with our own standard output and error, so that a person sees how it gets on.
pub fn show(command: &mut Command) -> Result<()> {
    let line = line_of(command);
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// The first executable `name` on PATH, then in `more`.
#[must_use]
pub fn find_program(name: &str, more: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(more.iter().map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn line_of(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}

fn tail(text: &str) -> &str {
    let text = text.trim();
    let mut start = text.len().saturating_sub(ERROR_TAIL_BYTES);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_command_and_its_words() {
        let error =
            output(Command::new("sh").args(["-c", "echo broken >&2; exit 3"])).expect_err("exit code 3");
        let text = error.to_string();
        assert!(text.contains("sh -c") && text.contains("broken") && text.contains('3'), "{text}");
    }

    #[test]
    fn a_program_is_found_on_path_only_when_executable() {
        assert!(find_program("sh", &[]).is_some());
        assert!(find_program("passwd", &["/etc"]).is_none_or(|found| found != Path::new("/etc/passwd")));
        assert_eq!(find_program("no-such-program-here", &["/etc"]), None);
    }

    #[test]
    fn the_tail_never_cuts_a_character() {
        let text = "ä".repeat(ERROR_TAIL_BYTES);
        assert!(tail(&text).len() <= ERROR_TAIL_BYTES);
    }
}
