//! From bytes to JSON values: the parser's events put together, with every bound of [`Limits`] kept.
//!
//! Memory stays within the input's size, what aliases add (bounded), and the parser's own state. Recursion
//! is bounded by [`Limits::max_depth`].

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput, StructureStyle, Tag};
use serde_json::{Map, Value};

use crate::error::{DecodeError, Position};
use crate::scalar::{Scalar, ScalarTag, resolve};

/// Bounds on one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest input, in bytes. 10 MiB, upstream's own bound on a manifest file.
    pub max_bytes: usize,
    /// Deepest nesting of maps and lists, after aliases are followed. 100: a pod uses about 12.
    pub max_depth: usize,
    /// How many bytes of values aliases and anchors may add to the document. 10 MiB.
    pub max_alias_bytes: usize,
    /// What to do with a key given twice in one map.
    pub duplicate_keys: DuplicateKeys,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_bytes: 10 << 20,
            max_depth: 100,
            max_alias_bytes: 10 << 20,
            duplicate_keys: DuplicateKeys::LastWins,
        }
    }
}

/// What to do with a key given twice in one map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuplicateKeys {
    /// End with [`DecodeError::DuplicateKey`], as Go's strict decoding does.
    Refuse,
    /// The last value stays, as Go's usual decoding does; the document lists the duplicates.
    LastWins,
}

/// A key given twice in one map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuplicateKey {
    /// The key.
    pub key: String,
    /// Where it was given first.
    pub first: Position,
    /// Where it was given again.
    pub at: Position,
}

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its content; null for an empty document.
    pub value: Value,
    /// Where its content starts.
    pub start: Position,
    /// Keys given twice, in the order met; the first hundred.
    pub duplicates: Vec<DuplicateKey>,
}

const MAX_DUPLICATES: usize = 100;

/// Reads the first document, as Go's decoders do; null when there is none.
///
/// What stands after the first document is not looked at.
pub fn decode(bytes: &[u8], limits: Limits) -> Result<Value, DecodeError> {
    let text = text_of(bytes, limits.max_bytes)?;
    let mut composer = Composer::new(text, limits);
    Ok(composer.next_document()?.map_or(Value::Null, |document| document.value))
}

/// Reads every document of a file (`---` between them), in order.
pub fn decode_documents(bytes: &[u8], limits: Limits) -> Result<Vec<Document>, DecodeError> {
    let text = text_of(bytes, limits.max_bytes)?;
    let mut composer = Composer::new(text, limits);
    let mut documents = Vec::new();
    while let Some(document) = composer.next_document()? {
        documents.push(document);
    }
    Ok(documents)
}

/// The input as text, refused when too large or when it holds bytes no YAML text holds.
pub(crate) fn text_of(bytes: &[u8], max_bytes: usize) -> Result<&str, DecodeError> {
    if bytes.len() > max_bytes {
        return Err(DecodeError::TooLarge { bytes: bytes.len(), limit: max_bytes });
    }
    let control = |b: &u8| matches!(b, 0..=8 | 11 | 12 | 14..=31 | 127);
    if let Some(offset) = bytes.iter().position(control) {
        return Err(DecodeError::NotText { at: position_of(bytes, offset), byte: bytes[offset] });
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| DecodeError::NotUtf8 { at: position_of(bytes, error.valid_up_to()) })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn position_of(bytes: &[u8], offset: usize) -> Position {
    let before = &bytes[..offset];
    let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    Position {
        line: before.iter().filter(|&&b| b == b'\n').count() + 1,
        column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
    }
}

pub(crate) fn position(marker: Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

pub(crate) fn syntax_error(error: &ScanError) -> DecodeError {
    DecodeError::Syntax { at: position(*error.marker()), message: error.info() }
}

/// The parser set up with the depth bound; shared with [`crate::locate`].
pub(crate) fn parser(text: &str, max_depth: usize) -> Parser<'_, StrInput<'_>> {
    let mut options = granit_parser::options! {
        flow_nesting_limit: max_depth + 1,
        block_nesting_limit: max_depth + 1,
        block_scalar_eof_without_line_feed: true,
    };
    options.set_emit_comments(false);
    Parser::new_from_str_with_options(text, options)
}

/// A finished value and what it costs to copy.
#[derive(Clone)]
struct Node {
    value: Value,
    bytes: usize,
    depth: usize,
}

/// Bytes charged for a value besides its text.
const VALUE_BYTES: usize = std::mem::size_of::<Value>();

struct Composer<'a> {
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    limits: Limits,
    anchors: HashMap<usize, Option<Node>>,
    alias_bytes: usize,
    flow_depth: usize,
    duplicates: Vec<DuplicateKey>,
}

impl<'a> Composer<'a> {
    fn new(text: &'a str, limits: Limits) -> Self {
        Composer {
            text,
            parser: parser(text, limits.max_depth),
            limits,
            anchors: HashMap::new(),
            alias_bytes: 0,
            flow_depth: 0,
            duplicates: Vec::new(),
        }
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Marker)>, DecodeError> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => {
                self.refuse_tab_indent(&event, span.start)?;
                Ok(Some((event, span.start)))
            }
            Some(Err(error)) => Err(syntax_error(&error)),
        }
    }

    fn next_document(&mut self) -> Result<Option<Document>, DecodeError> {
        while let Some((event, at)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::DocumentEnd => {
                    self.anchors.clear();
                    self.alias_bytes = 0;
                }
                Event::StreamEnd => return Ok(None),
                node => {
                    let value = self.node(node, at, 0)?.value;
                    let duplicates = std::mem::take(&mut self.duplicates);
                    return Ok(Some(Document { value, start: position(at), duplicates }));
                }
            }
        }
        Ok(None)
    }

    /// The node that `event` starts, `depth` collections deep.
    fn node(&mut self, event: Event<'a>, at: Marker, depth: usize) -> Result<Node, DecodeError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = self.scalar(&text, style, tag.as_deref(), at)?;
                let value = scalar
                    .into_value()
                    .map_err(|message| DecodeError::BadScalar { at: position(at), message })?;
                let node = Node { bytes: VALUE_BYTES + text.len(), depth: 0, value };
                self.anchored(anchor, node, at)
            }
            Event::Alias(id) => self.alias(id, at, depth),
            Event::SequenceStart(style, anchor, _) => {
                self.collection(style, anchor, at, depth, Self::sequence)
            }
            Event::MappingStart(style, anchor, _) => self.collection(style, anchor, at, depth, Self::mapping),
            _ => Err(DecodeError::Syntax { at: position(at), message: "a value is missing here".to_owned() }),
        }
    }

    fn collection(
        &mut self,
        style: StructureStyle,
        anchor: usize,
        at: Marker,
        depth: usize,
        read: fn(&mut Self, usize) -> Result<Node, DecodeError>,
    ) -> Result<Node, DecodeError> {
        self.check_depth(depth + 1, at)?;
        if anchor > 0 {
            self.anchors.insert(anchor, None);
        }
        let in_flow = style == StructureStyle::Flow || self.flow_depth > 0;
        self.flow_depth += usize::from(in_flow);
        let node = read(self, depth + 1)?;
        self.flow_depth -= usize::from(in_flow);
        self.anchored(anchor, node, at)
    }

    fn sequence(&mut self, depth: usize) -> Result<Node, DecodeError> {
        let mut items = Vec::new();
        let (mut bytes, mut below) = (VALUE_BYTES, 0);
        loop {
            let (event, at) = self.expect_next()?;
            if event == Event::SequenceEnd {
                return Ok(Node { value: Value::Array(items), bytes, depth: below + 1 });
            }
            let node = self.node(event, at, depth)?;
            bytes += node.bytes;
            below = below.max(node.depth);
            items.push(node.value);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Node, DecodeError> {
        let mut map = Map::new();
        let mut seen: HashMap<String, Position> = HashMap::new();
        let (mut bytes, mut below) = (VALUE_BYTES, 0);
        loop {
            let (event, at) = self.expect_next()?;
            if event == Event::MappingEnd {
                return Ok(Node { value: Value::Object(map), bytes, depth: below + 1 });
            }
            let merges = is_merge(&event);
            let key = if merges { String::new() } else { self.key(event, at)? };
            let (event, value_at) = self.expect_next()?;
            let node = self.node(event, value_at, depth)?;
            bytes += node.bytes + key.len();
            below = below.max(node.depth);
            if merges {
                merge(&mut map, node.value).ok_or(DecodeError::BadMerge { at: position(at) })?;
                continue;
            }
            if let Some(first) = seen.insert(key.clone(), position(at)) {
                self.duplicate(DuplicateKey { key: key.clone(), first, at: position(at) })?;
            }
            map.insert(key, node.value);
        }
    }

    fn key(&mut self, event: Event<'a>, at: Marker) -> Result<String, DecodeError> {
        let bad_key = DecodeError::BadKey { at: position(at) };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = self.scalar(&text, style, tag.as_deref(), at)?;
                if anchor > 0 {
                    let value = scalar.clone().into_value().unwrap_or(Value::Null);
                    self.anchored(anchor, Node { value, bytes: VALUE_BYTES + text.len(), depth: 0 }, at)?;
                }
                scalar.into_key().ok_or(bad_key)
            }
            Event::Alias(id) => match self.alias(id, at, 0)?.value {
                Value::String(text) => Ok(text),
                Value::Bool(value) => Ok(value.to_string()),
                Value::Number(number) => Ok(number.to_string()),
                Value::Null | Value::Array(_) | Value::Object(_) => Err(bad_key),
            },
            _ => Err(bad_key),
        }
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        at: Marker,
    ) -> Result<Scalar, DecodeError> {
        let tag = match tag {
            Some(tag) => core_name(tag).map_or(ScalarTag::Text, |name| ScalarTag::of_core_name(&name)),
            None if style == ScalarStyle::Plain => ScalarTag::Implicit,
            None => ScalarTag::Text,
        };
        resolve(tag, text).map_err(|message| DecodeError::BadScalar { at: position(at), message })
    }

    /// Remembers an anchored node; its copy counts against the alias bound.
    fn anchored(&mut self, anchor: usize, node: Node, at: Marker) -> Result<Node, DecodeError> {
        if anchor > 0 {
            self.charge(node.bytes, at)?;
            self.anchors.insert(anchor, Some(node.clone()));
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, at: Marker, depth: usize) -> Result<Node, DecodeError> {
        let (bytes, below) = match self.anchors.get(&id) {
            Some(Some(node)) => (node.bytes, node.depth),
            _ => return Err(DecodeError::CyclicAnchor { at: position(at) }),
        };
        self.check_depth(depth + below, at)?;
        self.charge(bytes, at)?;
        let node = self.anchors.get(&id).and_then(Option::as_ref);
        Ok(node.cloned().expect("invariant: the anchor was found just above"))
    }

    fn charge(&mut self, bytes: usize, at: Marker) -> Result<(), DecodeError> {
        self.alias_bytes = self.alias_bytes.saturating_add(bytes);
        if self.alias_bytes > self.limits.max_alias_bytes {
            return Err(DecodeError::TooManyAliases { at: position(at), limit: self.limits.max_alias_bytes });
        }
        Ok(())
    }

    fn check_depth(&self, depth: usize, at: Marker) -> Result<(), DecodeError> {
        if depth > self.limits.max_depth {
            return Err(DecodeError::TooDeep { at: position(at), limit: self.limits.max_depth });
        }
        Ok(())
    }

    fn duplicate(&mut self, duplicate: DuplicateKey) -> Result<(), DecodeError> {
        match self.limits.duplicate_keys {
            DuplicateKeys::Refuse => Err(DecodeError::DuplicateKey(duplicate)),
            DuplicateKeys::LastWins => {
                if self.duplicates.len() < MAX_DUPLICATES {
                    self.duplicates.push(duplicate);
                }
                Ok(())
            }
        }
    }

    fn expect_next(&mut self) -> Result<(Event<'a>, Marker), DecodeError> {
        self.next()?.ok_or_else(|| DecodeError::Syntax {
            at: position_of(self.text.as_bytes(), self.text.len()),
            message: "the document ends within a map or list".to_owned(),
        })
    }

    /// libyaml refuses tabs as indentation, our parser lets some pass. Within `[]` and `{}` they are white
    /// space.
    fn refuse_tab_indent(&self, event: &Event<'a>, start: Marker) -> Result<(), DecodeError> {
        let starts_node = matches!(
            event,
            Event::Scalar(..) | Event::Alias(_) | Event::SequenceStart(..) | Event::MappingStart(..)
        );
        let root_json = self.text.trim_start().starts_with(['{', '[']);
        if !starts_node || self.flow_depth > 0 || root_json {
            return Ok(());
        }
        let Some(offset) = start.byte_offset() else { return Ok(()) };
        let before = &self.text[..offset];
        let line = &before[before.rfind('\n').map_or(0, |at| at + 1)..];
        let words = line.trim_end_matches([' ', '\t']);
        let starts_line = words.bytes().all(|b| matches!(b, b' ' | b'\t' | b'-' | b'?'));
        if starts_line && line.contains('\t') {
            return Err(DecodeError::TabIndent { at: position(start) });
        }
        Ok(())
    }
}

/// The name of a tag of YAML's own namespace: `int` for `!!int`.
fn core_name(tag: &Tag) -> Option<Cow<'_, str>> {
    tag.suffix_in_namespace("tag:yaml.org,2002:")
}

fn is_merge(event: &Event<'_>) -> bool {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, _, None) => text == "<<",
        Event::Scalar(text, _, _, Some(tag)) => {
            text == "<<" && core_name(tag).is_some_and(|name| name == "merge")
        }
        _ => false,
    }
}

/// go-yaml v2: a map is set over the keys so far; of a list of maps the first wins.
fn merge(map: &mut Map<String, Value>, value: Value) -> Option<()> {
    match value {
        Value::Object(entries) => map.extend(entries),
        Value::Array(items) => {
            for item in items.into_iter().rev() {
                let Value::Object(entries) = item else { return None };
                map.extend(entries);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests;
