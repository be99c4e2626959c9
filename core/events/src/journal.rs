//! The journal's lines: one event each, with a sum over it. A later line of the same event replaces the earlier.
//!
//! ```text
//! 4f2c8a1d90b7e635 {"name":"web.18c2…","object":{…},…}
//! ```

use std::collections::BTreeMap;

use core_types::EventRecord;

/// What a journal holds.
#[derive(Debug, Default)]
pub struct Journal {
    /// The newest state of each event, least recent first.
    pub events: Vec<EventRecord>,
    /// Lines that cannot be used. The last line of a file that was cut off while it was written is none of them.
    pub bad_lines: usize,
}

/// Appends the line of an event.
pub fn write(event: &EventRecord, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + SUM_DIGITS + 1, b' ');
    // Writing to memory fails only for maps whose keys are no text, and an event has none.
    if serde_json::to_writer(&mut *out, event).is_err() {
        return out.truncate(start);
    }
    let sum = format!("{:0SUM_DIGITS$x}", checksum(&out[start + SUM_DIGITS + 1..]));
    out[start..start + SUM_DIGITS].copy_from_slice(sum.as_bytes());
    out.push(b'\n');
}

/// Reads the files of a journal, oldest first.
pub fn read<'a>(files: impl IntoIterator<Item = &'a [u8]>) -> Journal {
    let mut newest: BTreeMap<String, (usize, EventRecord)> = BTreeMap::new();
    let mut journal = Journal::default();
    let mut place = 0;
    for file in files {
        let (whole, _cut_off) =
            file.split_at(file.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1));
        for line in whole.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            place += 1;
            match parse(line) {
                Some(event) => drop(newest.insert(event.name.clone(), (place, event))),
                None => journal.bad_lines += 1,
            }
        }
    }
    let mut events: Vec<_> = newest.into_values().collect();
    events.sort_by_key(|(place, _)| *place);
    journal.events = events.into_iter().map(|(_, event)| event).collect();
    journal
}

/// Hex digits of a sum.
const SUM_DIGITS: usize = 16;

fn parse(line: &[u8]) -> Option<EventRecord> {
    let (sum, rest) = line.split_at_checked(SUM_DIGITS)?;
    let text = rest.strip_prefix(b" ")?;
    let sum = u64::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    if sum != checksum(text) {
        return None;
    }
    serde_json::from_slice(text).ok()
}

/// FNV-1a of 64 bits: finds what a disk or a half-written page did to a line.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
