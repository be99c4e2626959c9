//! Documents that must follow the code: the paths ARCHITECTURE.md names, the invariants docs/invariants.md lists.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};

use super::Finding;

const TOUR: &str = "ARCHITECTURE.md";
const INVARIANTS: &str = "docs/invariants.md";
const INVARIANTS_SOURCE: &str = "core/types/src/invariant.rs";

/// Checks the documents below `root`.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let read = |path: &str| fs::read_to_string(root.join(path)).with_context(|| path.to_owned());
    let mut findings: Vec<Finding> = named_paths(&read(TOUR)?)
        .into_iter()
        .filter(|path| !root.join(path).exists())
        .map(|path| Finding::new(TOUR, format!("it names `{path}`, which does not exist")))
        .collect();
    let (listed, checked) = (listed_ids(&read(INVARIANTS)?), quoted_ids(&read(INVARIANTS_SOURCE)?));
    let missing =
        checked.difference(&listed).map(|id| format!("{id} of {INVARIANTS_SOURCE} is not in its table"));
    let unknown = listed.difference(&checked).map(|id| format!("{id} is not in {INVARIANTS_SOURCE}"));
    findings.extend(missing.chain(unknown).map(|text| Finding::new(INVARIANTS, text)));
    Ok(findings)
}

/// Everything in backticks that looks like a path of the repository: it has a slash or a file's ending, and no blanks.
fn named_paths(text: &str) -> BTreeSet<String> {
    let outside_blocks = text.split("```").step_by(2).collect::<String>();
    let quoted = outside_blocks.split('`').skip(1).step_by(2).map(str::to_owned);
    quoted.filter(|word| looks_like_a_path(word)).map(|word| word.trim_end_matches("/*").to_owned()).collect()
}

fn looks_like_a_path(word: &str) -> bool {
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-*".contains(c));
    let file = [".rs", ".md", ".toml", ".txt", ".yaml", ".proto"].iter().any(|end| word.ends_with(end));
    plain && !word.starts_with('/') && (word.contains('/') || file)
}

/// The IDs in the first column of the document's tables.
fn listed_ids(text: &str) -> BTreeSet<String> {
    let cells = text.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    cells.map(str::trim).filter(|cell| is_id(cell)).map(str::to_owned).collect()
}

/// The IDs in string literals of the source.
fn quoted_ids(text: &str) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split('"').skip(1).step_by(2))
        .filter(|text| is_id(text))
        .map(str::to_owned)
        .collect()
}

/// `PW-1`: two capitals, a dash, a number.
fn is_id(word: &str) -> bool {
    word.split_once('-').is_some_and(|(letters, number)| {
        letters.len() == 2
            && letters.chars().all(|c| c.is_ascii_uppercase())
            && !number.is_empty()
            && number.chars().all(|c| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_other_code_words() {
        let text = "`core/*` and `core/pods/src/lib.rs`, `Cargo.toml`, not `/healthz`, `plan(a, b)`, `tokio`,\n```\n`x/y`\n```\n`io/cri`";
        let paths: Vec<String> = named_paths(text).into_iter().collect();
        assert_eq!(paths, ["Cargo.toml", "core", "core/pods/src/lib.rs", "io/cri"]);
    }

    #[test]
    fn invariants_are_read_from_table_and_source() {
        let table = "| ID | rule |\n|---|---|\n| PW-1 | a |\n| ST-12 | b |\n\nPR-1 comes later.\n";
        let source = "/// `PW-1` or \"XX-1\"\n    A = \"PW-1\", \"a rule\";\n    B = \"ST-12\", \"b\";\n";
        assert_eq!(listed_ids(table), quoted_ids(source));
        assert_eq!(listed_ids(table).len(), 2);
    }
}
