//! Trust bundles of a cluster: which authorities a projected volume shows (CONTRACT 6.12; upstream's ClusterTrustBundle manager).
//!
//! Guarantees: what is shown is the certificates of the chosen bundles, each once, in an order that stays the same as long as
//! the agent runs and is another one after its next start, so that nobody comes to rely on it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::ClusterTrustBundleProjection;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::{Deserialize, Serialize};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// Characters in a line of PEM.
const LINE: usize = 64;

/// One bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Bundle {
    /// Empty for a bundle of nobody in particular.
    signer: String,
    labels: BTreeMap<String, String>,
    /// Certificates in base64, without line breaks.
    certificates: BTreeSet<String>,
}

/// The trust bundles of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustBook(BTreeMap<String, Bundle>);

impl TrustBook {
    /// Takes in a bundle that is new or has changed.
    pub fn put(&mut self, bundle: &ClusterTrustBundle) {
        let (meta, spec) = (&bundle.metadata, &bundle.spec);
        let new = Bundle {
            signer: spec.signer_name.clone().unwrap_or_default(),
            labels: meta.labels.clone().unwrap_or_default(),
            certificates: certificates(&spec.trust_bundle),
        };
        self.0.insert(meta.name.clone().unwrap_or_default(), new);
    }

    /// Takes out a bundle that is gone.
    pub fn remove(&mut self, bundle: &ClusterTrustBundle) {
        self.0.remove(bundle.metadata.name.as_deref().unwrap_or_default());
    }

    fn chosen<'a>(&'a self, source: &'a ClusterTrustBundleProjection) -> Result<Vec<&'a Bundle>, TrustError> {
        let is_optional = source.optional == Some(true);
        if let Some(name) = &source.name {
            return match self.0.get(name) {
                None if !is_optional => Err(TrustError::NotFound { name: name.clone() }),
                found => Ok(found.into_iter().collect()),
            };
        }
        let signer = source.signer_name.as_ref().ok_or(TrustError::NoChoice)?;
        let fits = |bundle: &&Bundle| {
            bundle.signer == *signer
                && source.label_selector.as_ref().is_some_and(|it| selects(it, &bundle.labels))
        };
        let chosen: Vec<&Bundle> = self.0.values().filter(fits).collect();
        match chosen.is_empty() && !is_optional {
            true => Err(TrustError::NoneSelected),
            false => Ok(chosen),
        }
    }
}

/// What is known of trust bundles.
#[derive(Clone, Copy, Debug)]
pub enum TrustBundles<'a> {
    /// There is no API server to have any.
    Standalone,
    /// The API server has not listed them yet.
    NotYetRead,
    /// All of them.
    Known {
        /// The bundles.
        book: &'a TrustBook,
        /// Decides the order; the same as long as the agent runs.
        seed: u64,
    },
}

/// Why there is nothing to show; the words are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// No API server.
    #[error("ClusterTrustBundle projection is not supported in static kubelet mode")]
    Standalone,
    /// Not listed yet. It is tried again.
    #[error("ClusterTrustBundle informer has not yet synced")]
    NotYetRead,
    /// The volume names no bundle and no signer.
    #[error("ClusterTrustBundle projection requires either name or signerName to be set")]
    NoChoice,
    /// The bundle does not exist.
    #[error("while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io {name:?} not found")]
    NotFound {
        /// Its name.
        name: String,
    },
    /// No bundle of the signer has such labels.
    #[error("combination of signerName and labelSelector matched zero ClusterTrustBundles")]
    NoneSelected,
}

/// The file that a projection shows: certificates in PEM.
///
/// # Errors
/// See [`TrustError`].
pub fn anchors(
    bundles: TrustBundles<'_>,
    source: &ClusterTrustBundleProjection,
) -> Result<Vec<u8>, TrustError> {
    let (book, seed) = match bundles {
        TrustBundles::Standalone => return Err(TrustError::Standalone),
        TrustBundles::NotYetRead => return Err(TrustError::NotYetRead),
        TrustBundles::Known { book, seed } => (book, seed),
    };
    let chosen = book.chosen(source)?;
    let all: BTreeSet<&str> =
        chosen.into_iter().flat_map(|bundle| &bundle.certificates).map(String::as_str).collect();
    let mut all: Vec<&str> = all.into_iter().collect();
    all.sort_by_key(|certificate| {
        let mut hasher = DefaultHasher::new();
        (seed, certificate).hash(&mut hasher);
        hasher.finish()
    });
    Ok(all.into_iter().flat_map(pem).collect())
}

/// The certificates of a bundle. The API server has checked that each block is one and that there is nothing else.
fn certificates(bundle: &str) -> BTreeSet<String> {
    let blocks = bundle.split(BEGIN).skip(1).filter_map(|rest| Some(rest.split_once(END)?.0));
    blocks.map(|body| body.split_whitespace().collect()).collect()
}

fn pem(body: &str) -> Vec<u8> {
    let mut text = format!("{BEGIN}\n");
    let mut rest = body;
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.floor_char_boundary(LINE.min(rest.len())));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str(END);
    text.push('\n');
    text.into_bytes()
}

/// Whether labels are as a selector wants them.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    equal
        && selector.match_expressions.iter().flatten().all(|rule| {
            let listed = |value: &String| rule.values.iter().flatten().any(|wanted| wanted == value);
            let found = labels.get(&rule.key);
            match rule.operator.as_str() {
                "In" => found.is_some_and(listed),
                "NotIn" => !found.is_some_and(listed),
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn block(body: &str) -> String {
        format!("{BEGIN}\n{body}\n{END}\n")
    }

    fn bundle(name: &str, signer: &str, labels: Value, text: &str) -> ClusterTrustBundle {
        serde_json::from_value(json!({
            "metadata": { "name": name, "labels": labels }, "spec": { "signerName": signer, "trustBundle": text },
        }))
        .unwrap()
    }

    fn shown(book: &TrustBook, source: Value) -> Result<Vec<String>, String> {
        let source: ClusterTrustBundleProjection = serde_json::from_value(source).unwrap();
        let text =
            anchors(TrustBundles::Known { book, seed: 1 }, &source).map_err(|error| error.to_string())?;
        let text = String::from_utf8(text).unwrap();
        let mut bodies: Vec<String> = certificates(&text).into_iter().collect();
        bodies.sort();
        Ok(bodies)
    }

    #[test]
    fn bundles_are_chosen_by_name_or_by_signer_and_labels() {
        let mut book = TrustBook::default();
        book.put(&bundle("plain", "", json!({}), &(block("AAAA") + &block("BBBB"))));
        book.put(&bundle("x:live", "x.y/z", json!({ "state": "live" }), &block("CCCC")));
        book.put(&bundle("x:old", "x.y/z", json!({ "state": "old" }), &(block("CC\nCC") + &block("DDDD"))));
        assert_eq!(shown(&book, json!({ "path": "p", "name": "plain" })).unwrap(), ["AAAA", "BBBB"]);
        let by = |selector: Value| json!({ "path": "p", "signerName": "x.y/z", "labelSelector": selector });
        assert_eq!(shown(&book, by(json!({ "matchLabels": { "state": "live" } }))).unwrap(), ["CCCC"]);
        assert_eq!(shown(&book, by(json!({}))).unwrap(), ["CCCC", "DDDD"], "each certificate once");
        let not_old =
            json!({ "matchExpressions": [{ "key": "state", "operator": "NotIn", "values": ["old"] }] });
        assert_eq!(shown(&book, by(not_old)).unwrap(), ["CCCC"]);
        let none = "combination of signerName and labelSelector matched zero ClusterTrustBundles";
        assert_eq!(shown(&book, by(Value::Null)).unwrap_err(), none, "no selector selects nothing");
        assert_eq!(
            shown(&book, json!({ "path": "p", "name": "lost" })).unwrap_err(),
            "while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io \"lost\" not found"
        );
        assert_eq!(shown(&book, json!({ "path": "p", "name": "lost", "optional": true })), Ok(Vec::new()));
        book.remove(&bundle("plain", "", json!({}), ""));
        assert!(shown(&book, json!({ "path": "p", "name": "plain" })).is_err());
    }

    #[test]
    fn lines_are_of_pems_length_and_the_order_is_the_seeds() {
        let mut book = TrustBook::default();
        let bodies: Vec<String> = (0..20).map(|number| format!("{number:070}")).collect();
        book.put(&bundle("many", "", json!({}), &bodies.iter().map(|body| block(body)).collect::<String>()));
        let source: ClusterTrustBundleProjection =
            serde_json::from_value(json!({ "path": "p", "name": "many" })).unwrap();
        let of = |seed| {
            String::from_utf8(anchors(TrustBundles::Known { book: &book, seed }, &source).unwrap()).unwrap()
        };
        assert!(of(1).lines().all(|line| line.len() <= 64));
        assert_eq!(certificates(&of(1)), bodies.into_iter().collect());
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
