//! Finds where the last lines of a file begin, reading backwards in blocks.

use std::fs::File;
use std::io::Result;
use std::os::unix::fs::FileExt;

/// Bytes read at a time, from the end.
const BLOCK_BYTES: usize = 64 * 1024;

/// Where the last `lines` lines of the file begin. A last line without an end counts as one.
pub(super) fn start(file: &File, lines: u64) -> Result<u64> {
    tail_start(file, file.metadata()?.len(), lines)
}

fn tail_start(file: &File, end: u64, lines: u64) -> Result<u64> {
    if lines == 0 {
        return Ok(end);
    }
    let mut block = vec![0; BLOCK_BYTES];
    let mut right = end;
    let mut line_starts = 0;
    while right > 0 {
        let left = right.saturating_sub(BLOCK_BYTES as u64);
        // At most BLOCK_BYTES, so it fits.
        let part = &mut block[..usize::try_from(right - left).unwrap_or(BLOCK_BYTES)];
        file.read_exact_at(part, left)?;
        for (offset, _) in part.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let next_line = left + offset as u64 + 1;
            // The end of line at the very end begins no line.
            line_starts += u64::from(next_line != end);
            if line_starts == lines {
                return Ok(next_line);
            }
        }
        right = left;
    }
    Ok(0)
}
