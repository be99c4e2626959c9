//! How long Secrets and ConfigMaps that were read count: the cluster says it by an annotation of the Node object, more the larger it
//! is, so that its API server is not asked too often (CONTRACT 6.10).

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;

/// Seconds, as a whole number.
const ANNOTATION: &str = "node.alpha.kubernetes.io/ttl";

/// What the Node object says; `None` when it says nothing that can be understood.
pub fn object_ttl(node: &Node) -> Option<Duration> {
    let text = node.metadata.annotations.as_ref()?.get(ANNOTATION)?;
    text.parse::<u32>().ok().map(|secs| Duration::from_secs(secs.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_are_understood() {
        let of = |text: &str| {
            let mut node = Node::default();
            let annotation = (ANNOTATION.to_owned(), text.to_owned());
            node.metadata.annotations.get_or_insert_default().extend([annotation]);
            object_ttl(&node)
        };
        assert_eq!(of("300"), Some(Duration::from_secs(300)));
        assert_eq!(of("0"), Some(Duration::ZERO));
        assert_eq!((of("soon"), of("-1")), (None, None));
        assert_eq!(object_ttl(&Node::default()), None);
    }
}
