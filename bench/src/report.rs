//! Figures of all rounds, as a table and as JSON.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// One figure of one round.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// What was measured, e.g. `RSS, idle`.
    pub(crate) what: String,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// How it was taken.
    pub(crate) how: &'static str,
    /// The figure.
    pub(crate) value: f64,
}

impl Figure {
    /// A figure.
    pub(crate) fn new(what: impl Into<String>, unit: &'static str, value: f64, how: &'static str) -> Self {
        Self { what: what.into(), unit, how, value }
    }
}

/// All values of one figure, by who was measured.
#[derive(Debug)]
struct Row {
    what: String,
    unit: &'static str,
    how: &'static str,
    values: BTreeMap<&'static str, Vec<f64>>,
}

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    contenders: Vec<&'static str>,
    rows: Vec<Row>,
}

impl Report {
    /// An empty report; the first contender is compared with the second, if there is one.
    pub(crate) fn new(contenders: Vec<&'static str>) -> Self {
        Self { contenders, rows: Vec::new() }
    }

    /// Adds a figure of one round.
    pub(crate) fn add(&mut self, of: &'static str, figure: Figure) {
        let known = self.rows.iter().position(|row| row.what == figure.what);
        let index = known.unwrap_or_else(|| {
            let Figure { what, unit, how, .. } = figure;
            self.rows.push(Row { what, unit, how, values: BTreeMap::new() });
            self.rows.len() - 1
        });
        self.rows[index].values.entry(of).or_default().push(figure.value);
    }

    /// One line a figure: median, least and most of all rounds, and the ratio.
    pub(crate) fn table(&self) -> String {
        let cell = |row: &Row, of: &str| match row.values.get(of) {
            Some(values) => spread(values, row.unit),
            None => "-".to_owned(),
        };
        let mut lines = vec![[vec!["figure".to_owned()], self.columns(), vec!["ratio".to_owned()]].concat()];
        for row in &self.rows {
            let cells = self.columns().iter().map(|of| cell(row, of)).collect();
            let ratio = self.ratio(row).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
            lines.push([vec![row.what.clone()], cells, vec![ratio]].concat());
        }
        let widths: Vec<usize> = (0..lines[0].len())
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default())
            .collect();
        let mut text = String::new();
        for line in &lines {
            let cells: Vec<String> =
                line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            let _ = writeln!(text, "{}", cells.join("  ").trim_end());
        }
        text
    }

    /// Writes every value.
    pub(crate) fn write_json(&self, file: &Path) -> Result<()> {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({ "figure": row.what, "unit": row.unit, "how": row.how, "values": row.values,
                    "ratio": self.ratio(row) })
            })
            .collect();
        let text = serde_json::to_string_pretty(&json!({ "figures": rows }))?;
        fs::write(file, text + "\n").with_context(|| format!("{}", file.display()))
    }

    fn columns(&self) -> Vec<String> {
        let mut columns = self.contenders.clone();
        let others = self.rows.iter().flat_map(|row| row.values.keys());
        for other in others {
            if !columns.contains(other) {
                columns.push(other);
            }
        }
        columns.into_iter().map(str::to_owned).collect()
    }

    /// Median of the first contender by median of the second.
    fn ratio(&self, row: &Row) -> Option<f64> {
        let [first, second, ..] = *self.contenders.as_slice() else { return None };
        let (ours, theirs) = (median(row.values.get(first)?), median(row.values.get(second)?));
        (theirs != 0.0).then(|| ours / theirs)
    }
}

/// The middle value, of an even number the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.get(sorted.len() / 2), sorted.len() % 2) {
        (None, _) => 0.0,
        (Some(upper), 0) => f64::midpoint(sorted[sorted.len() / 2 - 1], *upper),
        (Some(middle), _) => *middle,
    }
}

/// The value below which this share of the sorted values lies; 0 when there is none.
pub(crate) fn at_share(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn spread(values: &[f64], unit: &str) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match values.len() {
        1 => format!("{} {unit}", short(least)),
        _ => format!("{} {unit} ({}..{})", short(median(values)), short(least), short(most)),
    }
}

fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_become_a_median_a_spread_and_a_ratio() {
        let mut report = Report::new(vec!["ours", "theirs"]);
        for (of, value) in [("ours", 2.0), ("theirs", 10.0), ("ours", 4.0), ("theirs", 20.0)] {
            report.add(of, Figure::new("RSS", "MiB", value, "by hand"));
        }
        report.add("alone", Figure::new("pod", "s", 0.25, "by hand"));
        let table = report.table();
        assert!(table.contains("3 MiB (2..4)") && table.contains("15 MiB (10..20)"), "{table}");
        assert!(table.contains("0.200"), "{table}");
        assert!(table.lines().last().is_some_and(|line| line.contains("0.250 s")), "{table}");
    }

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(
            (at_share(&[1.0, 2.0, 3.0, 4.0], 0.5), at_share(&[1.0], 0.99), at_share(&[], 0.5)),
            (3.0, 1.0, 0.0)
        );
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0]), median(&[])), (2.0, 2.5, 0.0));
    }
}
