//! Lifecycle hooks of a container.

use core_types::api::{HTTPGetAction, IntOrString, Lifecycle, LifecycleHandler, PodSpec};
use core_types::runtime::STOP_SIGNALS;

use super::{Errors, Path, names};

/// `lifecycle`. `grace_secs` is the pod's; `None` when that is missing, which is an error of its own.
pub(super) fn validate(lifecycle: &Lifecycle, grace_secs: Option<i64>, path: &Path, errors: &mut Errors) {
    for (field, handler) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        if let Some(handler) = handler {
            validate_handler(handler, grace_secs, &path.child(field), errors);
        }
    }
}

/// `lifecycle.stopSignal`: which signals there are depends on the pod's operating system, so that must be named.
pub(super) fn validate_stop_signal(lifecycle: &Lifecycle, spec: &PodSpec, path: &Path, errors: &mut Errors) {
    let Some(signal) = &lifecycle.stop_signal else { return };
    let path = path.child("stopSignal");
    let signals = match spec.os.as_ref().map(|os| os.name.as_str()) {
        None => {
            return errors.forbidden(&path, "may not be set for containers with empty `spec.os.name`");
        }
        Some("linux") => STOP_SIGNALS,
        Some("windows") => &["SIGKILL", "SIGTERM"],
        Some(_) => return,
    };
    if !signals.contains(&signal.as_str()) {
        errors.not_supported(&path, signal, signals);
    }
}

/// A handler has one action. A tcpSocket is taken, as upstream takes it, and fails when it is due.
fn validate_handler(handler: &LifecycleHandler, grace_secs: Option<i64>, path: &Path, errors: &mut Errors) {
    let actions = [
        ("exec", handler.exec.is_some()),
        ("httpGet", handler.http_get.is_some()),
        ("tcpSocket", handler.tcp_socket.is_some()),
        ("sleep", handler.sleep.is_some()),
    ];
    let mut given = actions.into_iter().filter(|(_, given)| *given).map(|(action, _)| action);
    let Some(first) = given.next() else { return errors.required(path, "must specify a handler type") };
    let at = path.child(first);
    match first {
        "exec" => {
            let command = handler.exec.as_ref().and_then(|exec| exec.command.as_ref());
            if command.is_none_or(Vec::is_empty) {
                errors.required(&at.child("command"), "");
            }
        }
        "httpGet" => handler.http_get.iter().for_each(|get| validate_http_get(get, &at, errors)),
        "tcpSocket" => {
            handler.tcp_socket.iter().for_each(|tcp| validate_port(&tcp.port, &at.child("port"), errors));
        }
        _ => {
            let secs = handler.sleep.as_ref().map_or(0, |sleep| sleep.seconds);
            if let Some(grace) = grace_secs.filter(|grace| secs < 0 || secs > *grace) {
                let detail =
                    format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                errors.invalid(&at, secs, detail);
            }
        }
    }
    for action in given {
        errors.forbidden(&path.child(action), "may not specify more than 1 handler type");
    }
}

fn validate_http_get(get: &HTTPGetAction, path: &Path, errors: &mut Errors) {
    if get.path.as_deref().unwrap_or_default().is_empty() {
        errors.required(&path.child("path"), "");
    }
    validate_port(&get.port, &path.child("port"), errors);
    let scheme = get.scheme.as_deref().unwrap_or_default();
    if !matches!(scheme, "HTTP" | "HTTPS") {
        errors.not_supported(&path.child("scheme"), scheme, &["HTTP", "HTTPS"]);
    }
    for header in get.http_headers.iter().flatten() {
        if !is_header_name(&header.name) {
            let detail = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', \
                          regex used for validation is '[-A-Za-z0-9]+')";
            errors.invalid(&path.child("httpHeaders"), &header.name, detail);
        }
    }
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn validate_port(port: &IntOrString, path: &Path, errors: &mut Errors) {
    match port {
        IntOrString::Int(number) => {
            names::port_number(*number).into_iter().for_each(|text| errors.invalid(path, *number, text));
        }
        IntOrString::String(name) => errors.invalid_each(path, name, names::port_name(name)),
    }
}
