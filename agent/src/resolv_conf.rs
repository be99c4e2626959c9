//! The host's `resolvConf`: read for pods, and looked at once at the start for what resolvers in pods will not stand
//! (CONTRACT 3.18).

use core_runtime::dns::{HostDns, ResolvConf};

use crate::events::{Happening, Recorder};
use crate::outside::Outside;
use crate::settings::Settings;

/// Largest host file that is read for a pod.
pub(crate) const MAX_HOST_FILE_BYTES: usize = 10 << 20;

/// The host's DNS settings, as the file says them now.
///
/// # Errors
/// The file cannot be read or used.
pub(crate) async fn host_dns(outside: &Outside, settings: &Settings) -> Result<HostDns, String> {
    let path = settings.runtime.resolv_conf.as_str();
    if path.is_empty() {
        return Ok(HostDns::Disabled { node_ips: settings.host.node_ips.clone() });
    }
    let content = outside.files.read_host_file(path, MAX_HOST_FILE_BYTES).await;
    let content = content.map_err(|error| error.to_string())?.unwrap_or_default();
    let conf = ResolvConf::parse(&String::from_utf8_lossy(&content));
    conf.map(HostDns::File).map_err(|error| format!("resolvConf {path}: {error}"))
}

/// Tells in an event of the node when the file is over the limits of resolvers: pods get a part of it.
pub(crate) async fn check_limits(outside: &Outside, settings: &Settings, recorder: &Recorder) {
    let runtime = &settings.runtime;
    let problem = match host_dns(outside, settings).await {
        Ok(HostDns::File(conf)) => conf.limits_problem(&runtime.resolv_conf, &runtime.cluster_domain),
        Ok(HostDns::Disabled { .. }) => None,
        Err(error) => Some(error),
    };
    if let Some(problem) = problem {
        recorder.node(&Happening::warning("CheckLimitsForResolvConf", problem));
    }
}
