//! The end of a container log in CRI format, messages only.
//!
//! A line of the file is `<time> <stdout|stderr> <tags> <message>`; the tag `P` marks a part of a line whose rest follows.
//! The file is read backwards in growing pieces until there is enough, at most [`MAX_READ`] bytes; memory is bounded by
//! the same. Lines that are not of this form are left out.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use ports::pod_files::LogTail;

/// First piece: holds 80 usual lines.
const FIRST_READ: u64 = 16 << 10;

/// Largest piece. A termination message needs 2 KiB of at most 80 lines; runtimes cut lines into parts of 16 KiB.
const MAX_READ: u64 = 1 << 20;

/// The last lines of the log, at most as many bytes as asked for.
pub(super) fn read(file: &File, tail: LogTail) -> io::Result<Vec<u8>> {
    let size = file.metadata()?.len();
    let mut piece = FIRST_READ;
    loop {
        let start = size.saturating_sub(piece);
        let mut content = vec![0; usize::try_from(size - start).unwrap_or(usize::MAX)];
        let read = read_at(file, &mut content, start)?;
        content.truncate(read);
        let from_start = start == 0;
        let (messages, lines) =
            messages(&content, if from_start { Start::WholeLine } else { Start::PartOfLine });
        let text = last_lines(&messages, tail.lines);
        if from_start || piece >= MAX_READ || lines > tail.lines || text.len() >= tail.bytes {
            return Ok(text[text.len().saturating_sub(tail.bytes)..].to_vec());
        }
        piece = (piece * 4).min(MAX_READ);
    }
}

/// What the content begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    WholeLine,
    PartOfLine,
}

/// The messages one after another, and the number of lines begun in them.
fn messages(content: &[u8], start: Start) -> (Vec<u8>, usize) {
    let skip = if start == Start::PartOfLine {
        content.iter().position(|&byte| byte == b'\n').map_or(content.len(), |end| end + 1)
    } else {
        0
    };
    let mut out = Vec::new();
    for line in content[skip..].split(|&byte| byte == b'\n') {
        if let Some((message, is_part)) = parse(line) {
            out.extend_from_slice(message);
            if !is_part {
                out.push(b'\n');
            }
        }
    }
    let lines = out.iter().filter(|&&byte| byte == b'\n').count()
        + usize::from(out.last().is_some_and(|&b| b != b'\n'));
    (out, lines)
}

/// Message of one line of the file, and whether its rest follows.
fn parse(line: &[u8]) -> Option<(&[u8], bool)> {
    let mut fields = line.splitn(4, |&byte| byte == b' ');
    let time = fields.next()?;
    let stream = fields.next()?;
    let tags = fields.next()?;
    let message = fields.next()?;
    let is_log = time.first().is_some_and(u8::is_ascii_digit) && (stream == b"stdout" || stream == b"stderr");
    let is_part = tags.split(|&byte| byte == b':').next() == Some(b"P");
    is_log.then_some((message, is_part))
}

/// The last `lines` lines of the text.
fn last_lines(text: &[u8], lines: usize) -> &[u8] {
    if lines == 0 {
        return &[];
    }
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(index, _)| index).nth(lines - 1).map_or(text, |index| &text[index + 1..])
}

fn read_at(file: &File, buffer: &mut [u8], start: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], start + u64::try_from(done).unwrap_or(u64::MAX)) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn tail_of(log: &str, lines: usize, bytes: usize) -> String {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(log.as_bytes()).unwrap();
        String::from_utf8(read(&file, LogTail { lines, bytes }).unwrap()).unwrap()
    }

    const T: &str = "2026-01-01T00:00:00.000000000Z";

    #[test]
    fn only_messages_are_read_and_parts_are_joined() {
        let log = format!(
            "{T} stdout F one\n{T} stderr F two words\n{T} stdout P thr\n{T} stdout P e\n{T} stdout F e\nbroken line\n{T} stdout F \n{T} stdout F:x four"
        );
        let cases = [
            (80, 2048, "one\ntwo words\nthree\n\nfour\n"),
            (3, 2048, "three\n\nfour\n"),
            (1, 2048, "four\n"),
            (0, 2048, ""),
            (80, 7, "\n\nfour\n"),
            (80, 0, ""),
        ];
        for (lines, bytes, expected) in cases {
            assert_eq!(tail_of(&log, lines, bytes), expected, "{lines} {bytes}");
        }
        assert_eq!(tail_of("", 80, 2048), "");
        assert_eq!(tail_of(&format!("{T} stdout P half"), 80, 2048), "half");
    }

    #[test]
    fn a_long_log_is_read_only_at_its_end() {
        let line = |index: usize| format!("{T} stdout F line {index}\n");
        let log: String = (0..100_000).map(line).collect();
        assert_eq!(tail_of(&log, 2, 2048), "line 99998\nline 99999\n");
        assert_eq!(tail_of(&log, 1000, 1 << 20).lines().count(), 1000);
        let huge = format!("{T} stdout F start\n{T} stdout F {}\n", "x".repeat(3 << 20));
        assert_eq!(tail_of(&huge, 80, 2048), "", "a line longer than what is read is left out");
    }
}
