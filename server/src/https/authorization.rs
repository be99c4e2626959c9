//! Who may do what (CONTRACT 2.3). Resource `nodes`, name of this node, verb by method, subresource by path.
//!
//! Upstream lets whoever may `get` a node's `proxy` run commands in every container of the node, because a WebSocket
//! begins with GET. Here what acts in a container needs `create`, whatever the method.

use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use ports::reviews::{AccessQuestion, User};

use super::HttpsOptions;
use super::reviewers::{AccessTtl, WebhookAuthorizer};
use crate::{ServeError, ServerContext};

/// `authorization.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationMode {
    /// Whoever is authenticated may.
    AlwaysAllow,
    /// The API server decides (SubjectAccessReview).
    Webhook(AccessTtl),
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
    pub subresources: &'static [&'static str],
}

/// What the subresources of a path are; the first row that fits counts. Each row: the root of the path, the candidates in
/// the order in which they are asked for.
const SUBRESOURCES: &[(&str, &[&str])] = &[
    ("/stats", &["stats"]),
    ("/metrics", &["metrics"]),
    ("/logs", &["log"]),
    ("/checkpoint", &["checkpoint"]),
    ("/statusz", &["statusz"]),
    ("/flagz", &["configz"]),
    ("/pods", &["pods", "proxy"]),
    ("/allocatedPods", &["pods", "proxy"]),
    ("/runningpods", &["pods", "proxy"]),
    ("/healthz", &["healthz", "proxy"]),
    ("/configz", &["configz", "proxy"]),
];

/// Paths that act in a container.
const ACTING: &[&str] = &["/run", "/exec", "/attach", "/portForward"];

impl Attributes {
    /// Reads a request.
    pub(super) fn of_request(node_name: &str, method: &Method, path: &str) -> Self {
        let verb = match method.as_str() {
            _ if ACTING.iter().any(|root| is_below(root, path)) => "create",
            "POST" => "create",
            "GET" => "get",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => "",
        };
        let row = SUBRESOURCES.iter().find(|(root, _)| is_below(root, path));
        let subresources = row.map_or(&["proxy"][..], |(_, subresources)| *subresources);
        Self { node_name: node_name.to_owned(), verb, subresources }
    }

    /// The question about one of the candidates.
    pub(super) fn question(&self, user: &User, subresource: &'static str) -> AccessQuestion {
        AccessQuestion { user: user.clone(), verb: self.verb, node_name: self.node_name.clone(), subresource }
    }
}

fn is_below(root: &str, path: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Decides who may do what.
#[async_trait]
pub trait Authorizer: Send + Sync {
    /// Whether the user may. An error becomes a 500.
    async fn authorize(&self, question: AccessQuestion) -> Result<Decision, String>;
}

struct AlwaysAllow;

#[async_trait]
impl Authorizer for AlwaysAllow {
    async fn authorize(&self, _: AccessQuestion) -> Result<Decision, String> {
        Ok(Decision::Allow)
    }
}

/// The authorizer of the mode. `Webhook` needs an API server.
pub(super) fn build(
    options: &HttpsOptions,
    context: &ServerContext,
) -> Result<Arc<dyn Authorizer>, ServeError> {
    Ok(match options.authorization {
        AuthorizationMode::AlwaysAllow => Arc::new(AlwaysAllow),
        AuthorizationMode::Webhook(ttl) => {
            let clock = Arc::clone(&context.clock);
            Arc::new(WebhookAuthorizer::new(options.reviewers.access()?, clock, ttl))
        }
    })
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
            assert_eq!(Attributes::of_request("n", &Method::GET, path).subresources, want, "{path}");
        }
    }

    #[test]
    fn verb_follows_the_method_but_acting_is_always_create() {
        let table = [
            (Method::HEAD, "/pods", ""),
            (Method::GET, "/pods", "get"),
            (Method::POST, "/stats/summary", "create"),
            (Method::GET, "/exec/a/b/c", "create"),
            (Method::POST, "/exec/a/b/c", "create"),
            (Method::GET, "/attach/a/b/uid/c", "create"),
            (Method::GET, "/portForward/a/b", "create"),
            (Method::OPTIONS, "/run/a/b/c", "create"),
            (Method::GET, "/execute", "get"),
        ];
        for (method, path, want) in table {
            let attributes = Attributes::of_request("n", &method, path);
            assert_eq!(attributes.verb, want, "{method} {path}");
        }
    }
}
