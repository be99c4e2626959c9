//! What the runtime says of itself.

use core_types::runtime::{CgroupDriver, RuntimeCondition, RuntimeHandler, RuntimeStatus, RuntimeVersion};

use super::{required, required_text};
use crate::call::Malformed;
use crate::proto;

/// Reply of `Version`.
pub(crate) fn version(reply: proto::VersionResponse) -> Result<RuntimeVersion, Malformed> {
    Ok(RuntimeVersion {
        name: required_text(reply.runtime_name, "runtime_name")?,
        version: required_text(reply.runtime_version, "runtime_version")?,
        api_version: required_text(reply.runtime_api_version, "runtime_api_version")?,
    })
}

/// Reply of `Status`.
pub(crate) fn status(reply: proto::StatusResponse) -> Result<RuntimeStatus, Malformed> {
    let conditions = required(reply.status, "status")?.conditions;
    let condition = |kind: &str| {
        let found =
            conditions.iter().find(|condition| condition.r#type == kind).map(|found| RuntimeCondition {
                ok: found.status,
                reason: found.reason.clone(),
                message: found.message.clone(),
            });
        required(found, &format!("condition {kind}"))
    };
    Ok(RuntimeStatus {
        runtime_ready: condition("RuntimeReady")?,
        network_ready: condition("NetworkReady")?,
        handlers: reply.runtime_handlers.into_iter().map(handler).collect(),
        supplemental_groups_policy: reply
            .features
            .is_some_and(|features| features.supplemental_groups_policy),
    })
}

fn handler(handler: proto::RuntimeHandler) -> RuntimeHandler {
    let features = handler.features.unwrap_or_default();
    RuntimeHandler {
        name: handler.name,
        recursive_read_only_mounts: features.recursive_read_only_mounts,
        user_namespaces: features.user_namespaces,
    }
}

/// Reply of `RuntimeConfig`; `None` when it says nothing of Linux.
pub(crate) fn cgroup_driver(reply: proto::RuntimeConfigResponse) -> Result<Option<CgroupDriver>, Malformed> {
    let Some(linux) = reply.linux else { return Ok(None) };
    match proto::CgroupDriver::try_from(linux.cgroup_driver) {
        Ok(proto::CgroupDriver::Systemd) => Ok(Some(CgroupDriver::Systemd)),
        Ok(proto::CgroupDriver::Cgroupfs) => Ok(Some(CgroupDriver::Cgroupfs)),
        Err(_) => Err(Malformed(format!("cgroup driver {} is not known", linux.cgroup_driver))),
    }
}
