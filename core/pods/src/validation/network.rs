//! Host network ports, DNS configuration and host aliases.

use core_types::api::{HostAlias, PodSpec};

use super::{Errors, Path, names};

/// What libc's resolver takes.
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCH_PATHS: usize = 32;
const MAX_SEARCH_LIST_CHARS: usize = 2048;

/// With the host's network a container port is a host port.
pub(super) fn validate_host_network_ports(spec: &PodSpec, path: &Path, errors: &mut Errors) {
    if spec.host_network != Some(true) {
        return;
    }
    for (container_index, container) in spec.containers.iter().enumerate() {
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let host_port = port.host_port.unwrap_or(0);
            if host_port != port.container_port {
                let path = path.child("containers").index(container_index).child("ports").index(index);
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.invalid(&path.child("hostPort"), host_port, detail);
            }
        }
    }
}

pub(super) fn validate_dns(spec: &PodSpec, path: &Path, errors: &mut Errors) {
    let is_none = spec.dns_policy.as_deref() == Some("None");
    let Some(config) = &spec.dns_config else {
        if is_none {
            errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        return;
    };
    let nameservers = config.nameservers.as_deref().unwrap_or_default();
    let field = path.child("nameservers");
    if is_none && nameservers.is_empty() {
        return errors.required(&field, "must provide at least one DNS nameserver when `dnsPolicy` is None");
    }
    if nameservers.len() > MAX_NAMESERVERS {
        errors.invalid(&field, nameservers, format!("must not have more than {MAX_NAMESERVERS} nameservers"));
    }
    for (index, address) in nameservers.iter().enumerate() {
        errors.invalid_each(&field.index(index), address, names::ip_address(address));
    }
    let searches = config.searches.as_deref().unwrap_or_default();
    let field = path.child("searches");
    if searches.len() > MAX_SEARCH_PATHS {
        errors.invalid(&field, searches, format!("must not have more than {MAX_SEARCH_PATHS} search paths"));
    }
    let chars = searches.iter().map(|search| search.len() + 1).sum::<usize>().saturating_sub(1);
    if chars > MAX_SEARCH_LIST_CHARS {
        let detail = format!(
            "must not have more than {MAX_SEARCH_LIST_CHARS} characters (including spaces) in the search list"
        );
        errors.invalid(&field, searches, detail);
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        errors.invalid_each(&field.index(index), search, names::dns1123_subdomain_with_underscore(search));
    }
    for (index, option) in config.options.iter().flatten().enumerate() {
        if option.name.as_deref().unwrap_or_default().is_empty() {
            errors.required(&path.child("options").index(index), "must not be empty");
        }
    }
}

pub(super) fn validate_host_aliases(aliases: &[HostAlias], path: &Path, errors: &mut Errors) {
    for (index, alias) in aliases.iter().enumerate() {
        let path = path.index(index);
        errors.invalid_each(&path.child("ip"), &alias.ip, names::ip_address(&alias.ip));
        for (name_index, name) in alias.hostnames.iter().flatten().enumerate() {
            errors.invalid_each(
                &path.child("hostnames").index(name_index),
                name,
                names::dns1123_subdomain(name),
            );
        }
    }
}
