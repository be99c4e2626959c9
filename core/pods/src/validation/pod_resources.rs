//! `spec.resources` and `spec.overhead`: what is asked for the pod as a whole (CONTRACT 3.23, 3.26).
//!
//! The pod's requests cover those of its containers together, its limits each container's own. Overhead is checked as
//! limits of a container are.

use std::collections::BTreeMap;

use core_types::Quantity;
use core_types::api::{Pod, PodSpec, QuantityText, ResourceRequirements};

use super::{Errors, Path, resources};

/// `spec.overhead`.
pub(super) fn validate_overhead(overhead: &BTreeMap<String, QuantityText>, path: &Path, errors: &mut Errors) {
    let as_limits =
        ResourceRequirements { limits: Some(overhead.clone()), ..ResourceRequirements::default() };
    resources::validate(&as_limits, path, errors);
}

/// `spec.resources`.
pub(super) fn validate(spec: &PodSpec, path: &Path, errors: &mut Errors) {
    let Some(whole) = &spec.resources else { return };
    let path = path.child("resources");
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return errors.forbidden(&path, "may not be set for a windows pod");
    }
    if whole.claims.is_some() {
        errors.forbidden(&path.child("claims"), "claims may not be set for Resources at pod-level");
    }
    resources::validate_pod_level(whole, &path, errors);
    // The sums read the containers only.
    let pod = Pod { spec: Some(spec.clone()), ..Pod::default() };
    for (name, sum) in core_cm::resources::container_requests(&pod) {
        if let Some((text, _)) = quantity(&whole.requests, &name).filter(|(_, own)| sum > *own) {
            let detail = format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.invalid(&path.child("requests").key(&name), text, detail);
        }
    }
    for (name, sum) in core_cm::resources::container_limits(&pod) {
        let own = quantity(&whole.limits, &name).filter(|_| resources::is_huge_page(&name));
        if let Some((text, _)) = own.filter(|(_, own)| sum > *own) {
            let detail = format!("must be greater than or equal to aggregate container limits of {sum}");
            errors.invalid(&path.child("limits").key(&name), text, detail);
        }
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let limits = container.resources.iter().flat_map(|resources| resources.limits.iter().flatten());
        for (name, text) in limits {
            let Some((_, whole)) = quantity(&whole.limits, name) else { continue };
            if text.0.parse::<Quantity>().is_ok_and(|own| own > whole) {
                let path = path.child("containers").index(index).key(name).child("limits");
                errors.invalid(
                    &path,
                    &text.0,
                    format!("must be less than or equal to pod limits of {whole}"),
                );
            }
        }
    }
}

fn quantity<'a>(
    list: &'a Option<BTreeMap<String, QuantityText>>,
    name: &str,
) -> Option<(&'a String, Quantity)> {
    let text = &list.as_ref()?.get(name)?.0;
    Some((text, text.parse().ok()?))
}
