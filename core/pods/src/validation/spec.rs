//! `spec` of a pod: the order of the checks is upstream's, so that the first error is upstream's first error.

use core_types::PodGates;
use core_types::api::{PodSpec, Toleration};

use super::{Errors, Path, container, metadata, names, network, pod_resources, security, volumes};

pub(super) fn validate(spec: &PodSpec, gates: PodGates, errors: &mut Errors) {
    let path = Path::root("spec");
    let known_volumes =
        volumes::validate(spec.volumes.as_deref().unwrap_or_default(), &path.child("volumes"), errors);
    container::validate_all(spec, gates, &known_volumes, errors);
    pod_resources::validate(spec, &path, errors);
    network::validate_host_network_ports(spec, &path, errors);
    let field = |text: &Option<String>| text.clone().unwrap_or_default();
    errors.one_of(
        &path.child("restartPolicy"),
        &field(&spec.restart_policy),
        &["Always", "OnFailure", "Never"],
    );
    errors.one_of(
        &path.child("dnsPolicy"),
        &field(&spec.dns_policy),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    );
    metadata::validate_labels(spec.node_selector.iter().flatten(), &path.child("nodeSelector"), errors);
    security::validate_pod(spec, &path, errors);
    network::validate_dns(spec, &path.child("dnsConfig"), errors);
    validate_names(spec, &path, errors);
    validate_numbers(spec, &path, errors);
    for (index, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let field = path.child("readinessGates").index(index).child("conditionType");
        errors.invalid_each(&field, &gate.condition_type, names::qualified_name(&gate.condition_type));
    }
    for (index, toleration) in spec.tolerations.iter().flatten().enumerate() {
        validate_toleration(toleration, &path.child("tolerations").index(index), errors);
    }
    network::validate_host_aliases(
        spec.host_aliases.as_deref().unwrap_or_default(),
        &path.child("hostAliases"),
        errors,
    );
    if let Some(overhead) = &spec.overhead {
        pod_resources::validate_overhead(overhead, &path.child("overhead"), errors);
    }
    if let Some(os) = &spec.os {
        match os.name.as_str() {
            "" => errors.required(&path.child("os").child("name"), ""),
            "linux" | "windows" => {}
            name => errors.not_supported(&path.child("os"), name, &["linux", "windows"]),
        }
    }
    validate_creation(spec, &path, errors);
}

/// Host name, subdomain and the names of other objects.
fn validate_names(spec: &PodSpec, path: &Path, errors: &mut Errors) {
    if let Some(name) = &spec.hostname_override {
        let field = path.child("hostnameOverride");
        if spec.set_hostname_as_fqdn == Some(true) {
            errors.forbidden(&field, "may not be specified when setHostnameAsFQDN is true");
        }
        if spec.host_network == Some(true) {
            errors.forbidden(&field, "may not be specified when hostNetwork is true");
        }
        if name.len() > 64 {
            errors.too_long(&field, 64);
        }
        errors.invalid_each(&field, name, names::dns1123_subdomain(name));
    }
    type Check = fn(&str) -> Vec<String>;
    let named: [(&str, &Option<String>, Check); 6] = [
        ("serviceAccountName", &spec.service_account_name, names::dns1123_subdomain),
        ("nodeName", &spec.node_name, names::dns1123_subdomain),
        ("hostname", &spec.hostname, names::dns1123_label),
        ("subdomain", &spec.subdomain, names::dns1123_label),
        ("priorityClassName", &spec.priority_class_name, names::dns1123_subdomain),
        ("runtimeClassName", &spec.runtime_class_name, names::dns1123_subdomain),
    ];
    for (field, text, check) in named {
        if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
            errors.invalid_each(&path.child(field), text, check(text));
        }
    }
}

fn validate_numbers(spec: &PodSpec, path: &Path, errors: &mut Errors) {
    match spec.termination_grace_period_seconds {
        None => errors.required(&path.child("terminationGracePeriodSeconds"), ""),
        Some(secs) if secs < 0 => {
            let field = path.child("terminationGracePeriodSeconds");
            errors.invalid(&field, secs, "must be greater than or equal to 0");
        }
        Some(_) => {}
    }
    if let Some(secs) = spec.active_deadline_seconds {
        for message in names::in_range(secs, 1, i64::from(i32::MAX)) {
            errors.invalid(&path.child("activeDeadlineSeconds"), secs, message);
        }
    }
    if let Some(policy) = &spec.preemption_policy {
        errors.one_of(&path.child("preemptionPolicy"), policy, &["PreemptLowerPriority", "Never"]);
    }
}

fn validate_toleration(toleration: &Toleration, path: &Path, errors: &mut Errors) {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (key, operator) = (text(&toleration.key), text(&toleration.operator));
    let (value, effect) = (text(&toleration.value), text(&toleration.effect));
    if !key.is_empty() {
        errors.invalid_each(&path.child("key"), &key, names::qualified_name(&key));
    } else if operator != "Exists" {
        errors.invalid(
            &path.child("operator"),
            &operator,
            "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        );
    }
    if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
        errors.invalid(
            &path.child("effect"),
            &effect,
            "effect must be 'NoExecute' when `tolerationSeconds` is set",
        );
    }
    let operator_path = path.child("operator");
    match operator.as_str() {
        "Equal" | "" => {
            let messages = names::label_value(&value);
            if !messages.is_empty() {
                errors.invalid(&operator_path, &value, messages.join(";"));
            }
        }
        "Exists" if !value.is_empty() => {
            errors.invalid(&operator_path, &value, "value must be empty when `operator` is 'Exists'");
        }
        "Exists" => {}
        "Lt" | "Gt" => errors.not_supported(&operator_path, &operator, &["Equal", "Exists", "Lt", "Gt"]),
        other => errors.not_supported(&operator_path, other, &["Equal", "Exists"]),
    }
    if !effect.is_empty() {
        errors.one_of(&path.child("effect"), &effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
    }
}

/// What may not be set when a pod is created.
fn validate_creation(spec: &PodSpec, path: &Path, errors: &mut Errors) {
    if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        errors.forbidden(&path.child("ephemeralContainers"), "cannot be set on create");
    }
    let has_gates = spec.scheduling_gates.as_ref().is_some_and(|list| !list.is_empty());
    if has_gates && spec.node_name.as_ref().is_some_and(|name| !name.is_empty()) {
        errors
            .forbidden(&path.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
}
