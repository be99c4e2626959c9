//! `cargo xtask tidy`: the rules of the workspace that no compiler checks.
//!
//! | rule | where |
//! |---|---|
//! | a ring depends only on the rings it may see, and decisions stay free of async and of the machine | [`rings`], [`source`] |
//! | functions, files, structs and parameter lists stay small; what is too large today may only shrink | [`budget`] |
//! | each module says what it is for | [`source`] |
//! | documents name paths that exist and the invariants that are checked | [`documents`] |
//!
//! Each check is a function from text to findings, so that it has tests of its own; this file only reads the tree.

mod budget;
mod documents;
mod rings;
mod source;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Something to put right.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    /// The file, item or crate.
    place: String,
    /// What is wrong and what to do.
    text: String,
}

impl Finding {
    fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into() }
    }
}

/// A source file of the workspace.
struct SourceFile {
    /// Relative to the workspace root.
    path: PathBuf,
    text: String,
    syntax: syn::File,
}

/// What to do with the file of exceptions from the size budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exceptions {
    /// Leave it as it is.
    Keep,
    /// Lower or remove entries where the code has become smaller; make the file where there is none.
    Shrink,
}

/// Runs all checks and prints what they find; whether they found nothing.
pub(crate) fn tidy(root: &Path, exceptions: Exceptions) -> Result<bool> {
    let files = sources(root)?;
    let mut findings = rings::check(root)?;
    for file in &files {
        findings.extend(source::check(file));
    }
    findings.extend(budget::check(root, &files, exceptions)?);
    findings.extend(documents::check(root)?);
    for finding in &findings {
        println!("tidy: {}: {}", finding.place, finding.text);
    }
    match findings.len() {
        0 => println!("tidy: {} source files are in order", files.len()),
        found => println!("tidy: {found} findings"),
    }
    Ok(findings.is_empty())
}

/// Every Rust file that git knows or would take, below the workspace root.
fn sources(root: &Path) -> Result<Vec<SourceFile>> {
    let mut paths = Vec::new();
    walk(root, &mut paths)?;
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        let syntax = syn::parse_file(&text).with_context(|| format!("{} is no Rust", path.display()))?;
        Ok(SourceFile { path: path.strip_prefix(root)?.to_owned(), text, syntax })
    };
    paths.into_iter().map(read).collect()
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("{}", dir.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if name != "target" && name != "third_party" && !name.starts_with('.') {
                walk(&path, found)?;
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    Ok(())
}
