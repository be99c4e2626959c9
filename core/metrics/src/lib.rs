//! Counters, gauges and histograms, and their text form (Prometheus exposition 0.0.4).
//!
//! A [`Registry`] is a value that `bin/kubelet` makes and hands to whoever measures; there is no global. Names, help
//! texts and labels are upstream's (CONTRACT 5.15), so they are given in full where a family is registered.
//! Registering the same name twice gives the same family.

mod text;

pub use text::{Exposition, LabelText};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Prometheus' default histogram buckets, in seconds.
pub const DEFAULT_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bound of label sets per family; more are counted into none. A family's labels come from a closed set or from
/// pods, and no node has this many: the bound keeps a bug or a hostile name from eating the memory.
const MAX_SERIES: usize = 20_000;

/// What kind of metric a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// Name, help and label names of a family.
#[derive(Clone, Copy, Debug)]
pub struct Desc {
    /// Full name, e.g. `kubelet_runtime_operations_total`.
    pub name: &'static str,
    /// Help text, with upstream's stability mark, e.g. `[ALPHA] Cumulative number of ...`.
    pub help: &'static str,
    /// Label names, in the order in which values are given.
    pub labels: &'static [&'static str],
}

#[derive(Debug, Default, Clone)]
struct Series {
    /// Values of the family's labels.
    labels: Vec<String>,
    value: f64,
    buckets: Vec<u64>,
    count: u64,
}

#[derive(Debug)]
struct Family {
    desc: Desc,
    kind: Kind,
    bounds: &'static [f64],
    /// Sorted by labels, so that one is found by labels that are not owned: values change much more often than series come and go.
    series: Mutex<Vec<Series>>,
}

impl Family {
    fn update(&self, labels: &[&str], change: impl FnOnce(&mut Series)) {
        debug_assert_eq!(
            labels.len(),
            self.desc.labels.len(),
            "{} takes {:?}",
            self.desc.name,
            self.desc.labels
        );
        let mut all = lock(&self.series);
        match place(&all, labels) {
            Ok(at) => change(&mut all[at]),
            Err(at) if all.len() < MAX_SERIES => {
                let labels = labels.iter().map(|&label| label.to_owned()).collect();
                all.insert(at, Series { labels, ..Series::default() });
                change(&mut all[at]);
            }
            Err(_) => {}
        }
    }

    fn remove(&self, labels: &[&str]) {
        let mut all = lock(&self.series);
        if let Ok(at) = place(&all, labels) {
            all.remove(at);
        }
    }
}

/// Where the series with these labels stands, or belongs.
fn place(all: &[Series], labels: &[&str]) -> Result<usize, usize> {
    all.binary_search_by(|series| series.labels.iter().map(String::as_str).cmp(labels.iter().copied()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A family of values that only grow.
#[derive(Clone, Debug)]
pub struct Counter(Arc<Family>);

impl Counter {
    /// Adds one to the series with these label values.
    pub fn inc(&self, labels: &[&str]) {
        self.add(labels, 1.0);
    }

    /// Adds `amount`, which must not be negative, to the series with these label values.
    pub fn add(&self, labels: &[&str], amount: f64) {
        self.0.update(labels, |series| series.value += amount.max(0.0));
    }

    /// Removes the series with these label values: what it counted is gone.
    pub fn remove(&self, labels: &[&str]) {
        self.0.remove(labels);
    }

    /// Sets the series to a total that is counted elsewhere (the kernel's CPU time of a process); never lets it fall.
    pub fn set_total(&self, labels: &[&str], total: f64) {
        self.0.update(labels, |series| series.value = series.value.max(total));
    }
}

/// A family of values that go up and down.
#[derive(Clone, Debug)]
pub struct Gauge(Arc<Family>);

impl Gauge {
    /// Sets the series with these label values.
    pub fn set(&self, labels: &[&str], value: f64) {
        self.0.update(labels, |series| series.value = value);
    }

    /// Adds `amount`, which may be negative, to the series with these label values.
    pub fn add(&self, labels: &[&str], amount: f64) {
        self.0.update(labels, |series| series.value += amount);
    }

    /// Removes every series, for families that are written anew as a whole.
    pub fn clear(&self) {
        lock(&self.0.series).clear();
    }
}

/// A family of distributions.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Family>);

impl Histogram {
    /// Removes the series with these label values: what it measured is gone.
    pub fn remove(&self, labels: &[&str]) {
        self.0.remove(labels);
    }

    /// Records one value in the series with these label values.
    pub fn observe(&self, labels: &[&str], value: f64) {
        let bounds = self.0.bounds;
        self.0.update(labels, |series| {
            series.buckets.resize(bounds.len(), 0);
            for (bucket, bound) in series.buckets.iter_mut().zip(bounds) {
                *bucket += u64::from(value <= *bound);
            }
            series.value += value;
            series.count += 1;
        });
    }
}

/// All families of one agent.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    families: Arc<Mutex<BTreeMap<&'static str, Arc<Family>>>>,
    readers: Arc<Mutex<Vec<Reader>>>,
}

/// A gauge whose value is asked for at each scrape.
#[derive(Clone)]
struct Reader {
    gauge: Gauge,
    read: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Reader").field(&self.gauge).finish()
    }
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers or finds a counter family.
    pub fn counter(&self, desc: Desc) -> Counter {
        Counter(self.family(desc, Kind::Counter, &[]))
    }

    /// Registers or finds a gauge family.
    pub fn gauge(&self, desc: Desc) -> Gauge {
        Gauge(self.family(desc, Kind::Gauge, &[]))
    }

    /// Registers a gauge without labels whose value changes by itself: `read` is called at each scrape, and must not block.
    pub fn gauge_read(&self, desc: Desc, read: impl Fn() -> f64 + Send + Sync + 'static) {
        let reader = Reader { gauge: self.gauge(desc), read: Arc::new(read) };
        lock(&self.readers).push(reader);
    }

    /// Registers or finds a histogram family with these upper bounds, ascending, without +Inf.
    pub fn histogram(&self, desc: Desc, bounds: &'static [f64]) -> Histogram {
        Histogram(self.family(desc, Kind::Histogram, bounds))
    }

    fn family(&self, desc: Desc, kind: Kind, bounds: &'static [f64]) -> Arc<Family> {
        let mut families = lock(&self.families);
        let family = families.entry(desc.name).or_insert_with(|| {
            Arc::new(Family { desc, kind, bounds, series: Mutex::new(first(desc, bounds)) })
        });
        debug_assert_eq!(family.kind, kind, "{} is registered as another kind", desc.name);
        Arc::clone(family)
    }

    /// All families in text form, sorted by name and labels. Families without series are left out, as upstream does.
    pub fn text(&self) -> String {
        let readers = lock(&self.readers).clone();
        readers.iter().for_each(|reader| reader.gauge.set(&[], (reader.read)()));
        let families: Vec<_> = lock(&self.families).values().cloned().collect();
        let mut out = String::new();
        for family in families {
            text::write_family(&mut out, &family);
        }
        out
    }
}

/// The series of a new family: one at zero when there are no labels, for a scraper that counts from the start.
fn first(desc: Desc, bounds: &[f64]) -> Vec<Series> {
    let series = Series { buckets: vec![0; bounds.len()], ..Series::default() };
    if desc.labels.is_empty() { vec![series] } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPS: Desc = Desc { name: "ops_total", help: "[ALPHA] Ops.", labels: &["op"] };
    const LATENCY: Desc = Desc { name: "latency_seconds", help: "Latency.", labels: &[] };

    #[test]
    fn text_form_is_prometheus_own() {
        let registry = Registry::new();
        let ops = registry.counter(OPS);
        ops.inc(&["a"]);
        ops.add(&["q\"\n"], 2.0);
        registry.histogram(LATENCY, &[0.5, 1.0]).observe(&[], 0.7);
        let want = "\
# HELP latency_seconds Latency.
# TYPE latency_seconds histogram
latency_seconds_bucket{le=\"0.5\"} 0
latency_seconds_bucket{le=\"1\"} 1
latency_seconds_bucket{le=\"+Inf\"} 1
latency_seconds_sum 0.7
latency_seconds_count 1
# HELP ops_total [ALPHA] Ops.
# TYPE ops_total counter
ops_total{op=\"a\"} 1
ops_total{op=\"q\\\"\\n\"} 2
";
        assert_eq!(registry.text(), want);
    }

    #[test]
    fn labels_written_before_are_joined_by_those_of_a_sample() {
        let labels = LabelText::new(&[("container", "a"), ("pod", "q\"\n")]);
        let mut text = Exposition::new();
        text.sample_of("plain", &labels, &[], 1e15, None);
        text.sample_of("more", &labels, &[("zone", "z"), ("device", "d")], 0.5, Some(7));
        text.sample_of("none", &LabelText::default(), &[], -3.0, None);
        let want = "\
plain{container=\"a\",pod=\"q\\\"\\n\"} 1000000000000000
more{container=\"a\",device=\"d\",pod=\"q\\\"\\n\",zone=\"z\"} 0.5 7
none -3
";
        assert_eq!(text.into_text(), want);
    }

    #[test]
    fn series_stand_in_the_order_of_their_labels_however_they_came() {
        let registry = Registry::new();
        let pairs = registry.counter(Desc { name: "pairs", help: "Pairs.", labels: &["a", "b"] });
        for labels in [["b", "a"], ["a", "c"], ["ab", ""], ["a", "b"], ["b", "a"]] {
            pairs.inc(&labels);
        }
        let text = registry.text();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let line = |a, b, value| format!("pairs{{a=\"{a}\",b=\"{b}\"}} {value}");
        assert_eq!(lines, [line("a", "b", 1), line("a", "c", 1), line("ab", "", 1), line("b", "a", 2)]);
    }

    #[test]
    fn a_removed_series_is_gone_and_begins_anew() {
        let registry = Registry::new();
        let ops = registry.counter(OPS);
        ops.add(&["a"], 5.0);
        ops.inc(&["b"]);
        ops.remove(&["a"]);
        assert!(!registry.text().contains("op=\"a\"") && registry.text().contains("ops_total{op=\"b\"} 1"));
        ops.inc(&["a"]);
        assert!(registry.text().contains("ops_total{op=\"a\"} 1"));
    }

    #[test]
    fn families_without_labels_begin_at_zero_and_read_gauges_are_asked() {
        let registry = Registry::new();
        registry.histogram(LATENCY, &[0.5]);
        let asked = Arc::new(Mutex::new(0.0));
        let read = Arc::clone(&asked);
        registry.gauge_read(Desc { name: "left_seconds", help: "Left.", labels: &[] }, move || {
            *lock(&read) += 1.0;
            *lock(&read)
        });
        registry.counter(OPS);
        let text = registry.text();
        assert!(
            text.contains("latency_seconds_bucket{le=\"0.5\"} 0\n")
                && text.contains("latency_seconds_count 0\n")
        );
        assert!(text.contains("left_seconds 1\n") && !text.contains("ops_total"), "{text}");
        assert!(registry.text().contains("left_seconds 2\n"));
    }

    #[test]
    fn registering_twice_gives_the_same_family() {
        let registry = Registry::new();
        registry.counter(OPS).inc(&["a"]);
        registry.counter(OPS).inc(&["a"]);
        assert!(registry.text().contains("ops_total{op=\"a\"} 2"));
    }
}
