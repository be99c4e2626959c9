//! What one source file must have (a header) and, in decision crates, must not have (async, the machine).
//!
//! Code that is compiled only for tests is free. What hides in a macro's tokens is not seen.

use std::path::Path;

use syn::{
    Attribute, ExprAsync, ExprAwait, Item, ItemMod, Path as SynPath, Signature, UseTree,
    spanned::Spanned as _,
    visit::{self, Visit},
};

use super::{Finding, SourceFile};

/// Modules of `std` that reach the machine.
const NOT_IN_CORE: [&str; 5] = ["fs", "net", "process", "thread", "env"];

/// Checks one file.
pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !file.text.starts_with("//!") {
        let text = "a module opens with `//!`: what it is for, what it reads and writes, what it leaves out";
        findings.push(Finding::new(file.path.display().to_string(), text));
    }
    if is_decision(&file.path) {
        let mut visitor = Purity { path: &file.path, findings: Vec::new() };
        visitor.visit_file(&file.syntax);
        findings.extend(visitor.findings);
    }
    findings
}

/// Whether an item is compiled for tests only.
pub(super) fn is_test_only(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let cfg_test = || attr.parse_args::<SynPath>().is_ok_and(|arg| arg.is_ident("test"));
        attr.path().is_ident("test") || (attr.path().is_ident("cfg") && cfg_test())
    })
}

/// The attributes of an item of any kind that can be made test-only.
pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn is_decision(path: &Path) -> bool {
    let mut parts = path.iter();
    parts.next().is_some_and(|first| first == "core") && parts.nth(1).is_some_and(|third| third == "src")
}

struct Purity<'a> {
    path: &'a Path,
    findings: Vec<Finding>,
}

impl Purity<'_> {
    fn find(&mut self, line: usize, text: String) {
        self.findings.push(Finding::new(format!("{}:{line}", self.path.display()), text));
    }

    fn check_segments(&mut self, line: usize, segments: &[String]) {
        let [first, second, ..] = segments else { return };
        if first == "std" && NOT_IN_CORE.contains(&second.as_str()) {
            let hint = if second == "net" { " (plain addresses are in `core::net`)" } else { "" };
            self.find(line, format!("decisions must not use std::{second}{hint}"));
        }
    }

    fn check_use(&mut self, before: &mut Vec<String>, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.check_use(before, &path.tree);
                before.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.check_use(before, tree)),
            UseTree::Name(name) => self.check_leaf(before, &name.ident),
            UseTree::Rename(rename) => self.check_leaf(before, &rename.ident),
            UseTree::Glob(glob) => {
                let line = glob.span().start().line;
                self.check_segments(line, before);
            }
        }
    }

    fn check_leaf(&mut self, before: &[String], ident: &syn::Ident) {
        let segments: Vec<String> = before.iter().cloned().chain([ident.to_string()]).collect();
        self.check_segments(ident.span().start().line, &segments);
    }
}

impl<'ast> Visit<'ast> for Purity<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test_only(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test_only(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_signature(&mut self, signature: &'ast Signature) {
        if signature.asyncness.is_some() {
            self.find(
                signature.span().start().line,
                format!("decisions must not be async: {}", signature.ident),
            );
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, expr: &'ast ExprAsync) {
        self.find(expr.span().start().line, "decisions must not be async".to_owned());
    }

    fn visit_expr_await(&mut self, expr: &'ast ExprAwait) {
        self.find(expr.span().start().line, "decisions must not be async".to_owned());
    }

    fn visit_use_tree(&mut self, tree: &'ast UseTree) {
        self.check_use(&mut Vec::new(), tree);
    }

    fn visit_path(&mut self, path: &'ast SynPath) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.check_segments(path.span().start().line, &segments);
        visit::visit_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let syntax = syn::parse_file(text).expect("Rust");
        let file = SourceFile { path: path.into(), text: text.to_owned(), syntax };
        check(&file).into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn a_module_without_a_header_is_found() {
        assert_eq!(findings("agent/src/a.rs", "//! For it.\nfn a() {}").len(), 0);
        assert_eq!(findings("agent/src/a.rs", "// For it.\nfn a() {}").len(), 1);
        assert_eq!(findings("agent/src/a.rs", "").len(), 1);
    }

    #[test]
    fn decisions_use_neither_async_nor_the_machine() {
        for (body, expected) in [
            ("use std::fs;", 1),
            ("use std::{collections::BTreeMap, net::IpAddr, thread};", 2),
            ("use std::env::*;", 1),
            ("use std::process as p;", 1),
            ("fn a() { let _ = std::env::var(\"X\"); }", 1),
            ("async fn a() {}", 1),
            ("fn a() { let _ = async { 1 }; }", 1),
            ("struct A; impl A { async fn a(&self) {} }", 1),
            ("use core::net::IpAddr; use std::fmt; mod net {} fn a() { net::x(); }", 0),
            ("#[cfg(test)] mod tests { use std::fs; }", 0),
            ("#[cfg(test)] use std::fs;", 0),
        ] {
            let text = format!("//! For it.\n{body}");
            assert_eq!(findings("core/pods/src/a.rs", &text).len(), expected, "{body}");
            assert_eq!(findings("agent/src/a.rs", &text).len(), 0, "{body}");
            assert_eq!(findings("core/pods/tests/a.rs", &text).len(), 0, "{body}");
        }
    }
}
