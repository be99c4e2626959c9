//! Size budgets, kept as a ratchet: what is too large today is listed in `xtask/budget.txt`, and that list may only shrink.
//!
//! | what | at most |
//! |---|---|
//! | lines of a function | 70 |
//! | lines of a file, test-only items left out | 600 |
//! | fields of a struct | 15 |
//! | parameters of a function, `self` left out | 6 |
//! | lines of a `main.rs` | 150 |
//!
//! Tests (test-only items, modules and crates) are free. A struct that mirrors an API object says so in its doc comment, with
//! the words "API object", and may have as many fields as that has.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use syn::{
    Attribute, Block, Expr, FnArg, ImplItemFn, Item, ItemFn, ItemImpl, ItemStruct, ItemTrait, Lit, Meta,
    Signature, TraitItemFn, Type,
    spanned::Spanned as _,
    visit::{self, Visit},
};

use super::{
    Exceptions, Finding, SourceFile,
    source::{attributes, is_test_only},
};

const FILE: &str = "xtask/budget.txt";
const HEADER: &str = "# What is larger than its budget. Entries may shrink and go (`cargo xtask tidy --shrink`), never grow or come.\n";
const API_OBJECT: &str = "API object";

/// A kind of size with its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    FunctionLines,
    FileLines,
    StructFields,
    FunctionParameters,
    MainLines,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::FunctionLines => "function-lines",
            Self::FileLines => "file-lines",
            Self::StructFields => "struct-fields",
            Self::FunctionParameters => "function-parameters",
            Self::MainLines => "main-lines",
        }
    }

    fn budget(self) -> usize {
        match self {
            Self::FunctionLines => 70,
            Self::FileLines => 600,
            Self::StructFields => 15,
            Self::FunctionParameters => 6,
            Self::MainLines => 150,
        }
    }
}

/// `<kind> <path>[::<item>]`, and how large it is.
type Sizes = BTreeMap<String, usize>;

/// Measures all files and compares with the list of exceptions.
pub(super) fn check(root: &Path, files: &[SourceFile], exceptions: Exceptions) -> Result<Vec<Finding>> {
    let over = measure(files);
    let path = root.join(FILE);
    let (listed, is_new) = match fs::read_to_string(&path) {
        Ok(text) => (parse(&text)?, false),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (over.clone(), true),
        Err(error) => return Err(error).context(FILE),
    };
    if exceptions == Exceptions::Shrink {
        let kept = shrink(&listed, &over);
        fs::write(&path, render(&kept)).context(FILE)?;
    } else if is_new && !over.is_empty() {
        return Ok(vec![Finding::new(FILE, "it is missing; `cargo xtask tidy --shrink` makes it")]);
    }
    Ok(compare(&listed, &over))
}

fn compare(listed: &Sizes, over: &Sizes) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, size) in over {
        match listed.get(place) {
            None => findings.push(Finding::new(place, format!("{size} is over the budget: make it smaller"))),
            Some(old) if size > old => {
                findings
                    .push(Finding::new(place, format!("it grew from {old} to {size} and may only shrink")));
            }
            Some(_) => {}
        }
    }
    findings
}

fn shrink(listed: &Sizes, over: &Sizes) -> Sizes {
    let still = |(place, old): (&String, &usize)| over.get(place).map(|now| (place.clone(), *now.min(old)));
    listed.iter().filter_map(still).collect()
}

fn parse(text: &str) -> Result<Sizes> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &str| {
        let (place, size) = line.rsplit_once(' ').with_context(|| format!("{FILE}: `{line}` has no size"))?;
        Ok((place.to_owned(), size.parse().with_context(|| format!("{FILE}: `{line}`"))?))
    };
    lines.map(entry).collect()
}

fn render(sizes: &Sizes) -> String {
    let lines = sizes.iter().map(|(place, size)| format!("{place} {size}\n"));
    HEADER.to_owned() + &lines.collect::<String>()
}

/// Everything over its budget.
fn measure(files: &[SourceFile]) -> Sizes {
    let tests: BTreeSet<PathBuf> = files.iter().flat_map(test_modules).collect();
    let mut sizes = Sizes::new();
    for file in files.iter().filter(|file| !is_test_file(&file.path, &tests)) {
        let mut meter = Meter { path: file.path.display().to_string(), owner: Vec::new(), sizes: &mut sizes };
        meter.measure_file(file);
    }
    sizes
}

/// A file of a test crate, of a `tests` or `benches` folder, or of a module that is declared test-only.
fn is_test_file(path: &Path, test_modules: &BTreeSet<PathBuf>) -> bool {
    let in_folder = path.iter().any(|part| part == "tests" || part == "benches");
    in_folder
        || test_modules.iter().any(|module| path.starts_with(module) || path == module.with_extension("rs"))
}

/// The modules that `file` declares as test-only, as paths without `.rs`.
fn test_modules(file: &SourceFile) -> Vec<PathBuf> {
    let stem = file.path.file_stem().unwrap_or_default();
    let own_dir = stem == "lib" || stem == "main" || stem == "mod";
    let dir = if own_dir { file.path.with_file_name("") } else { file.path.with_extension("") };
    let declared = file.syntax.items.iter().filter_map(|item| match item {
        Item::Mod(module) if module.content.is_none() && is_test_only(&module.attrs) => Some(&module.ident),
        _ => None,
    });
    declared.map(|name| dir.join(name.to_string())).collect()
}

struct Meter<'a> {
    path: String,
    owner: Vec<String>,
    sizes: &'a mut Sizes,
}

impl Meter<'_> {
    fn measure_file(&mut self, file: &SourceFile) {
        let total = file.text.lines().count();
        let test_lines = |item: &Item| if is_test_only(attributes(item)) { lines_of(item) } else { 0 };
        let tests: usize = file.syntax.items.iter().map(test_lines).sum();
        let is_main = file.path.file_name().is_some_and(|name| name == "main.rs");
        self.note(if is_main { Kind::MainLines } else { Kind::FileLines }, None, total.saturating_sub(tests));
        self.visit_file(&file.syntax);
    }

    fn note(&mut self, kind: Kind, item: Option<&syn::Ident>, size: usize) {
        if size <= kind.budget() {
            return;
        }
        let mut place = format!("{} {}", kind.name(), self.path);
        for part in self.owner.iter().cloned().chain(item.map(ToString::to_string)) {
            place.push_str("::");
            place.push_str(&part);
        }
        let entry = self.sizes.entry(place).or_default();
        *entry = size.max(*entry);
    }

    fn note_function(&mut self, signature: &Signature, block: &Block) {
        let lines = block.span().end().line + 1 - signature.span().start().line;
        self.note(Kind::FunctionLines, Some(&signature.ident), lines);
        self.note_parameters(signature);
    }

    fn note_parameters(&mut self, signature: &Signature) {
        let parameters = signature.inputs.iter().filter(|input| matches!(input, FnArg::Typed(_))).count();
        self.note(Kind::FunctionParameters, Some(&signature.ident), parameters);
    }
}

impl<'ast> Visit<'ast> for Meter<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test_only(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.note_function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        self.owner.push(type_name(&item.self_ty));
        visit::visit_item_impl(self, item);
        self.owner.pop();
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.note_function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        self.owner.push(item.ident.to_string());
        visit::visit_item_trait(self, item);
        self.owner.pop();
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        match &item.default {
            Some(block) => self.note_function(&item.sig, block),
            None => self.note_parameters(&item.sig),
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        if !mirrors_api_object(&item.attrs) {
            self.note(Kind::StructFields, Some(&item.ident), item.fields.len());
        }
    }
}

fn lines_of(item: &Item) -> usize {
    let span = item.span();
    span.end().line + 1 - span.start().line
}

fn type_name(ty: &Type) -> String {
    match ty {
        Type::Path(path) => {
            path.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default()
        }
        _ => "impl".to_owned(),
    }
}

fn mirrors_api_object(attrs: &[Attribute]) -> bool {
    let doc = |attr: &Attribute| match &attr.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    attrs.iter().filter_map(doc).collect::<Vec<_>>().join(" ").contains(API_OBJECT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.into(), text: text.to_owned(), syntax: syn::parse_file(text).expect("Rust") }
    }

    fn measured(path: &str, text: &str) -> Vec<(String, usize)> {
        measure(&[file(path, text)]).into_iter().collect()
    }

    fn entry(place: &str, size: usize) -> (String, usize) {
        (place.to_owned(), size)
    }

    #[test]
    fn a_function_has_seventy_lines_from_fn_to_brace() {
        let of = |inner: usize| format!("/// A.\nfn a() {{\n{}}}\n", "    b();\n".repeat(inner));
        assert_eq!(measured("x/src/a.rs", &of(68)), vec![]);
        assert_eq!(measured("x/src/a.rs", &of(69)), vec![entry("function-lines x/src/a.rs::a", 71)]);
        let method = format!("struct S;\nimpl S {{\n{}}}\n", of(80));
        assert_eq!(measured("x/src/a.rs", &method), vec![entry("function-lines x/src/a.rs::S::a", 82)]);
    }

    #[test]
    fn the_lines_of_tests_do_not_count() {
        let code = "const A: u8 = 1;\n".repeat(600);
        let tests = format!(
            "#[cfg(test)]\nmod tests {{\n    fn long() {{\n{}    }}\n}}\n",
            "        b();\n".repeat(100)
        );
        assert_eq!(measured("x/src/a.rs", &format!("{code}{tests}")), vec![]);
        let over = format!("{code}const B: u8 = 1;\n{tests}");
        assert_eq!(measured("x/src/a.rs", &over), vec![entry("file-lines x/src/a.rs", 601)]);
    }

    #[test]
    fn a_module_that_is_declared_test_only_is_free_with_all_below_it() {
        let long = "const A: u8 = 1;\n".repeat(700);
        let declare = "#[cfg(test)]\nmod check;\n";
        for (parent, child, found) in [
            ("x/src/lib.rs", "x/src/check.rs", 0),
            ("x/src/a.rs", "x/src/a/check.rs", 0),
            ("x/src/a.rs", "x/src/a/check/deep.rs", 0),
            ("x/src/a.rs", "x/src/check.rs", 1),
            ("x/src/lib.rs", "tests/src/lib.rs", 0),
        ] {
            let sizes = measure(&[file(parent, declare), file(child, &long)]);
            assert_eq!(sizes.len(), found, "{parent} {child}");
        }
    }

    #[test]
    fn parameters_and_fields_are_counted_and_api_objects_are_free() {
        let fields: String = (0..16).map(|n| format!("f{n}: u8, ")).collect();
        let parameters: String = (0..7).map(|n| format!("p{n}: u8, ")).collect();
        assert_eq!(
            measured("a.rs", &format!("struct S {{ {fields} }}")),
            vec![entry("struct-fields a.rs::S", 16)]
        );
        assert_eq!(
            measured("a.rs", &format!("/// Mirrors the\n/// API object.\nstruct S {{ {fields} }}")),
            vec![]
        );
        let function = format!("trait T {{ fn a(&self, {parameters}); fn b(&self, p: u8); }}");
        assert_eq!(measured("a.rs", &function), vec![entry("function-parameters a.rs::T::a", 7)]);
    }

    #[test]
    fn a_main_file_has_its_own_budget() {
        let text = "const A: u8 = 1;\n".repeat(151);
        assert_eq!(measured("x/src/main.rs", &text), vec![entry("main-lines x/src/main.rs", 151)]);
    }

    #[test]
    fn the_ratchet_only_goes_down() {
        let listed: Sizes = [entry("a", 80), entry("b", 90), entry("c", 100)].into();
        let over: Sizes = [entry("a", 75), entry("b", 91), entry("d", 71)].into();
        let found: Vec<String> = compare(&listed, &over).into_iter().map(|finding| finding.place).collect();
        assert_eq!(found, ["b", "d"]);
        let shrunk = shrink(&listed, &over);
        assert_eq!(shrunk, [entry("a", 75), entry("b", 90)].into());
        assert_eq!(parse(&render(&shrunk)).expect("read back"), shrunk);
    }
}
