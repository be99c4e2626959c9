//! `/flagz` and `/statusz`: flags and state of the process, for people as text, for programs as JSON or YAML objects.
//!
//! Text is what who asks for nothing else gets; its separator changes at random, so that nobody takes it apart. An object must be
//! asked for by group, version and kind.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::NodePages;
use crate::body::{self, Body, respond, text};

/// What stands between a name and its value.
const SEPARATORS: [&str; 4] = [":", ": ", "=", " "];
/// Parts of this server that have a path of their own below the root, besides the services.
const PATHS: [&str; 5] = ["/configz", "/debug", "/flagz", "/healthz", "/metrics"];

/// One page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Flagz,
    Statusz,
}

impl Page {
    fn kind(self) -> &'static str {
        match self {
            Self::Flagz => "Flagz",
            Self::Statusz => "Statusz",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Flagz => "flagz",
            Self::Statusz => "statusz",
        }
    }
}

/// A form of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Object(Encoding, Version),
}

/// How an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Json,
    Yaml,
}

/// Version of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1alpha1,
    V1beta1,
}

impl Version {
    fn api_version(self) -> &'static str {
        match self {
            Self::V1alpha1 => "config.k8s.io/v1alpha1",
            Self::V1beta1 => "config.k8s.io/v1beta1",
        }
    }
}

impl NodePages {
    /// The flags and their values.
    pub(in crate::https) fn flagz(&self, headers: &HeaderMap) -> Response<Body> {
        let flags = &self.options.flags;
        self.answer(headers, Page::Flagz, &json!({ "flags": flags }), |separator| {
            flags.iter().map(|(name, value)| format!("{name}{separator}{value}\n")).collect()
        })
    }

    fn answer(
        &self,
        headers: &HeaderMap,
        page: Page,
        object: &Value,
        lines: impl FnOnce(&str) -> String,
    ) -> Response<Body> {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (encoding, version) = match negotiate(accept, page) {
            Some(Form::Object(encoding, version)) => (encoding, version),
            Some(Form::Text) => {
                let separator = self.separator();
                return text(StatusCode::OK, format!("{}{}", heading(page), lines(separator)));
            }
            None => return not_acceptable(),
        };
        let mut whole = json!({
            "kind": page.kind(), "apiVersion": version.api_version(), "metadata": { "name": "kubelet" },
        });
        if let (Some(whole), Some(own)) = (whole.as_object_mut(), object.as_object()) {
            whole.extend(own.clone());
        }
        let mut response = match encoding {
            Encoding::Json => body::json(StatusCode::OK, &whole),
            Encoding::Yaml => respond(StatusCode::OK, "application/yaml", yaml(&whole)),
        };
        if version == Version::V1alpha1 {
            let words = format!(
                "299 - \"This version of the {} endpoint is deprecated. Please use a newer version.\"",
                page.name()
            );
            if let Ok(words) = HeaderValue::from_str(&words) {
                response.headers_mut().insert(header::WARNING, words);
            }
        }
        response
    }

    /// One of the separators; the time is random enough for that.
    fn separator(&self) -> &'static str {
        let nanos = self.context.clock.wall().unix_nanos().unsigned_abs();
        // The count is 4, so it fits.
        SEPARATORS[(nanos % SEPARATORS.len() as u64) as usize]
    }

    /// How long the process runs, and what it is.
    pub(in crate::https) fn statusz(&self, headers: &HeaderMap) -> Response<Body> {
        let facts = &self.context.facts;
        let started = Timestamp::from_nanosecond(i128::from(self.options.started.unix_nanos()));
        let started = started.unwrap_or(Timestamp::UNIX_EPOCH);
        let up = self.context.clock.wall().unix_nanos() - self.options.started.unix_nanos();
        let up_secs = (up / 1_000_000_000).max(0);
        let binary = facts.version.trim_start_matches('v');
        let emulated = binary.rsplit_once('.').map_or(binary, |(minor, _)| minor);
        let language = concat!("rust", env!("CARGO_PKG_RUST_VERSION"));
        let object = json!({
            "startTime": started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "uptimeSeconds": up_secs,
            "goVersion": language,
            "binaryVersion": binary,
            "emulationVersion": emulated,
            "paths": PATHS,
        });
        self.answer(headers, Page::Statusz, &object, |separator| {
            let lines = [
                ("Started", started.strftime("%a %b %e %H:%M:%S UTC %Y").to_string()),
                ("Up", format!("{} hr {:02} min {:02} sec", up_secs / 3600, up_secs / 60 % 60, up_secs % 60)),
                ("Go version", language.to_owned()),
                ("Binary version", binary.to_owned()),
                ("Emulation version", emulated.to_owned()),
                ("Paths", PATHS.join(" ")),
            ];
            let lines: String =
                lines.iter().map(|(name, value)| format!("{name}{separator} {value}\n")).collect();
            format!("\n{lines}")
        })
    }
}

fn heading(page: Page) -> String {
    format!(
        "\nkubelet {}\nWarning: This endpoint is not meant to be machine parseable, has no formatting \
        compatibility guarantees and is for debugging purposes only.\n",
        page.name()
    )
}

/// The first form that is accepted and can be given. Nothing asked for is text.
fn negotiate(accept: &str, page: Page) -> Option<Form> {
    if accept.trim().is_empty() {
        return Some(Form::Text);
    }
    accept.split(',').find_map(|clause| {
        let mut parts = clause.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let parameter = |name| {
            parameters.iter().find(|(own, _)| *own == name).map(|(_, value)| *value).unwrap_or_default()
        };
        let version = match (parameter("g"), parameter("as"), parameter("v")) {
            ("config.k8s.io", kind, "v1beta1") if kind == page.kind() => Some(Version::V1beta1),
            ("config.k8s.io", kind, "v1alpha1") if kind == page.kind() => Some(Version::V1alpha1),
            _ => None,
        };
        match media {
            "text/plain" | "text/*" | "*/*" if parameter("as").is_empty() => Some(Form::Text),
            "application/json" => version.map(|version| Form::Object(Encoding::Json, version)),
            "application/yaml" => version.map(|version| Form::Object(Encoding::Yaml, version)),
            _ => None,
        }
    })
}

fn not_acceptable() -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "only the following media types are accepted: application/json, application/yaml, text/plain",
        "reason": "NotAcceptable", "code": 406,
    });
    body::json(StatusCode::NOT_ACCEPTABLE, &status)
}

/// An object of texts, numbers, lists and one more level, as YAML.
fn yaml(object: &Value) -> String {
    let mut out = String::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        match value {
            Value::Object(inner) => {
                out.push_str(&format!("{name}:\n"));
                for (name, value) in inner {
                    out.push_str(&format!("  {}: {value}\n", key(name)));
                }
            }
            Value::Array(items) => {
                out.push_str(&format!("{name}:\n"));
                for item in items {
                    out.push_str(&format!("- {item}\n"));
                }
            }
            other => out.push_str(&format!("{name}: {other}\n")),
        }
    }
    out
}

/// A name as a key: JSON's quotes are YAML's too.
fn key(name: impl Serialize) -> String {
    serde_json::to_string(&name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_chooses_the_form() {
        let object = "v=v1beta1;g=config.k8s.io;as=Statusz";
        let table = [
            (String::new(), Some(Form::Text)),
            ("*/*".to_owned(), Some(Form::Text)),
            ("text/plain".to_owned(), Some(Form::Text)),
            (format!("application/json;{object}"), Some(Form::Object(Encoding::Json, Version::V1beta1))),
            (format!("application/yaml; {object}"), Some(Form::Object(Encoding::Yaml, Version::V1beta1))),
            (
                "application/json;v=v1alpha1;g=config.k8s.io;as=Statusz".to_owned(),
                Some(Form::Object(Encoding::Json, Version::V1alpha1)),
            ),
            (format!("application/cbor;{object}, text/plain"), Some(Form::Text)),
            ("application/json".to_owned(), None),
            ("application/json;v=v1beta1;g=config.k8s.io;as=Flagz".to_owned(), None),
            (format!("application/cbor;{object}"), None),
            (format!("text/plain;{object}"), None),
        ];
        for (accept, form) in table {
            assert_eq!(negotiate(&accept, Page::Statusz), form, "{accept}");
        }
    }

    #[test]
    fn objects_are_written_as_yaml() {
        let object = json!({ "a": "x: y", "b": { "c-d": "1", "e": 2 }, "f": ["g"] });
        assert_eq!(yaml(&object), "a: \"x: y\"\nb:\n  \"c-d\": \"1\"\n  \"e\": 2\nf:\n- \"g\"\n");
    }
}
