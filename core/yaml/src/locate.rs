//! Where in a file a field stands, for reports about fields of a value that came from it.
//!
//! Exact for block and flow style. A field that is not in the file (left out, or brought in by an alias or
//! a merge key) is placed at its nearest ancestor that is.

use granit_parser::{Event, Marker, ScalarStyle};

use crate::compose::{Limits, parser, position, text_of};
use crate::error::Position;
use crate::path::{FieldPath, Segment};

/// One open map or list, and which of its children comes next.
enum Frame {
    /// A map; `key` is set while its value is awaited.
    Map { key: Option<String> },
    /// A list at `index`.
    List { index: usize },
    /// A map or list that stands as a map key, which no path leads into.
    Opaque,
}

/// The place of `path` in document `document` (from 0) of the file `bytes`: a map entry's key, or a list
/// item's start. `None` when the file cannot be read that far.
pub fn locate(bytes: &[u8], document: usize, path: &FieldPath, limits: Limits) -> Option<Position> {
    let text = text_of(bytes, limits.max_bytes).ok()?;
    let mut search = Search { path: &path.0, frames: Vec::new(), key_at: None, best: None };
    let mut current = 0;
    for event in parser(text, limits.max_depth) {
        let Ok((event, span)) = event else { break };
        match event {
            Event::DocumentEnd if current == document => break,
            Event::DocumentEnd => current += 1,
            event if current == document => search.observe(&event, span.start),
            _ => {}
        }
        if search.best.as_ref().is_some_and(|(depth, _)| *depth == path.0.len()) {
            break;
        }
    }
    search.best.map(|(_, at)| at)
}

struct Search<'a> {
    path: &'a [Segment],
    frames: Vec<Frame>,
    key_at: Option<Marker>,
    best: Option<(usize, Position)>,
}

impl Search<'_> {
    fn observe(&mut self, event: &Event<'_>, at: Marker) {
        match event {
            Event::MappingEnd | Event::SequenceEnd => {
                self.frames.pop();
                self.finish_node();
            }
            Event::Scalar(text, style, ..) => {
                if self.awaits_key() {
                    self.set_key(key_text(text, *style), at);
                } else {
                    self.visit(at);
                    self.finish_node();
                }
            }
            Event::Alias(_) => {
                if self.awaits_key() {
                    self.set_key(String::new(), at);
                } else {
                    self.visit(at);
                    self.finish_node();
                }
            }
            Event::MappingStart(..) => self.open(Frame::Map { key: None }, at),
            Event::SequenceStart(..) => self.open(Frame::List { index: 0 }, at),
            _ => {}
        }
    }

    fn open(&mut self, frame: Frame, at: Marker) {
        if self.awaits_key() {
            self.set_key(String::new(), at);
            self.frames.push(Frame::Opaque);
        } else {
            self.visit(at);
            self.frames.push(frame);
        }
    }

    fn awaits_key(&self) -> bool {
        matches!(self.frames.last(), Some(Frame::Map { key: None }))
    }

    fn set_key(&mut self, text: String, at: Marker) {
        if let Some(Frame::Map { key }) = self.frames.last_mut() {
            *key = Some(text);
            self.key_at = Some(at);
        }
    }

    /// A value starts: keep it when its way is the longest beginning of the wanted path so far.
    fn visit(&mut self, at: Marker) {
        let depth = self.frames.len();
        let matches = depth <= self.path.len()
            && self.frames.iter().zip(self.path).all(|(frame, segment)| match (frame, segment) {
                (Frame::Map { key: Some(key) }, Segment::Key(wanted)) => key == wanted,
                (Frame::List { index }, Segment::Index(wanted)) => index == wanted,
                _ => false,
            });
        if matches && self.best.as_ref().is_none_or(|(best, _)| depth > *best) {
            let of_entry = matches!(self.frames.last(), Some(Frame::Map { .. }));
            let at = self.key_at.filter(|_| of_entry).unwrap_or(at);
            self.best = Some((depth, position(at)));
        }
    }

    fn finish_node(&mut self) {
        match self.frames.last_mut() {
            Some(Frame::Map { key }) => *key = None,
            Some(Frame::List { index }) => *index += 1,
            Some(Frame::Opaque) | None => {}
        }
    }
}

fn key_text(text: &str, style: ScalarStyle) -> String {
    use crate::scalar::{ScalarTag, resolve};
    let tag = if style == ScalarStyle::Plain { ScalarTag::Implicit } else { ScalarTag::Text };
    resolve(tag, text).ok().and_then(|scalar| scalar.into_key()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n\
        \x20 - name: a\n    image: x\n\
        \x20 - name: b\n    ports: [{containerPort: 80}, {containerPort: no}]\n---\nspec: 1\n";

    fn at(document: usize, path: &str) -> Option<(usize, usize)> {
        locate(POD.as_bytes(), document, &FieldPath::parse(path), Limits::default())
            .map(|p| (p.line, p.column))
    }

    #[test]
    fn a_field_is_found_at_its_key() {
        assert_eq!(at(0, "kind"), Some((2, 1)));
        assert_eq!(at(0, "spec.containers[0].image"), Some((6, 5)));
        assert_eq!(at(0, "spec.containers[1]"), Some((7, 5)));
        assert_eq!(at(0, "spec.containers[1].ports[1].containerPort"), Some((8, 35)));
        assert_eq!(at(1, "spec"), Some((10, 1)));
    }

    #[test]
    fn a_missing_field_is_placed_at_its_nearest_ancestor() {
        assert_eq!(at(0, "spec.containers[1].image"), Some((7, 5)));
        assert_eq!(at(0, "metadata.name"), Some((1, 1)));
        assert_eq!(at(2, "spec"), None);
    }
}
