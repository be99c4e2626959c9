//! A strict reader of Prometheus' text form: what a scraper would refuse, or would not store as it was meant, is an error.

use std::collections::{BTreeMap, BTreeSet};

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name, with the suffix of a histogram's parts.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Value.
    pub value: f64,
    /// Time in milliseconds since the Unix epoch, where it has one.
    pub timestamp_ms: Option<i64>,
}

/// Samples of a page.
#[derive(Clone, Debug)]
pub struct Page(pub Vec<Sample>);

impl Page {
    /// The samples of a name whose labels have these values.
    pub fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let fits = |sample: &Sample| {
            labels.iter().all(|(label, value)| sample.labels.get(*label).map(String::as_str) == Some(value))
        };
        self.0.iter().filter(|sample| sample.name == name && fits(sample)).collect()
    }

    /// The only one of these.
    pub fn one(&self, name: &str, labels: &[(&str, &str)]) -> &Sample {
        let found = self.all(name, labels);
        assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
        found[0]
    }
}

/// Reads a page; panics at what no scraper would take.
pub fn read(text: &str) -> Page {
    assert!(text.ends_with('\n'), "the last line does not end");
    let mut reader = Reader::default();
    for (number, line) in text.lines().enumerate() {
        if let Err(problem) = reader.line(line) {
            panic!("line {}: {problem}: {line:?}", number + 1);
        }
    }
    Page(reader.samples)
}

#[derive(Default)]
struct Reader {
    samples: Vec<Sample>,
    help: String,
    family: String,
    kind: String,
    families: BTreeSet<String>,
    series: BTreeSet<(String, BTreeMap<String, String>)>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').ok_or("no help text")?;
            if text.trim().is_empty() {
                return Err("an empty help text".into());
            }
            self.help = name.to_owned();
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("no type")?;
            return self.begin(name, kind);
        }
        let sample = sample(line)?;
        let base = match self.kind.as_str() {
            "histogram" => ["_bucket", "_sum", "_count"].iter().find_map(|end| sample.name.strip_suffix(end)),
            _ => Some(sample.name.as_str()),
        };
        if base != Some(self.family.as_str()) {
            return Err(format!("it stands in the family {}", self.family));
        }
        if self.kind == "counter" && sample.value < 0.0 {
            return Err("a counter below zero".into());
        }
        if !self.series.insert((sample.name.clone(), sample.labels.clone())) {
            return Err("the series was there already".into());
        }
        self.samples.push(sample);
        Ok(())
    }

    fn begin(&mut self, name: &str, kind: &str) -> Result<(), String> {
        if self.help != name {
            return Err("no help before the type".into());
        }
        if !matches!(kind, "counter" | "gauge" | "histogram") {
            return Err("an unknown type".into());
        }
        if self.families.last().is_some_and(|last| last.as_str() >= name) {
            return Err("families are not sorted, or one is there twice".into());
        }
        if !is_name(name) {
            return Err("no name of a metric".into());
        }
        self.families.insert(name.to_owned());
        (self.family, self.kind) = (name.to_owned(), kind.to_owned());
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == ':');
    first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let mut fields = rest.strip_prefix(' ').ok_or("no blank before the value")?.split(' ');
    let value = fields.next().unwrap_or_default();
    let value = value.parse().map_err(|error| format!("value {value:?}: {error}"))?;
    let timestamp_ms = fields.next().map(|text| text.parse().map_err(|error| format!("time: {error}")));
    if fields.next().is_some() {
        return Err("more than a value and a time".into());
    }
    Ok(Sample { name: name.to_owned(), labels, value, timestamp_ms: timestamp_ms.transpose()? })
}

/// Labels up to the closing brace, and what comes after it.
fn labels(mut rest: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut labels = BTreeMap::new();
    loop {
        let (label, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        if !is_name(label) || label.contains(':') {
            return Err(format!("{label:?} is no label"));
        }
        let (value, after) = quoted(after)?;
        if labels.insert(label.to_owned(), value).is_some() {
            return Err(format!("the label {label} twice"));
        }
        match after.split_at_checked(1) {
            Some((",", after)) => rest = after,
            Some(("}", after)) => return Ok((labels, after)),
            _ => return Err("labels do not end".into()),
        }
    }
}

fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('\\' | '"'))) => value.push(c),
                other => return Err(format!("escape {other:?}")),
            },
            c => value.push(c),
        }
    }
    Err("a value without an end".into())
}
