//! From a JSON value to a typed object: errors name the field, unknown fields are listed.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::path::{FieldPath, Segment};

/// How many unknown fields are listed; the rest are ignored all the same.
pub const MAX_UNKNOWN_FIELDS: usize = 100;

/// A field that the type does not have; its value was ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField {
    /// The way to it.
    pub path: FieldPath,
}

impl fmt::Display for UnknownField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown field \"{}\"", self.path)
    }
}

/// A field whose value does not fit its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FieldError {
    /// The way to the field; the root when the error concerns the whole document.
    pub path: FieldPath,
    /// What is wrong, for example `invalid type: string "x", expected i32`.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_root() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Reads `value` as a `T`, with the fields that `T` does not know (at most [`MAX_UNKNOWN_FIELDS`]).
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<(T, Vec<UnknownField>), FieldError> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let result = {
        let mut ignored = |path: serde_ignored::Path<'_>| {
            if unknown.len() < MAX_UNKNOWN_FIELDS {
                unknown.push(UnknownField { path: of_ignored(&path) });
            }
        };
        let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
        T::deserialize(serde_ignored::Deserializer::new(tracked, &mut ignored))
    };
    match result {
        Ok(object) => Ok((object, unknown)),
        Err(error) => Err(FieldError { path: of_track(&track.path()), message: error.to_string() }),
    }
}

fn of_ignored(path: &serde_ignored::Path<'_>) -> FieldPath {
    use serde_ignored::Path;
    let (parent, segment) = match path {
        Path::Root => return FieldPath::default(),
        Path::Seq { parent, index } => (parent, Segment::Index(*index)),
        Path::Map { parent, key } => (parent, Segment::Key(key.clone())),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            return of_ignored(parent);
        }
    };
    let mut way = of_ignored(parent);
    way.0.push(segment);
    way
}

fn of_track(path: &serde_path_to_error::Path) -> FieldPath {
    use serde_path_to_error::Segment as Step;
    FieldPath(
        path.iter()
            .filter_map(|step| match step {
                Step::Seq { index } => Some(Segment::Index(*index)),
                Step::Map { key } => Some(Segment::Key(key.clone())),
                Step::Enum { .. } | Step::Unknown => None,
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize)]
    struct Pod {
        #[serde(default)]
        containers: Vec<Container>,
    }
    #[derive(Debug, Deserialize)]
    struct Container {
        image: String,
        #[serde(default)]
        port: Option<i32>,
    }

    #[test]
    fn a_wrong_type_names_its_field() {
        let bad = json!({"containers": [{"image": "a"}, {"image": "b", "port": "x"}]});
        let error = from_value::<Pod>(bad).unwrap_err();
        assert_eq!(error.path.to_string(), "containers[1].port");
        assert_eq!(error.to_string(), "containers[1].port: invalid type: string \"x\", expected i32");
        let error = from_value::<Pod>(json!({"containers": [{}]})).unwrap_err();
        assert_eq!(error.to_string(), "containers[0]: missing field `image`");
    }

    #[test]
    fn unknown_fields_are_listed_with_their_way() {
        let value = json!({"containers": [{"image": "a", "imagePulPolicy": "Never"}], "kindd": 1});
        let (pod, mut unknown) = from_value::<Pod>(value).unwrap();
        assert_eq!((pod.containers[0].image.as_str(), pod.containers[0].port), ("a", None));
        unknown.sort_by_key(|field| field.to_string());
        let texts: Vec<String> = unknown.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["unknown field \"containers[0].imagePulPolicy\"", "unknown field \"kindd\""]);
    }
}
