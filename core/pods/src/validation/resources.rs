//! Requests and limits of a container, and its resize policy.

use std::collections::BTreeSet;

use core_types::Quantity;
use core_types::api::{Container, PodSpec, QuantityText, ResourceRequirements};

use super::{Errors, Path, names};

/// Resource names without a domain that the API knows (upstream's `standardResources`).
const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];

pub(super) fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// In the `kubernetes.io/` namespace, where names without a domain are too.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// A resource that a device plugin or DRA driver offers.
pub fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// A request may differ from the limit.
fn is_overcommit_allowed(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// What checks the name of a resource.
type NameCheck = fn(&str, &Path, &mut Errors);

pub(super) fn validate(requirements: &ResourceRequirements, path: &Path, errors: &mut Errors) {
    validate_lists(requirements, validate_name, path, errors);
}

/// Requests and limits of the pod as a whole.
pub(super) fn validate_pod_level(requirements: &ResourceRequirements, path: &Path, errors: &mut Errors) {
    validate_lists(requirements, validate_pod_level_name, path, errors);
}

fn validate_lists(
    requirements: &ResourceRequirements,
    check_name: NameCheck,
    path: &Path,
    errors: &mut Errors,
) {
    let (limits_path, requests_path) = (path.child("limits"), path.child("requests"));
    let limits = requirements.limits.iter().flatten();
    let requests = requirements.requests.iter().flatten();
    for (name, text) in limits.clone() {
        check_name(name, &limits_path.key(name), errors);
        validate_value(name, text, &limits_path.key(name), errors);
    }
    for (name, text) in requests.clone() {
        check_name(name, &requests_path.key(name), errors);
        let Some(request) = validate_value(name, text, &requests_path.key(name), errors) else { continue };
        let limit_text = requirements.limits.as_ref().and_then(|limits| limits.get(name));
        let Some(limit_text) = limit_text else {
            if !is_overcommit_allowed(name) {
                errors.required(&limits_path, "Limit must be set for non overcommitable resources");
            }
            continue;
        };
        let Ok(limit) = limit_text.0.parse::<Quantity>() else { continue };
        if request != limit && !is_overcommit_allowed(name) {
            let detail = format!("must be equal to {name} limit of {}", limit_text.0);
            errors.invalid(&requests_path, &text.0, detail);
        } else if request > limit {
            let detail = format!("must be less than or equal to {name} limit of {}", limit_text.0);
            errors.invalid(&requests_path, &text.0, detail);
        }
    }
    let all_names = || limits.clone().chain(requests.clone()).map(|(name, _)| name.as_str());
    if all_names().any(is_huge_page) && !all_names().any(|name| matches!(name, "cpu" | "memory")) {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
}

/// The quantity, when it is one.
fn validate_value(name: &str, text: &QuantityText, path: &Path, errors: &mut Errors) -> Option<Quantity> {
    let value: Quantity = match text.0.parse() {
        Ok(value) => value,
        Err(error) => {
            errors.invalid(path, &text.0, error.to_string());
            return None;
        }
    };
    if value < Quantity::default() {
        errors.invalid(path, &text.0, "must be greater than or equal to 0");
    }
    // Beyond what thousandths can count there are no fractions.
    let milli = value.milli_value();
    if is_extended(name) && milli != i64::MAX && milli.rem_euclid(1000) != 0 {
        errors.invalid(path, &text.0, "must be an integer");
    }
    if let Some(page_size) = name.strip_prefix("hugepages-") {
        let divisible = page_size
            .parse::<Quantity>()
            .is_ok_and(|page| page.value() > 0 && value.value().rem_euclid(page.value()) == 0);
        if !divisible {
            errors.invalid(path, &text.0, format!("{} is not positive integer multiple of {name}", text.0));
        }
    }
    Some(value)
}

/// What a pod may ask for as a whole.
const POD_LEVEL: &[&str] = &["cpu", "hugepages-", "memory"];

fn validate_pod_level_name(name: &str, path: &Path, errors: &mut Errors) {
    let messages = names::qualified_name(name);
    if !messages.is_empty() {
        errors.invalid_each(path, name, messages);
    } else if !name.contains('/') && !STANDARD.contains(&name) && !is_huge_page(name) {
        errors.invalid(path, name, NOT_STANDARD);
    } else if !matches!(name, "cpu" | "memory") && !is_huge_page(name) {
        errors.not_supported(path, name, POD_LEVEL);
    }
}

const NOT_STANDARD: &str = "must be a standard resource type or fully qualified";

fn validate_name(name: &str, path: &Path, errors: &mut Errors) {
    let messages = names::qualified_name(name);
    if !messages.is_empty() {
        errors.invalid_each(path, name, messages);
    } else if !name.contains('/') {
        if !STANDARD.contains(&name) && !is_huge_page(name) {
            errors.invalid(path, name, NOT_STANDARD);
        }
        if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !is_huge_page(name) {
            errors.invalid(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(path, name, "doesn't follow extended resource name standard");
    }
}

/// `resizePolicy`: each resource once, with a known policy that fits the pod's restart policy.
pub(super) fn validate_resize_policy(
    container: &Container,
    spec: &PodSpec,
    path: &Path,
    errors: &mut Errors,
) {
    let mut seen = BTreeSet::new();
    for (index, policy) in container.resize_policy.iter().flatten().enumerate() {
        if !seen.insert(policy.resource_name.as_str()) {
            errors.duplicate(&path.index(index), &policy.resource_name);
        }
        errors.one_of(path, &policy.resource_name, &["cpu", "memory"]);
        errors.one_of(path, &policy.restart_policy, &["NotRequired", "RestartContainer"]);
        if spec.restart_policy.as_deref() == Some("Never") && policy.restart_policy != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.invalid(path, &policy.restart_policy, detail);
        }
    }
}
