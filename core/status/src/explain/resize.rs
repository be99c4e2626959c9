//! A resize that is not done, in plain words.

use core_cm::resize::{ERROR, PendingReason};
use core_types::api::{PodCondition, PodStatus};

/// How far the resize of a pod with this status is; empty when none is under way.
pub(super) fn words(status: &PodStatus) -> String {
    let find = |name: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == name);
    let pending = find("PodResizePending").map(|known| {
        let next = match known.reason.as_deref() == Some(PendingReason::Infeasible.as_str()) {
            true => "It can never be: ask for other sizes, or make the pod anew.",
            false => "It is tried again when other pods end or shrink, and every 3 minutes.",
        };
        format!("the new sizes wait: {}. {next}", message(known))
    });
    let going = find("PodResizeInProgress").map(|known| match known.reason.as_deref() == Some(ERROR) {
        true => format!("the last try failed: {}. It is tried again.", message(known)),
        false => "the new sizes are being put in force.".to_owned(),
    });
    [pending, going].into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn message(condition: &PodCondition) -> &str {
    condition.message.as_deref().unwrap_or_default().trim_end_matches('.')
}
