//! Who may do what (CONTRACT 2.3). Resource `nodes`, name of this node, verb by method, subresource by path.

use std::sync::Arc;

use async_trait::async_trait;
use http::Method;

use super::authentication::User;
use crate::ServeError;

/// `authorization.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationMode {
    /// Whoever is authenticated may.
    AlwaysAllow,
    /// The API server decides (SubjectAccessReview).
    Webhook,
}

/// An answer of an [`Authorizer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The user may.
    Allow,
    /// The user may not.
    Deny,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Name of this node.
    pub node_name: String,
    /// `get`, `create`, ... or empty for a method without a verb.
    pub verb: &'static str,
    /// Candidates in the order in which they are asked for.
    pub subresources: Vec<&'static str>,
}

impl Attributes {
    /// Reads a request.
    pub(super) fn of_request(node_name: &str, method: &Method, path: &str) -> Self {
        let verb = match method.as_str() {
            "POST" => "create",
            "GET" => "get",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => "",
        };
        Self { node_name: node_name.to_owned(), verb, subresources: subresources(path) }
    }
}

fn subresources(path: &str) -> Vec<&'static str> {
    let below =
        |root: &str| path == root || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    if below("/stats") {
        vec!["stats"]
    } else if below("/metrics") {
        vec!["metrics"]
    } else if below("/logs") {
        vec!["log"]
    } else if below("/checkpoint") {
        vec!["checkpoint"]
    } else if below("/statusz") {
        vec!["statusz"]
    } else if below("/flagz") {
        vec!["configz"]
    } else if below("/pods") || below("/allocatedPods") || below("/runningpods") {
        vec!["pods", "proxy"]
    } else if below("/healthz") {
        vec!["healthz", "proxy"]
    } else if below("/configz") {
        vec!["configz", "proxy"]
    } else {
        vec!["proxy"]
    }
}

/// Decides who may do what.
#[async_trait]
pub trait Authorizer: Send + Sync {
    /// Whether the user may do `attributes.verb` on this subresource of this node. An error becomes a 500.
    async fn authorize(
        &self,
        user: &User,
        attributes: &Attributes,
        subresource: &str,
    ) -> Result<Decision, String>;
}

struct AlwaysAllow;

#[async_trait]
impl Authorizer for AlwaysAllow {
    async fn authorize(&self, _: &User, _: &Attributes, _: &str) -> Result<Decision, String> {
        Ok(Decision::Allow)
    }
}

/// The authorizer of a mode. `Webhook` needs an API server.
pub(super) fn build(mode: AuthorizationMode) -> Result<Arc<dyn Authorizer>, ServeError> {
    match mode {
        AuthorizationMode::AlwaysAllow => Ok(Arc::new(AlwaysAllow)),
        AuthorizationMode::Webhook => Err(ServeError::NoClient { feature: "authorization" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subresource_follows_the_path() {
        let table: [(&str, &[&str]); 10] = [
            ("/stats/summary", &["stats"]),
            ("/metrics/cadvisor", &["metrics"]),
            ("/logs/", &["log"]),
            ("/flagz", &["configz"]),
            ("/pods", &["pods", "proxy"]),
            ("/podsx", &["proxy"]),
            ("/runningpods/", &["pods", "proxy"]),
            ("/healthz/ping", &["healthz", "proxy"]),
            ("/configz", &["configz", "proxy"]),
            ("/containerLogs/a/b/c", &["proxy"]),
        ];
        for (path, want) in table {
            assert_eq!(subresources(path), want, "{path}");
        }
        assert_eq!(Attributes::of_request("n", &Method::HEAD, "/").verb, "");
        assert_eq!(Attributes::of_request("n", &Method::POST, "/").verb, "create");
    }
}
