//! Pod manifests: bytes of YAML or JSON in, pods ready to run out, or everything that is wrong with them.
//!
//! ```text
//! bytes --core-yaml--> value --kind?--> Pod --strip, UID, static defaults--> --API defaults--> validation --> pods
//!                        |       |       |                                                         |
//!                        +-------+-------+------------- ManifestIssue (line, field, text) <--------+
//! ```
//!
//! Follows upstream's `pkg/kubelet/config` (CONTRACT 3.1): unknown fields and doubled keys are ignored (here: with a
//! warning), a file holds one pod, a URL one pod or a list. `podwright run` takes every document of its input.
//!
//! Guarantees: total and bounded (size, depth, pods and errors per manifest); all errors of a manifest at once, one line
//! of text each; equal manifests give equal UIDs whatever their comments and order of keys; a manifest with an error
//! gives no pod at all.
//!
//! Left out: remembering what a file held before ([`crate::manifest_set`]) and what other pods there are
//! ([`crate::merge`]).

mod defaults;
pub(crate) mod fnv;
mod references;
mod static_pod;
#[cfg(test)]
mod tests;
mod upstream_uid;

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use core_types::api::Pod;
use core_types::view::PodSource;
use core_types::{PodGates, WallTime};
use core_yaml::{DecodeError, Document, FieldPath, Limits};
use serde_json::Value;

pub use defaults::apply_api_defaults;

use crate::unsupported::unsupported_fields;
use crate::validation::{Errors, FieldError, validate_pod};

/// Pods that one manifest may hold. A node runs 110 pods unless configured otherwise.
pub const MAX_PODS: usize = 1024;

/// Errors of one manifest that are kept, and as many warnings.
pub const MAX_ISSUES: usize = 100;
/// Characters of a field path or message that are kept: a name in them may be as long as the file.
const MAX_TEXT_CHARS: usize = 1000;

/// Issues of a manifest whose line is looked up; each look-up reads the file again.
const MAX_LOCATED_ISSUES: usize = 20;
/// Files above this size are reported without lines, to keep one bad file from costing seconds.
const MAX_LOCATED_BYTES: usize = 1 << 20;

/// What a manifest may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestMode {
    /// One pod, in the first document: files of `staticPodPath`.
    OnePod,
    /// One pod or one list of pods, in the first document: the body of `staticPodURL`.
    PodOrList,
    /// Pods and lists of pods in any number of documents: `podwright run`.
    Everything,
}

/// Where a manifest comes from and where its pods are to run.
#[derive(Clone, Copy, Debug)]
pub struct StaticContext<'a> {
    /// Name of the node.
    pub node_name: &'a str,
    /// The source: File, Http or Local.
    pub source: PodSource,
    /// Path of the file, or the URL. Part of the UID of file and http pods, but not of local pods, which keep theirs
    /// wherever their manifest is stored.
    pub origin: &'a str,
    /// What pods may use.
    pub gates: PodGates,
}

/// Pods of a manifest, with all defaults applied.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    /// The pods, in the order of the manifest.
    pub pods: Vec<Arc<Pod>>,
    /// What was ignored: unknown fields, doubled keys, further documents.
    pub warnings: Vec<ManifestIssue>,
}

/// One thing that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {}", self.text())]
pub struct ManifestIssue {
    /// Path of the file, or the URL.
    pub origin: String,
    /// Line in the file, from 1, when known.
    pub line: Option<usize>,
    /// Path of the field, e.g. `spec.containers[0].image`; empty when the whole document is concerned.
    pub field: String,
    /// What is wrong, on one line.
    pub message: String,
}

impl ManifestIssue {
    /// Line, field and message, without the origin.
    pub fn text(&self) -> String {
        let line = self.line.map(|line| format!("line {line}")).unwrap_or_default();
        let parts = [line.as_str(), &self.field, &self.message];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
    }
}

/// Reads the pods of a manifest. `seen` becomes their annotation `kubernetes.io/config.seen`.
///
/// # Errors
/// Everything that is wrong with it, in the order of the manifest; no pod is given then.
pub fn decode_manifest(
    bytes: &[u8],
    mode: ManifestMode,
    context: &StaticContext<'_>,
    seen: WallTime,
) -> Result<Manifest, Vec<ManifestIssue>> {
    let reader = Reader { bytes, mode, context, seen, located: Cell::new(0) };
    let mut found = Found::default();
    match reader.documents(&mut found) {
        Ok(documents) => {
            for (index, document) in documents.into_iter().enumerate() {
                reader.read_document(index, document, &mut found);
            }
        }
        Err(error) => found.error(reader.decode_issue(&error)),
    }
    if found.errors.is_empty() && found.manifest.pods.is_empty() {
        let text = "there is no pod in it: write \"apiVersion: v1\" and \"kind: Pod\" and what follows";
        found.error(reader.issue(0, "", text));
    }
    if found.errors.is_empty() { Ok(found.manifest) } else { Err(found.errors) }
}

#[derive(Default)]
struct Found {
    manifest: Manifest,
    errors: Vec<ManifestIssue>,
}

impl Found {
    fn error(&mut self, issue: ManifestIssue) {
        push_bounded(&mut self.errors, issue);
    }

    fn warning(&mut self, issue: ManifestIssue) {
        push_bounded(&mut self.manifest.warnings, issue);
    }
}

fn push_bounded(list: &mut Vec<ManifestIssue>, issue: ManifestIssue) {
    if list.len() < MAX_ISSUES {
        list.push(issue);
    }
}

/// One line of bounded length.
fn one_line(text: &str) -> String {
    let mut line: String = text.chars().take(MAX_TEXT_CHARS).collect();
    if line.len() < text.len() {
        line.push('…');
    }
    line.replace(['\n', '\r'], " ")
}

struct Reader<'a> {
    bytes: &'a [u8],
    mode: ManifestMode,
    context: &'a StaticContext<'a>,
    seen: WallTime,
    located: Cell<usize>,
}

impl Reader<'_> {
    /// The documents to read. What stands after the first one concerns only [`ManifestMode::Everything`]; elsewhere it
    /// may even be broken, as upstream does not look at it.
    fn documents(&self, found: &mut Found) -> Result<Vec<Document>, DecodeError> {
        let all = core_yaml::decode_documents(self.bytes, Limits::default());
        if self.mode == ManifestMode::Everything {
            return all;
        }
        let mut documents = match all {
            Ok(documents) => documents,
            Err(_) => {
                let value = core_yaml::decode(self.bytes, Limits::default())?;
                let start = core_yaml::Position { line: 1, column: 1 };
                vec![Document { value, start, duplicates: Vec::new() }]
            }
        };
        if let Some(second) = documents.get(1) {
            let message = "only the first document of this file is read: put every pod in a file of its own";
            let mut issue = self.issue(1, "", message);
            issue.line = Some(second.start.line);
            found.warning(issue);
        }
        documents.truncate(1);
        Ok(documents)
    }

    fn read_document(&self, index: usize, document: Document, found: &mut Found) {
        for duplicate in &document.duplicates {
            let message = format!(
                "key {:?} is already set at line {}: the later value counts",
                duplicate.key, duplicate.first.line
            );
            let mut issue = self.issue(index, "", message);
            issue.line = Some(duplicate.at.line);
            found.warning(issue);
        }
        match Kind::of(&document.value) {
            Ok(Kind::Nothing) => {}
            Ok(Kind::Pod) => self.read_pod(index, "", document.value, found),
            Ok(Kind::List) if self.mode == ManifestMode::OnePod => {
                let text = "a list of pods is not taken here: put every pod in a file of its own";
                found.error(self.issue(index, "kind", text));
            }
            Ok(Kind::List) => self.read_list(index, document.value, found),
            Err((field, message)) => found.error(self.issue(index, field, message)),
        }
    }

    fn read_list(&self, index: usize, mut list: Value, found: &mut Found) {
        let is_pod_list = list.get("kind").and_then(Value::as_str) == Some("PodList");
        let items = match list.get_mut("items").map(Value::take) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                found.error(self.issue(index, "items", "this must be a list of pods"));
                return;
            }
        };
        for (item_index, mut item) in items.into_iter().enumerate() {
            let prefix = format!("items[{item_index}]");
            // Items of a PodList as the API server gives it carry neither field.
            if let Value::Object(map) = &mut item
                && is_pod_list
            {
                map.entry("apiVersion").or_insert_with(|| "v1".into());
                map.entry("kind").or_insert_with(|| "Pod".into());
            }
            match Kind::of(&item) {
                Ok(Kind::Pod) => self.read_pod(index, &format!("{prefix}."), item, found),
                Ok(Kind::Nothing | Kind::List) => {
                    found.error(self.issue(index, &prefix, "this item is not a Pod: a list holds pods only"));
                }
                Err((field, message)) => {
                    let field = if field.is_empty() { prefix } else { format!("{prefix}.{field}") };
                    found.error(self.issue(index, &field, message));
                }
            }
        }
    }

    /// Reads one pod; `prefix` leads to it within the document.
    fn read_pod(&self, index: usize, prefix: &str, value: Value, found: &mut Found) {
        if found.manifest.pods.len() >= MAX_PODS {
            if found.errors.is_empty() {
                let text = format!("more than {MAX_PODS} pods in one manifest: split it");
                found.error(self.issue(index, prefix.trim_end_matches('.'), text));
            }
            return;
        }
        let (mut pod, unknown) = match core_yaml::from_value::<Pod>(value) {
            Ok(read) => read,
            Err(error) => {
                let field = format!("{prefix}{}", error.path);
                let quote = error.message.contains("expected a string");
                let hint = if quote { ": put the value in quotes" } else { "" };
                found.error(self.issue(index, &field, format!("{}{hint}", error.message)));
                return;
            }
        };
        for field in unknown {
            let path = format!("{prefix}{}", field.path);
            found.warning(self.issue(index, &path, "unknown field, it is ignored"));
        }
        static_pod::make_static(&mut pod, self.context, self.seen);
        apply_api_defaults(&mut pod);
        for error in pod_errors(&pod, self.context.gates) {
            let field = format!("{prefix}{}", error.field);
            found.error(self.issue(index, &field, error.body()));
        }
        found.manifest.pods.push(Arc::new(pod));
    }

    fn issue(&self, document: usize, field: &str, message: impl Into<String>) -> ManifestIssue {
        let line = match self.bytes.len() <= MAX_LOCATED_BYTES && self.located.get() < MAX_LOCATED_ISSUES {
            true => {
                self.located.set(self.located.get() + 1);
                let path = FieldPath::parse(field);
                core_yaml::locate(self.bytes, document, &path, Limits::default())
                    .map(|position| position.line)
            }
            false => None,
        };
        let (field, message) = (one_line(field), one_line(&message.into()));
        ManifestIssue { origin: self.context.origin.to_owned(), line, field, message }
    }

    fn decode_issue(&self, error: &DecodeError) -> ManifestIssue {
        let text = error.to_string();
        let position = error.position();
        let place = position.map(|position| format!("{position}: ")).unwrap_or_default();
        ManifestIssue {
            origin: self.context.origin.to_owned(),
            line: position.map(|position| position.line),
            field: String::new(),
            message: one_line(text.strip_prefix(&place).unwrap_or(&text)),
        }
    }
}

/// Everything that is wrong with a pod that carries all its defaults: invalid fields, references to API objects, and
/// what the agent does not do yet. A field is reported by the first of them only.
fn pod_errors(pod: &Pod, gates: PodGates) -> Vec<FieldError> {
    let mut errors = validate_pod(pod, gates);
    let Some(spec) = &pod.spec else { return errors };
    let mut references = Errors::default();
    references::forbid_references(spec, &mut references);
    for error in references.into_vec().into_iter().chain(unsupported_fields(spec)) {
        if !errors.iter().any(|known| known.field == error.field) {
            errors.push(error);
        }
    }
    errors
}

/// What a document holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nothing,
    Pod,
    List,
}

impl Kind {
    /// Judges `apiVersion` and `kind`; an error is a field and a message.
    fn of(value: &Value) -> Result<Self, (&'static str, String)> {
        const START: &str = "a pod manifest starts with \"apiVersion: v1\" and \"kind: Pod\"";
        let map = match value {
            Value::Null => return Ok(Self::Nothing),
            Value::Object(map) => map,
            other => return Err(("", format!("this is {}, not a map of fields: {START}", Described(other)))),
        };
        let kind = match map.get("kind") {
            None | Some(Value::Null) => return Err(("kind", format!("Required value: {START}"))),
            Some(Value::String(kind)) if !kind.is_empty() => kind.as_str(),
            Some(other) => {
                return Err((
                    "kind",
                    format!("this is {}, not the name of a kind: {START}", Described(other)),
                ));
            }
        };
        let this = match kind {
            "Pod" => Self::Pod,
            "List" | "PodList" => Self::List,
            "Deployment"
            | "StatefulSet"
            | "DaemonSet"
            | "ReplicaSet"
            | "Job"
            | "CronJob"
            | "ReplicationController" => {
                let text = format!(
                    "kind {kind} is not a Pod; a node runs pods only: write its pod template as a Pod, or apply it to a cluster"
                );
                return Err(("kind", text));
            }
            kind => {
                let text = format!("kind {kind} is not a Pod; a node runs pods only: {START}");
                return Err(("kind", text));
            }
        };
        match map.get("apiVersion") {
            Some(Value::String(version)) if version == "v1" => Ok(this),
            None | Some(Value::Null) => Err(("apiVersion", format!("Required value: {START}"))),
            Some(other) => {
                Err(("apiVersion", format!("Unsupported value: {other}: supported values: \"v1\"")))
            }
        }
    }
}

/// A JSON value in words.
struct Described<'a>(&'a Value);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "a map",
        })
    }
}
