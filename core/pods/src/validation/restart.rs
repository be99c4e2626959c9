//! Restart policies and rules of containers (CONTRACT 3.12), as far as the feature gates let them have any.

use core_types::RestartRules;
use core_types::api::Container;

use super::{Errors, Path};

const POLICIES: &[&str] = &["Always", "Never", "OnFailure"];
const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;

/// A container of `spec.containers`.
pub(super) fn validate_regular(container: &Container, rules: RestartRules, path: &Path, errors: &mut Errors) {
    if rules >= RestartRules::OfContainers {
        validate(container, rules, path, errors);
    } else if container.restart_policy.is_some() {
        errors.forbidden(&path.child("restartPolicy"), "may not be set for non-init containers");
    }
}

/// A container of `spec.initContainers`: with the policy `Always` it is a sidecar, whatever the gates.
pub(super) fn validate_init(container: &Container, rules: RestartRules, path: &Path, errors: &mut Errors) {
    match (container.restart_policy.as_deref(), rules) {
        (None, _) => require_policy(container, path, errors),
        (Some("Always"), RestartRules::OfContainers) if count(container) > 0 => {
            let detail = "restartPolicyRules are not allowed for init containers with restart policy Always";
            errors.forbidden(&path.child("restartPolicyRules"), detail);
        }
        (Some("Always"), RestartRules::OfPod) => {}
        (Some(policy), RestartRules::OfPod) => {
            errors.not_supported(&path.child("restartPolicy"), policy, &["Always"]);
        }
        (Some(_), _) => validate(container, rules, path, errors),
    }
}

fn count(container: &Container) -> usize {
    container.restart_policy_rules.as_ref().map_or(0, Vec::len)
}

fn require_policy(container: &Container, path: &Path, errors: &mut Errors) {
    if count(container) > 0 {
        let detail = "must specify restartPolicy when restart rules are used";
        errors.required(&path.child("restartPolicy"), detail);
    }
}

fn validate(container: &Container, rules: RestartRules, path: &Path, errors: &mut Errors) {
    match container.restart_policy.as_deref() {
        None => require_policy(container, path, errors),
        Some(policy) => one_of(&path.child("restartPolicy"), policy, POLICIES, errors),
    }
    let actions: &[&str] = match rules {
        RestartRules::OfAllContainers => &["Restart", "RestartAllContainers"],
        RestartRules::OfContainers | RestartRules::OfPod => &["Restart"],
    };
    let list = path.child("restartPolicyRules");
    if count(container) > MAX_RULES {
        errors.too_many(&list, count(container), MAX_RULES);
    }
    for (index, rule) in container.restart_policy_rules.iter().flatten().enumerate() {
        let path = list.index(index);
        one_of(&path.child("action"), &rule.action, actions, errors);
        let Some(codes) = &rule.exit_codes else {
            errors.required(&path.child("exitCodes"), "must be specified");
            continue;
        };
        one_of(&path.child("exitCodes").child("operator"), &codes.operator, &["In", "NotIn"], errors);
        let values = codes.values.as_ref().map_or(0, Vec::len);
        if values > MAX_EXIT_CODES {
            errors.too_many(&path.child("exitCodes").child("values"), values, MAX_EXIT_CODES);
        }
    }
}

/// Here upstream takes an empty text for one that is not supported.
fn one_of(path: &Path, value: &str, supported: &[&str], errors: &mut Errors) {
    if !supported.contains(&value) {
        errors.not_supported(path, value, supported);
    }
}
