//! The kernel's text formats.

use std::path::Path;

use core_stats::{InterfaceSample, PressureLine, PressureSample};

use super::files::Files;

/// Interfaces that upstream does not count.
const IGNORED_INTERFACES: [&str; 4] = ["lo", "veth", "docker", "nerdctl"];

/// A file with a name and a number in each line. Few of its lines are asked for, so it is searched as it is.
#[derive(Default)]
pub(super) struct Numbers(pub(super) String);

/// Text of a file; `None` when it is not there or cannot be read (any more).
pub(super) fn text(dir: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(dir.join(file)).ok()
}

/// The one number of a file; the largest for `max`.
pub(super) fn number(dir: &Path, file: &str) -> Option<u64> {
    limit(text(dir, file)?.trim())
}

/// A number, or `max` for none.
pub(super) fn limit(text: &str) -> Option<u64> {
    if text == "max" { Some(u64::MAX) } else { text.parse().ok() }
}

/// A number by its name; 0 when there is none, as upstream has it.
pub(super) fn of(numbers: &Numbers, name: &str) -> u64 {
    let of_line = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    numbers.0.lines().find_map(of_line).unwrap_or(0)
}

/// A pressure file; `None` when the kernel keeps none.
pub(super) fn pressure(dir: &Files, file: &str) -> Option<PressureSample> {
    let text = dir.text(file)?;
    let line = |word: &str| {
        let line = text.lines().find(|line| line.split(' ').next() == Some(word))?;
        let field = |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name));
        let part = |name: &str| field(name).and_then(|text| text.parse().ok()).unwrap_or(0.0);
        Some(PressureLine {
            total_micros: field("total=")?.parse().ok()?,
            avg10: part("avg10="),
            avg60: part("avg60="),
            avg300: part("avg300="),
        })
    };
    // The file of the CPU has no line for all tasks on older kernels.
    Some(PressureSample { some: line("some")?, full: line("full").unwrap_or_default() })
}

/// Interfaces in the text of a `net/dev` file; `None` when it is not of the known form.
pub(super) fn interfaces(text: &str) -> Option<Vec<InterfaceSample>> {
    let lines = text.lines().skip(2).map(interface);
    let all = lines.collect::<Option<Vec<_>>>()?;
    let counts = |interface: &InterfaceSample| {
        let name = interface.name.to_lowercase();
        !IGNORED_INTERFACES.iter().any(|prefix| name.starts_with(prefix))
    };
    Some(all.into_iter().filter(counts).collect())
}

fn interface(line: &str) -> Option<InterfaceSample> {
    let (name, rest) = line.rsplit_once(':')?;
    let numbers = rest.split_whitespace().map(|field| field.parse().ok()).collect::<Option<Vec<u64>>>()?;
    let &[
        rx_bytes,
        rx_packets,
        rx_errors,
        rx_dropped,
        _,
        _,
        _,
        _,
        tx_bytes,
        tx_packets,
        tx_errors,
        tx_dropped,
        ..,
    ] = numbers.as_slice()
    else {
        return None;
    };
    Some(InterfaceSample {
        name: name.trim().to_owned(),
        rx_bytes,
        rx_packets,
        rx_errors,
        rx_dropped,
        tx_bytes,
        tx_packets,
        tx_errors,
        tx_dropped,
    })
}
