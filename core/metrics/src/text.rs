//! Writes Prometheus' text form: families of a registry, read under their lock, or given samples. Writes to a string.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;

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

    /// Adds a sample with labels that were written before, and `more` of its own, all in the order of their names.
    pub fn sample_of(
        &mut self,
        name: &str,
        labels: &LabelText,
        more: &[(&str, &str)],
        value: f64,
        timestamp_ms: Option<i64>,
    ) {
        self.out.push_str(name);
        let labels = labels.with(more);
        if !labels.is_empty() {
            self.out.push('{');
            self.out.push_str(&labels);
            self.out.push('}');
        }
        number(&mut self.out, value, timestamp_ms);
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.out
    }
}

/// Labels with their values, written once for many samples.
#[derive(Clone, Debug, Default)]
pub struct LabelText {
    text: String,
    /// Names, and where each pair stands in the text.
    places: Vec<(&'static str, Range<usize>)>,
}

impl LabelText {
    /// Writes labels, which are in the order of their names.
    pub fn new(labels: &[(&'static str, &str)]) -> Self {
        let mut this = Self::default();
        for (name, value) in labels {
            let separator = if this.text.is_empty() { "" } else { "," };
            this.text.push_str(separator);
            let begins_at = this.text.len();
            pair(&mut this.text, name, value);
            this.places.push((name, begins_at..this.text.len()));
        }
        this
    }

    fn with(&self, more: &[(&str, &str)]) -> Cow<'_, str> {
        if more.is_empty() {
            return Cow::Borrowed(&self.text);
        }
        let own = self.places.iter().map(|(name, place)| (*name, self.text[place.clone()].into()));
        let mut pairs: Vec<(&str, Cow<'_, str>)> = own.collect();
        for (name, value) in more {
            let mut text = String::new();
            pair(&mut text, name, value);
            pairs.push((name, text.into()));
        }
        pairs.sort_by_key(|(name, _)| *name);
        let texts: Vec<&str> = pairs.iter().map(|(_, text)| text.as_ref()).collect();
        texts.join(",").into()
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
    for series in all.iter() {
        let values = series.labels.iter().map(String::as_str);
        let pairs: Vec<(&str, &str)> = family.desc.labels.iter().copied().zip(values).collect();
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
        pair(out, label, text);
    }
    if !pairs.is_empty() {
        out.push('}');
    }
    number(out, value, timestamp_ms);
}

fn pair(out: &mut String, label: &str, text: &str) {
    out.push_str(label);
    out.push_str("=\"");
    escape(out, text, Quotes::Escaped);
    out.push('"');
}

/// Ends a line with its value, and the time where it has one.
fn number(out: &mut String, value: f64, timestamp_ms: Option<i64>) {
    // Most values are whole, and those are written several times faster as such.
    let whole = value as i64;
    let is_whole = whole as f64 == value && whole.unsigned_abs() < 1 << f64::MANTISSA_DIGITS && whole != 0;
    // Writing to a String cannot fail.
    let _ = if is_whole { write!(out, " {whole}") } else { write!(out, " {value}") };
    let _ = match timestamp_ms {
        Some(timestamp_ms) => writeln!(out, " {timestamp_ms}"),
        None => writeln!(out),
    };
}

enum Quotes {
    Plain,
    Escaped,
}

fn escape(out: &mut String, text: &str, quotes: Quotes) {
    if !text.bytes().any(|byte| matches!(byte, b'\\' | b'\n' | b'"')) {
        return out.push_str(text);
    }
    for c in text.chars() {
        match (c, &quotes) {
            ('\\', _) => out.push_str("\\\\"),
            ('\n', _) => out.push_str("\\n"),
            ('"', Quotes::Escaped) => out.push_str("\\\""),
            _ => out.push(c),
        }
    }
}
