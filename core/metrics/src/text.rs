//! Writes Prometheus' text form: families of a registry, read under their lock, or given samples. Writes to a string.

use std::fmt::Write;

use crate::{Family, Kind, Series, lock};

/// Text of values that are read at the scrape rather than counted in a [`crate::Registry`]. The caller keeps the order:
/// a family, then its samples.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    out: String,
}

impl Exposition {
    /// No text yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a family.
    pub fn family(&mut self, name: &str, help: &str, kind: Kind) {
        header(&mut self.out, name, help, kind);
    }

    /// Adds a sample with these label names and values.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        sample(&mut self.out, name, labels, value, None);
    }

    /// Adds a sample that was measured at a time, in milliseconds since the Unix epoch.
    pub fn sample_at(&mut self, name: &str, labels: &[(&str, &str)], value: f64, timestamp_ms: i64) {
        sample(&mut self.out, name, labels, value, Some(timestamp_ms));
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.out
    }
}

/// Appends the family's help, type and series; nothing when it has no series.
pub(crate) fn write_family(out: &mut String, family: &Family) {
    let all = lock(&family.series);
    if all.is_empty() {
        return;
    }
    let name = family.desc.name;
    header(out, name, family.desc.help, family.kind);
    for (values, series) in all.iter() {
        let pairs: Vec<(&str, &str)> =
            family.desc.labels.iter().copied().zip(values.iter().map(String::as_str)).collect();
        match family.kind {
            Kind::Counter | Kind::Gauge => sample(out, name, &pairs, series.value, None),
            Kind::Histogram => histogram(out, family, &pairs, series),
        }
    }
}

fn histogram(out: &mut String, family: &Family, pairs: &[(&str, &str)], series: &Series) {
    let name = family.desc.name;
    let bounds = family.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
    let counts = series.buckets.iter().copied().chain([series.count]);
    for (bound, count) in bounds.zip(counts) {
        let mut with_bound = pairs.to_vec();
        with_bound.push(("le", &bound));
        sample(out, &format!("{name}_bucket"), &with_bound, count as f64, None);
    }
    sample(out, &format!("{name}_sum"), pairs, series.value, None);
    sample(out, &format!("{name}_count"), pairs, series.count as f64, None);
}

fn header(out: &mut String, name: &str, help: &str, kind: Kind) {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    // Writing to a String cannot fail.
    let _ = write!(out, "# HELP {name} ");
    escape(out, help, Quotes::Plain);
    let _ = writeln!(out, "\n# TYPE {name} {kind}");
}

fn sample(out: &mut String, name: &str, pairs: &[(&str, &str)], value: f64, timestamp_ms: Option<i64>) {
    out.push_str(name);
    for (i, (label, text)) in pairs.iter().enumerate() {
        out.push(if i == 0 { '{' } else { ',' });
        out.push_str(label);
        out.push_str("=\"");
        escape(out, text, Quotes::Escaped);
        out.push('"');
    }
    if !pairs.is_empty() {
        out.push('}');
    }
    let _ = match timestamp_ms {
        Some(timestamp_ms) => writeln!(out, " {value} {timestamp_ms}"),
        None => writeln!(out, " {value}"),
    };
}

enum Quotes {
    Plain,
    Escaped,
}

fn escape(out: &mut String, text: &str, quotes: Quotes) {
    for c in text.chars() {
        match (c, &quotes) {
            ('\\', _) => out.push_str("\\\\"),
            ('\n', _) => out.push_str("\\n"),
            ('"', Quotes::Escaped) => out.push_str("\\\""),
            _ => out.push(c),
        }
    }
}
