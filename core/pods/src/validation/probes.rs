//! Probes of a container: one action, sensible numbers.

use core_types::api::{Container, HTTPGetAction, IntOrString, Probe};

use super::{Errors, Path, names};

/// The probes of a container that may have some.
pub(super) fn validate(container: &Container, path: &Path, errors: &mut Errors) {
    let probes = [("livenessProbe", &container.liveness_probe), ("startupProbe", &container.startup_probe)];
    for (field, probe) in probes {
        let Some(probe) = probe else { continue };
        let path = path.child(field);
        validate_probe(probe, &path, errors);
        if let Some(threshold) = probe.success_threshold.filter(|&threshold| threshold != 1) {
            errors.invalid(&path.child("successThreshold"), threshold, "must be 1");
        }
    }
    if let Some(probe) = &container.readiness_probe {
        let path = path.child("readinessProbe");
        validate_probe(probe, &path, errors);
        if let Some(secs) = probe.termination_grace_period_seconds {
            let field = path.child("terminationGracePeriodSeconds");
            errors.invalid(&field, secs, "must not be set for readinessProbes");
        }
    }
}

fn validate_probe(probe: &Probe, path: &Path, errors: &mut Errors) {
    validate_action(probe, path, errors);
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    for (field, number) in numbers {
        if let Some(number) = number.filter(|&number| number < 0) {
            errors.invalid(&path.child(field), number, "must be greater than or equal to 0");
        }
    }
    if let Some(secs) = probe.termination_grace_period_seconds.filter(|&secs| secs <= 0) {
        errors.invalid(&path.child("terminationGracePeriodSeconds"), secs, "must be greater than 0");
    }
}

fn validate_action(probe: &Probe, path: &Path, errors: &mut Errors) {
    let actions = [
        ("exec", probe.exec.is_some()),
        ("httpGet", probe.http_get.is_some()),
        ("tcpSocket", probe.tcp_socket.is_some()),
        ("grpc", probe.grpc.is_some()),
    ];
    let mut set = actions.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name);
    let Some(first) = set.next() else {
        return errors.required(path, "must specify a handler type");
    };
    for further in set {
        errors.forbidden(&path.child(further), "may not specify more than 1 handler type");
    }
    let path = path.child(first);
    match (&probe.exec, &probe.http_get, &probe.tcp_socket, &probe.grpc) {
        (Some(exec), ..) => {
            if exec.command.iter().flatten().next().is_none() {
                errors.required(&path.child("command"), "");
            }
        }
        (_, Some(http), ..) => {
            validate_port(&http.port, &path.child("port"), errors);
            let scheme = http.scheme.as_deref().unwrap_or_default();
            errors.one_of(&path.child("scheme"), scheme, &["HTTP", "HTTPS"]);
            if let Some(protocol) = &http.protocol {
                validate_protocol(protocol, http, &path, errors);
            }
            for header in http.http_headers.iter().flatten() {
                if header.name.is_empty()
                    || !header.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                {
                    let detail = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex \
                                  used for validation is '[-A-Za-z0-9]+')";
                    errors.invalid(&path.child("httpHeaders"), &header.name, detail);
                }
            }
        }
        (_, _, Some(tcp), _) => validate_port(&tcp.port, &path.child("port"), errors),
        (_, _, _, Some(grpc)) => {
            validate_port(&IntOrString::Int(grpc.port), &path.child("port"), errors);
            if let Some(mode) = &grpc.mode {
                errors.one_of(&path.child("mode"), mode, &["Plaintext", "TLS"]);
            }
        }
        (None, None, None, None) => {}
    }
}

fn validate_protocol(protocol: &str, http: &HTTPGetAction, path: &Path, errors: &mut Errors) {
    errors.one_of(&path.child("protocol"), protocol, &["HTTP1", "HTTP2"]);
    if protocol != "HTTP2" {
        return;
    }
    let host = http.host.as_deref().unwrap_or_default();
    if http.scheme.as_deref() != Some("HTTP") {
        errors.invalid(&path.child("protocol"), protocol, "is only supported with HTTP (H2C)");
    } else if !host.is_empty() {
        errors.invalid(&path.child("host"), host, "must be empty when `protocol` is \"HTTP2\"");
    }
}

fn validate_port(port: &IntOrString, path: &Path, errors: &mut Errors) {
    match port {
        IntOrString::Int(number) => {
            for message in names::port_number(*number) {
                errors.invalid(path, *number, message);
            }
        }
        IntOrString::String(name) => errors.invalid_each(path, name, names::port_name(name)),
    }
}
