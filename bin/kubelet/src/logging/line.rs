//! One log line in klog's two formats.
//!
//! ```text
//! I1124 00:11:22.333333     123 file.rs:45] "message" key="value" count=3
//! {"ts":1764000000000.123,"caller":"src/file.rs:45","msg":"message","v":0,"key":"value","count":3}
//! ```
//!
//! A field `error` is called `err`, as in upstream's lines. Text of several lines is set off with tabs in the text format, so
//! no value can look like a line of its own.

use std::fmt::{self, Write};

use core_types::WallTime;
use jiff::tz::TimeZone;
use serde_json::Value;
use tracing::Level;
use tracing::field::{Field, Visit};

use crate::causes;

/// What a line says.
pub(super) struct Line<'a> {
    pub(super) time: WallTime,
    pub(super) level: Level,
    pub(super) process: u32,
    /// Source file with its path.
    pub(super) file: &'a str,
    /// Line in it.
    pub(super) line: u32,
    pub(super) fields: Fields,
}

/// The message and the other fields of an event.
#[derive(Debug, Default)]
pub(super) struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(message)) => self.message = message,
            ("error", value) => self.others.push(("err", value)),
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::String(value.to_owned()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, Value::String(causes::text(value)));
    }
}

impl Line<'_> {
    /// The text format, with the line break.
    pub(super) fn text(&self, zone: &TimeZone) -> String {
        let severity = match self.level {
            Level::ERROR => 'E',
            Level::WARN => 'W',
            _ => 'I',
        };
        let time = self.time.to_api().0.to_zoned(zone.clone());
        let file = self.file.rsplit('/').next().unwrap_or(self.file);
        let mut text = format!(
            "{severity}{:02}{:02} {:02}:{:02}:{:02}.{:06} {:>7} {file}:{}] ",
            time.month(),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.subsec_nanosecond() / 1000,
            self.process,
            self.line
        );
        quote(&mut text, &self.fields.message);
        for (name, value) in &self.fields.others {
            text.push(' ');
            text.push_str(name);
            match value {
                Value::String(value) if value.contains('\n') => indent(&mut text, value),
                Value::String(value) => {
                    text.push('=');
                    quote(&mut text, value);
                }
                value => {
                    let _ = write!(text, "={value}");
                }
            }
        }
        text.push('\n');
        text
    }

    /// The JSON format, with the line break. Errors have no `v`, as upstream's.
    pub(super) fn json(&self) -> String {
        let from = self.file.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
        let mut text = format!(
            "{{\"ts\":{:.3},\"caller\":{},\"msg\":{}",
            self.time.unix_nanos() as f64 / 1e6,
            Value::from(format!("{}:{}", &self.file[from..], self.line)),
            Value::from(self.fields.message.as_str())
        );
        match self.level {
            Level::ERROR => {}
            Level::WARN | Level::INFO => text.push_str(",\"v\":0"),
            Level::DEBUG => text.push_str(",\"v\":4"),
            Level::TRACE => text.push_str(",\"v\":6"),
        }
        for (name, value) in &self.fields.others {
            let _ = write!(text, ",{}:{value}", Value::from(*name));
        }
        text.push_str("}\n");
        text
    }
}

/// Writes a text in Go's quotes: what cannot be printed is escaped.
fn quote(text: &mut String, value: &str) {
    text.push('"');
    for char in value.chars() {
        match char {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            ' '..='~' => text.push(char),
            char if char.is_ascii() => {
                let _ = write!(text, "\\x{:02x}", u32::from(char));
            }
            // Rust and Go agree on what cannot be printed; Rust escapes it with more than one character.
            char if char.escape_debug().len() == 1 => text.push(char),
            char if u32::from(char) > 0xffff => {
                let _ = write!(text, "\\U{:08x}", u32::from(char));
            }
            char => {
                let _ = write!(text, "\\u{:04x}", u32::from(char));
            }
        }
    }
    text.push('"');
}

/// Writes a text of several lines between `=<` and `>`, each line after a tab.
fn indent(text: &mut String, value: &str) {
    text.push_str("=<\n");
    for line in value.lines() {
        text.push('\t');
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(" >");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: Level, message: &str, others: Vec<(&'static str, Value)>) -> Line<'static> {
        Line {
            time: WallTime::from_unix_nanos(1_763_943_082_333_333_999),
            level,
            process: 123,
            file: "agent/src/pleg.rs",
            line: 45,
            fields: Fields { message: message.to_owned(), others },
        }
    }

    #[test]
    fn text_lines_are_klogs() {
        let others = vec![("pod", "a/b \"c\"".into()), ("count", 3.into()), ("ok", true.into())];
        assert_eq!(
            line(Level::INFO, "Pod started", others).text(&TimeZone::UTC),
            "I1124 00:11:22.333333     123 pleg.rs:45] \"Pod started\" pod=\"a/b \\\"c\\\"\" count=3 ok=true\n"
        );
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert!(line(Level::WARN, "x", vec![]).text(&zone).starts_with("W1124 02:11:22.333333 "));
        assert!(line(Level::ERROR, "x", vec![]).text(&zone).starts_with("E1124 "));
        assert!(line(Level::DEBUG, "x", vec![]).text(&zone).starts_with("I1124 "));
    }

    #[test]
    fn no_value_can_look_like_another_line() {
        let text =
            line(Level::INFO, "a\nb\x1b\u{202e}\u{e0001}ü", vec![("config", "k: v\nE1124 x\n".into())])
                .text(&TimeZone::UTC);
        let (_, said) = text.split_once("] ").unwrap();
        assert_eq!(said, "\"a\\nb\\x1b\\u202e\\U000e0001ü\" config=<\n\tk: v\n\tE1124 x\n >\n");
    }

    #[test]
    fn json_lines_are_klogs_and_errors_have_no_verbosity() {
        let others = || vec![("err", "no\n\"room\"".into()), ("count", 3.into())];
        assert_eq!(
            line(Level::ERROR, "it\tfails", others()).json(),
            "{\"ts\":1763943082333.334,\"caller\":\"src/pleg.rs:45\",\"msg\":\"it\\tfails\",\
             \"err\":\"no\\n\\\"room\\\"\",\"count\":3}\n"
        );
        for (level, v) in [(Level::INFO, 0), (Level::WARN, 0), (Level::DEBUG, 4), (Level::TRACE, 6)] {
            let parsed: Value = serde_json::from_str(&line(level, "x", others()).json()).unwrap();
            assert_eq!(parsed["v"], v);
        }
    }

    #[test]
    fn events_become_fields() {
        use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

        #[derive(Clone, Default)]
        struct Last(std::sync::Arc<std::sync::Mutex<Fields>>);
        impl<S: tracing::Subscriber> Layer<S> for Last {
            fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
                let mut fields = Fields::default();
                event.record(&mut fields);
                *self.0.lock().unwrap() = fields;
            }
        }
        let last = Last::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(last.clone()), || {
            let error = std::io::Error::other("no room");
            let wide = f64::INFINITY;
            tracing::info!(%error, count = 3_u64, wait = ?std::time::Duration::from_secs(1), wide, "it {}", "fails");
        });
        let fields = last.0.lock().unwrap();
        assert_eq!(fields.message, "it fails");
        assert_eq!(
            fields.others,
            [("err", "no room".into()), ("count", 3.into()), ("wait", "1s".into()), ("wide", Value::Null)]
        );
    }
}
