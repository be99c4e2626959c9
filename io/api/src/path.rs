//! Paths of objects. Names come from users, so whatever has a meaning in a URL is escaped.

use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope, Resource};

/// The path of one object, one sub-resource, or a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectPath(String);

impl ObjectPath {
    /// Every object of a kind, in all namespaces.
    pub fn all<K: Resource>() -> Self {
        Self(format!("{}/{}", root::<K>(), K::URL_PATH_SEGMENT))
    }

    /// One object of a kind without namespaces.
    pub fn cluster<K: Resource<Scope = ClusterResourceScope>>(name: &str) -> Self {
        Self(format!("{}/{}/{}", root::<K>(), K::URL_PATH_SEGMENT, escape(name)))
    }

    /// Every object of a kind in one namespace.
    pub fn collection<K: Resource<Scope = NamespaceResourceScope>>(namespace: &str) -> Self {
        Self(format!("{}/namespaces/{}/{}", root::<K>(), escape(namespace), K::URL_PATH_SEGMENT))
    }

    /// One object in a namespace.
    pub fn namespaced<K: Resource<Scope = NamespaceResourceScope>>(namespace: &str, name: &str) -> Self {
        Self(format!("{}/{}", Self::collection::<K>(namespace).0, escape(name)))
    }

    /// A sub-resource of the object, e.g. `status`.
    #[must_use]
    pub fn subresource(self, name: &str) -> Self {
        Self(format!("{}/{}", self.0, escape(name)))
    }

    /// A path that is no object's, e.g. `/healthz`.
    pub fn other(path: &'static str) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn root<K: Resource>() -> String {
    match K::GROUP {
        "" => format!("/api/{}", K::VERSION),
        group => format!("/apis/{group}/{}", K::VERSION),
    }
}

fn escape(text: &str) -> String {
    // A name of dots alone would be a step in the path.
    if text.bytes().all(|byte| byte == b'.') {
        return text.replace('.', "%2E");
    }
    url::form_urlencoded::byte_serialize(text.as_bytes())
        .map(|part| if part == "+" { "%20" } else { part })
        .collect()
}

/// A query; empty values are left out.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let mut out = url::form_urlencoded::Serializer::new(String::new());
    out.extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
    out.finish()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::Lease;
    use k8s_openapi::api::core::v1::{Node, Pod};

    use super::*;

    #[test]
    fn paths_are_the_apis_own() {
        assert_eq!(ObjectPath::all::<Pod>().as_str(), "/api/v1/pods");
        assert_eq!(
            ObjectPath::cluster::<Node>("n1").subresource("status").as_str(),
            "/api/v1/nodes/n1/status"
        );
        assert_eq!(
            ObjectPath::namespaced::<Lease>("kube-node-lease", "n1").as_str(),
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1"
        );
    }

    #[test]
    fn names_cannot_leave_their_place() {
        let path = ObjectPath::namespaced::<Pod>("..", "a/../b?x#y z");
        assert_eq!(path.as_str(), "/api/v1/namespaces/%2E%2E/pods/a%2F..%2Fb%3Fx%23y%20z");
        assert_eq!(
            query(&[("fieldSelector", "spec.nodeName=a b"), ("x", "")]),
            "fieldSelector=spec.nodeName%3Da+b"
        );
    }
}
