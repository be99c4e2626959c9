//! Lifecycle hooks: which one a container has, and what running it means (CONTRACT 3.14).
//!
//! A [`Hook`] is complete: ports that the spec names are looked up, and what cannot be run says why. A postStart hook has
//! no time limit of its own; a preStop hook has what is left of the container's grace. Hooks are run at least once: one
//! that is cut short is run again when the stop is tried again.

use core_types::api::{Container, ContainerPort, HTTPGetAction, IntOrString, LifecycleHandler};
use core_types::{HttpGet, HttpScheme, ObservedContainer, keys};

/// What a hook does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Run a command in the container; it must exit with 0.
    Exec(Vec<String>),
    /// Make a request; any answer is success. An empty host stands for the pod's address.
    HttpGet(HttpGet),
    /// Wait.
    Sleep {
        /// Seconds.
        secs: u64,
    },
    /// It cannot be run: why. It fails when it is due, as upstream's does.
    Invalid(String),
}

/// The hook to run right after a container's start.
pub fn post_start(container: &Container) -> Option<Hook> {
    let handler = container.lifecycle.as_ref()?.post_start.as_ref()?;
    Some(hook(handler, container.ports.as_deref().unwrap_or_default()))
}

/// The hook to run before a container is stopped.
pub fn pre_stop(container: &Container) -> Option<Hook> {
    let handler = container.lifecycle.as_ref()?.pre_stop.as_ref()?;
    Some(hook(handler, container.ports.as_deref().unwrap_or_default()))
}

/// The preStop hook of a container whose spec is not known any more, from what was written on it when it was created.
pub fn recorded_pre_stop(container: &ObservedContainer) -> Option<Hook> {
    let annotations = &container.status.annotations;
    let handler = annotations.get(keys::CONTAINER_PRE_STOP_HANDLER_ANNOTATION)?;
    let ports = annotations.get(keys::CONTAINER_PORTS_ANNOTATION);
    let ports: Vec<ContainerPort> =
        ports.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    Some(match serde_json::from_str(handler) {
        Ok(handler) => hook(&handler, &ports),
        Err(error) => {
            Hook::Invalid(format!("annotation {}: {error}", keys::CONTAINER_PRE_STOP_HANDLER_ANNOTATION))
        }
    })
}

fn hook(handler: &LifecycleHandler, ports: &[ContainerPort]) -> Hook {
    if let Some(exec) = &handler.exec {
        Hook::Exec(exec.command.clone().unwrap_or_default())
    } else if let Some(get) = &handler.http_get {
        http_get(get, ports).map_or_else(Hook::Invalid, Hook::HttpGet)
    } else if let Some(sleep) = &handler.sleep {
        Hook::Sleep { secs: u64::try_from(sleep.seconds).unwrap_or(0) }
    } else {
        Hook::Invalid("invalid handler: it is none of exec, httpGet and sleep".to_owned())
    }
}

fn http_get(get: &HTTPGetAction, ports: &[ContainerPort]) -> Result<HttpGet, String> {
    let headers = get.http_headers.iter().flatten();
    Ok(HttpGet {
        scheme: match get.scheme.as_deref() {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => HttpScheme::Https,
            _ => HttpScheme::Http,
        },
        host: get.host.clone().unwrap_or_default(),
        port: port_number(&get.port, ports)?,
        path: get.path.clone().unwrap_or_default(),
        headers: headers.map(|header| (header.name.clone(), header.value.clone())).collect(),
    })
}

/// A port by number, or by its name in the container, or a number written as text (upstream's `ResolveContainerPort`).
fn port_number(port: &IntOrString, ports: &[ContainerPort]) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = ports.iter().find(|port| port.name.as_deref() == Some(name));
            match named {
                Some(port) => port.container_port,
                None => name.parse().map_err(|_| format!("the container has no port named {name:?}"))?,
            }
        }
    };
    match u16::try_from(number) {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("invalid port number: {number}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{observed_container, pod};

    fn container(handler: Value) -> Container {
        let ports = json!([{"name": "web", "containerPort": 8080}]);
        let container = json!({"name": "a", "ports": ports, "lifecycle": {"preStop": handler}});
        serde_json::from_value(container).unwrap()
    }

    fn get(port: u16) -> HttpGet {
        let (scheme, host, path) = (HttpScheme::Http, String::new(), "/bye".to_owned());
        HttpGet { scheme, host, port, path, headers: Vec::new() }
    }

    #[test]
    fn a_hook_is_complete_or_says_why_not() {
        let invalid = |why: &str| Hook::Invalid(why.to_owned());
        for (handler, expected) in [
            (json!({"exec": {"command": ["a", "b"]}}), Hook::Exec(vec!["a".into(), "b".into()])),
            (json!({"sleep": {"seconds": 5}}), Hook::Sleep { secs: 5 }),
            (json!({"sleep": {"seconds": -5}}), Hook::Sleep { secs: 0 }),
            (json!({"httpGet": {"path": "/bye", "port": 81}}), Hook::HttpGet(get(81))),
            (json!({"httpGet": {"path": "/bye", "port": "web"}}), Hook::HttpGet(get(8080))),
            (json!({"httpGet": {"path": "/bye", "port": "82"}}), Hook::HttpGet(get(82))),
            (
                json!({"httpGet": {"path": "/bye", "port": 1, "scheme": "HTTPS", "host": "h", "httpHeaders": [{"name": "A", "value": "b"}]}}),
                Hook::HttpGet(HttpGet {
                    scheme: HttpScheme::Https,
                    host: "h".into(),
                    headers: vec![("A".into(), "b".into())],
                    ..get(1)
                }),
            ),
            (json!({"httpGet": {"port": "dns"}}), invalid("the container has no port named \"dns\"")),
            (json!({"httpGet": {"port": 0}}), invalid("invalid port number: 0")),
            (json!({"httpGet": {"port": 65536}}), invalid("invalid port number: 65536")),
            (
                json!({"tcpSocket": {"port": 1}}),
                invalid("invalid handler: it is none of exec, httpGet and sleep"),
            ),
        ] {
            assert_eq!(pre_stop(&container(handler.clone())), Some(expected), "{handler}");
        }
        assert_eq!(post_start(&container(json!({"sleep": {"seconds": 5}}))), None);
        assert_eq!(pre_stop(&Container::default()), None);
    }

    #[test]
    fn the_annotations_of_a_container_are_enough() {
        let mut observed = observed_container(
            &pod("Always", &[], &["a"]),
            "a",
            0,
            core_types::runtime::ContainerState::Running,
        );
        assert_eq!(recorded_pre_stop(&observed), None);
        let annotations = &mut observed.status.annotations;
        let ports = json!([{"name": "web", "containerPort": 8080}]).to_string();
        annotations.insert(keys::CONTAINER_PORTS_ANNOTATION.to_owned(), ports);
        let handler = json!({"httpGet": {"path": "/bye", "port": "web"}}).to_string();
        annotations.insert(keys::CONTAINER_PRE_STOP_HANDLER_ANNOTATION.to_owned(), handler);
        assert_eq!(recorded_pre_stop(&observed), Some(Hook::HttpGet(get(8080))));
        let annotations = &mut observed.status.annotations;
        annotations.insert(keys::CONTAINER_PRE_STOP_HANDLER_ANNOTATION.to_owned(), "{".to_owned());
        assert!(matches!(recorded_pre_stop(&observed), Some(Hook::Invalid(_))));
    }
}
