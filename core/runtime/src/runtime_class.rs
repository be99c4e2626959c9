//! Which runtime handler a pod runs with (CONTRACT 3.23).
//!
//! Reads `spec.runtimeClassName` and the RuntimeClass objects that are known; gives the handler's name for the runtime.

use core_types::api::PodSpec;
use k8s_openapi::api::node::v1::RuntimeClass;

/// What is known of RuntimeClass objects.
#[derive(Clone, Copy, Debug)]
pub enum RuntimeClasses<'a> {
    /// There is no API server to have any: every pod runs with the default handler, as upstream's kubelet does it when it
    /// stands alone.
    Standalone,
    /// The API server's objects.
    Known(&'a [RuntimeClass]),
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

/// The pod names a class that does not exist (yet). Its sandbox is tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("runtimeclass.node.k8s.io {class:?} not found")]
pub struct UnknownRuntimeClass {
    /// The class that the pod names.
    pub class: String,
}

/// The handler of a pod with this spec.
///
/// # Errors
/// The class does not exist.
pub fn runtime_handler(
    spec: &PodSpec,
    classes: RuntimeClasses<'_>,
) -> Result<RuntimeHandler, UnknownRuntimeClass> {
    let Some(class) = spec.runtime_class_name.as_deref().filter(|name| !name.is_empty()) else {
        return Ok(RuntimeHandler::Default);
    };
    let known = match classes {
        RuntimeClasses::Standalone => {
            return Ok(RuntimeHandler::DefaultInsteadOf { class: class.to_owned() });
        }
        RuntimeClasses::Known(known) => known,
    };
    match known.iter().find(|known| known.metadata.name.as_deref() == Some(class)) {
        Some(known) => Ok(RuntimeHandler::Named(known.handler.clone())),
        None => Err(UnknownRuntimeClass { class: class.to_owned() }),
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
        let known = [gvisor];
        let of = |spec: &PodSpec| runtime_handler(spec, RuntimeClasses::Known(&known));
        assert_eq!(of(&PodSpec::default()), Ok(RuntimeHandler::Default));
        assert_eq!(of(&named("")), Ok(RuntimeHandler::Default));
        assert_eq!(of(&named("gvisor")).unwrap().as_str(), "runsc");
        assert_eq!(
            of(&named("kata")).unwrap_err().to_string(),
            r#"runtimeclass.node.k8s.io "kata" not found"#
        );
    }

    #[test]
    fn without_an_api_server_the_default_handler_is_used() {
        let handler = runtime_handler(&named("kata"), RuntimeClasses::Standalone).unwrap();
        assert_eq!(handler, RuntimeHandler::DefaultInsteadOf { class: "kata".to_owned() });
        assert_eq!(handler.as_str(), "");
    }
}
