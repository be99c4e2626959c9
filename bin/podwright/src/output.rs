//! Tables for people, JSON and YAML for programs.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use crate::cli::Format;
use crate::error::CliError;
use crate::yaml;

/// Prints a value for programs.
pub(crate) fn print_value(value: &impl Serialize, format: Format) -> Result<(), CliError> {
    let value = serde_json::to_value(value).map_err(io::Error::from)?;
    let text = match format {
        Format::Json => serde_json::to_string_pretty(&value).map_err(io::Error::from)? + "\n",
        Format::Yaml => yaml::to_string(&value),
    };
    print(&text)
}

/// Prints text. What containers, images and registries say stands in it: none of it may steer the terminal.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(harmless(text).as_bytes())?;
    out.flush()?;
    Ok(())
}

/// The text with control characters replaced, apart from ends of lines and tabs.
fn harmless(text: &str) -> String {
    let is_harmful = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    text.replace(is_harmful, "\u{fffd}")
}

/// Rows under a heading, each column as wide as its widest cell.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(|&cell| cell.to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&heading).chain(rows).collect();
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = all
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0);
            line.push_str(&format!("{cell:width$}   "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// An age as kubectl prints it: `45s`, `3m`, `2h`, `5d`.
pub(crate) fn age(age: Duration) -> String {
    match age.as_secs() {
        secs @ 0..120 => format!("{secs}s"),
        secs @ 120..7_200 => format!("{}m", secs / 60),
        secs @ 7_200..172_800 => format!("{}h", secs / 3_600),
        secs => format!("{}d", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_trailing_blanks() {
        let rows = [vec!["a".to_owned(), "long cell".to_owned(), String::new()]];
        assert_eq!(table(&["NAME", "X", "Y"], &rows), "NAME   X           Y\na      long cell\n");
    }

    #[test]
    fn what_is_printed_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\tb\n\u{1b}[2Jc\u{9b}1m\r"), "a\tb\n\u{fffd}[2Jc\u{fffd}1m\u{fffd}");
    }

    #[test]
    fn ages() {
        for (secs, want) in [(0, "0s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (172_800, "2d")] {
            assert_eq!(age(Duration::from_secs(secs)), want);
        }
    }
}
