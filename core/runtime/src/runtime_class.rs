//! Which runtime handler a pod runs with (CONTRACT 3.23).
//!
//! Reads `spec.runtimeClassName` and the RuntimeClass objects that are known; gives the handler's name for the runtime.

use std::collections::BTreeMap;

use core_types::api::PodSpec;
use k8s_openapi::api::node::v1::RuntimeClass;
use serde::{Deserialize, Serialize};

/// The RuntimeClass objects of a cluster: their handlers by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeClassBook(BTreeMap<String, String>);

impl RuntimeClassBook {
    /// Takes in a class that is new or has changed.
    pub fn put(&mut self, class: &RuntimeClass) {
        self.0.insert(class.metadata.name.clone().unwrap_or_default(), class.handler.clone());
    }

    /// Takes out a class that is gone.
    pub fn remove(&mut self, class: &RuntimeClass) {
        self.0.remove(class.metadata.name.as_deref().unwrap_or_default());
    }
}

/// What is known of RuntimeClass objects.
#[derive(Clone, Copy, Debug)]
pub enum RuntimeClasses<'a> {
    /// There is no API server to have any: every pod runs with the default handler, as upstream's kubelet does it when it
    /// stands alone.
    Standalone,
    /// The API server has not listed them yet.
    NotYetRead,
    /// The API server's objects.
    Known(&'a RuntimeClassBook),
}

/// The handler of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeHandler {
    /// The runtime's default.
    Default,
    /// The default, although the pod names a class: nothing can say what the class is.
    DefaultInsteadOf {
        /// The class that the pod names.
        class: String,
    },
    /// The handler of the pod's class.
    Named(String),
}

impl RuntimeHandler {
    /// The handler as CRI wants it; empty for the default.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Default | Self::DefaultInsteadOf { .. } => "",
            Self::Named(handler) => handler,
        }
    }
}

/// Why the handler of a pod is not known. Its sandbox is tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownRuntimeClass {
    /// The class does not exist (yet).
    #[error("runtimeclass.node.k8s.io {class:?} not found")]
    NotFound {
        /// The class that the pod names.
        class: String,
    },
    /// The list is not there yet.
    #[error("failed to lookup RuntimeClass {class}: the API server has not listed them yet")]
    NotYetRead {
        /// The class that the pod names.
        class: String,
    },
}

/// The handler of a pod with this spec.
///
/// # Errors
/// The class does not exist, or nothing is known of classes.
pub fn runtime_handler(
    spec: &PodSpec,
    classes: RuntimeClasses<'_>,
) -> Result<RuntimeHandler, UnknownRuntimeClass> {
    let Some(class) = spec.runtime_class_name.as_deref().filter(|name| !name.is_empty()) else {
        return Ok(RuntimeHandler::Default);
    };
    let class = class.to_owned();
    match classes {
        RuntimeClasses::Standalone => Ok(RuntimeHandler::DefaultInsteadOf { class }),
        RuntimeClasses::NotYetRead => Err(UnknownRuntimeClass::NotYetRead { class }),
        RuntimeClasses::Known(known) => match known.0.get(&class) {
            Some(handler) => Ok(RuntimeHandler::Named(handler.clone())),
            None => Err(UnknownRuntimeClass::NotFound { class }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(class: &str) -> PodSpec {
        PodSpec { runtime_class_name: Some(class.to_owned()), ..PodSpec::default() }
    }

    #[test]
    fn a_class_gives_its_handler_and_an_unknown_one_is_named() {
        let mut gvisor = RuntimeClass { handler: "runsc".to_owned(), ..RuntimeClass::default() };
        gvisor.metadata.name = Some("gvisor".to_owned());
        let mut known = RuntimeClassBook::default();
        known.put(&gvisor);
        let of = |spec: &PodSpec| runtime_handler(spec, RuntimeClasses::Known(&known));
        assert_eq!(of(&PodSpec::default()), Ok(RuntimeHandler::Default));
        assert_eq!(of(&named("")), Ok(RuntimeHandler::Default));
        assert_eq!(of(&named("gvisor")).unwrap().as_str(), "runsc");
        assert_eq!(
            of(&named("kata")).unwrap_err().to_string(),
            r#"runtimeclass.node.k8s.io "kata" not found"#
        );
        let unread = runtime_handler(&named("gvisor"), RuntimeClasses::NotYetRead).unwrap_err();
        assert!(unread.to_string().starts_with("failed to lookup RuntimeClass gvisor:"), "{unread}");
        known.remove(&gvisor);
        assert!(runtime_handler(&named("gvisor"), RuntimeClasses::Known(&known)).is_err());
    }

    #[test]
    fn without_an_api_server_the_default_handler_is_used() {
        let handler = runtime_handler(&named("kata"), RuntimeClasses::Standalone).unwrap();
        assert_eq!(handler, RuntimeHandler::DefaultInsteadOf { class: "kata".to_owned() });
        assert_eq!(handler.as_str(), "");
    }
}
