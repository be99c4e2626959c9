//! Flags of the process and the node: paths, names, labels, and what the classic kubelet had.

use super::Flag;
use super::value::{Outcome, duration, map, node_ips, number, optional_path, parse_bool, path, switch, text};
use super::{Request, Target};

pub(super) const FLAGS: &[Flag] = &[
    Flag::value(
        "config",
        "",
        "Configuration file (KubeletConfiguration); without it flags and defaults are all there is. \
         Flags win over the file.",
        |t, v, _| optional_path(&mut t.options.config, v),
    ),
    Flag::value(
        "config-dir",
        "",
        "Directory of drop-ins (*.conf, read in lexical order, sub-directories too) that are merged \
         over the configuration.",
        |t, v, _| optional_path(&mut t.options.config_dir, v),
    ),
    Flag::value(
        "kubeconfig",
        "",
        "Credentials for the API server; without it the node works standalone.",
        |t, v, _| optional_path(&mut t.options.kubeconfig, v),
    ),
    Flag::value(
        "bootstrap-kubeconfig",
        "",
        "Credentials used once to get a client certificate, when the file of --kubeconfig does not \
         exist.",
        |t, v, _| optional_path(&mut t.options.bootstrap_kubeconfig, v),
    ),
    Flag::value("hostname-override", "", "Name of the node, instead of the host's.", |t, v, _| {
        text(&mut t.options.hostname_override, v)
    }),
    Flag::value(
        "node-ip",
        "",
        "Address of the node, or one of each family with a comma; 0.0.0.0 or :: prefer a family.",
        |t, v, _| node_ips(&mut t.options.node_ip, v),
    ),
    Flag::value("cert-dir", "/var/lib/kubelet/pki", "Directory of certificates and keys.", |t, v, _| {
        path(&mut t.options.cert_dir, v)
    }),
    Flag::value(
        "cloud-provider",
        "",
        "Empty, or \"external\" when a cloud controller manages the node.",
        |t, v, _| text(&mut t.options.cloud_provider, v),
    ),
    Flag::value(
        "root-dir",
        "/var/lib/kubelet",
        "Directory of the kubelet's state and of pods' volumes.",
        |t, v, _| path(&mut t.options.root_dir, v),
    ),
    Flag::switch(
        "seccomp-default",
        "false",
        "Give containers without a seccomp profile the runtime's default one.",
        |t, v, _| switch(&mut t.options.seccomp_default, v),
    ),
    Flag::value(
        "node-labels",
        "",
        "Labels of the node at registration, as key=value pairs. Of Kubernetes' own keys only those \
         meant for kubelets are allowed.",
        |t, v, turn| map(&mut t.options.node_labels, v, turn),
    ),
    Flag::value("lock-file", "", "File to lock before start.", |t, v, _| {
        optional_path(&mut t.options.lock_file, v)
    }),
    Flag::switch(
        "exit-on-lock-contention",
        "false",
        "End when another process opens the lock file.",
        |t, v, _| switch(&mut t.options.exit_on_lock_contention, v),
    ),
    Flag::value("runtime-cgroups", "", "Cgroup of the container runtime, for its statistics.", |t, v, _| {
        text(&mut t.options.runtime_cgroups, v)
    }),
    Flag::value(
        "image-credential-provider-config",
        "",
        "Configuration of image credential plugins: a file, or a directory of files.",
        |t, v, _| optional_path(&mut t.options.image_credential_provider_config, v),
    ),
    Flag::value(
        "image-credential-provider-bin-dir",
        "",
        "Directory of image credential plugins.",
        |t, v, _| optional_path(&mut t.options.image_credential_provider_bin_dir, v),
    ),
    Flag::switch("fail-cgroupv1", "true", "Refuse to run on a host with cgroup v1.", |t, v, _| {
        switch(&mut t.config.fail_cgroup_v1, v)
    }),
    Flag::value("provider-id", "", "The cloud's name for the node.", |t, v, _| {
        text(&mut t.config.provider_id, v)
    }),
    Flag::value("housekeeping-interval", "10s", "How often container statistics are taken.", |t, v, _| {
        duration(&mut t.options.housekeeping_interval, v)
    }),
    Flag::value(
        "local-socket",
        "/run/podwright/agent.sock",
        "Socket where the podwright program reaches this agent; empty for none.",
        |t, v, _| optional_path(&mut t.options.own.local_socket, v),
    ),
    Flag::switch(
        "offline-start",
        "true",
        "Keep the pods of the API server, and what they refer to, in an encrypted file below the root directory, \
         and start them from it when the server cannot be reached; when off, nothing is kept and the file is removed.",
        |t, v, _| switch(&mut t.options.own.offline_start, v),
    ),
    Flag::value(
        "offline-start-key",
        "",
        "File with the key of what --offline-start keeps, 32 bytes; made when it is not there. Empty for a file \
         beside what is kept.",
        |t, v, _| optional_path(&mut t.options.own.offline_start_key, v),
    ),
    Flag::value("cadvisor-port", "0", "Port of the classic cAdvisor metrics; 0 for off.", |t, v, _| {
        number(&mut t.options.cadvisor_port, v)
    }),
    Flag::value(
        "container-runtime",
        "",
        "Accepted for old command lines: only \"remote\" is left, which means \
         --container-runtime-endpoint.",
        |_, v, _| container_runtime(v),
    )
    .without_effect(),
    Flag::value(
        "minimum-container-ttl-duration",
        "0s",
        "Youngest dead container that may be removed.",
        |t, v, _| duration(&mut t.options.minimum_container_ttl, v),
    )
    .deprecated("use --eviction-hard or --eviction-soft"),
    Flag::value(
        "maximum-dead-containers-per-container",
        "1",
        "Dead instances kept of each container.",
        |t, v, _| number(&mut t.options.maximum_dead_containers_per_container, v),
    )
    .deprecated("use --eviction-hard or --eviction-soft"),
    Flag::value(
        "maximum-dead-containers",
        "-1",
        "Dead instances kept in all; negative for no limit.",
        |t, v, _| number(&mut t.options.maximum_dead_containers, v),
    )
    .deprecated("use --eviction-hard or --eviction-soft"),
    Flag::value("experimental-mounter-path", "", "Program for mounts; not supported.", |_, _, _| Ok(()))
        .deprecated("it will be removed")
        .without_effect(),
    Flag::switch(
        "experimental-allocatable-ignore-eviction",
        "false",
        "Do not subtract hard eviction thresholds from what pods may use.",
        |t, v, _| switch(&mut t.options.allocatable_ignores_eviction, v),
    )
    .deprecated("it will be removed"),
    Flag::switch("help", "false", "Print this help.", |t, v, _| requested(t, Request::Help, v)).short('h'),
    Flag::switch("version", "false", "Print the version; \"raw\" prints it with its details.", |t, v, _| {
        version(t, v)
    }),
];

fn requested(target: &mut Target, request: Request, value: &str) -> Outcome {
    if parse_bool(value)? {
        target.request = request;
    }
    Ok(())
}

fn version(target: &mut Target, value: &str) -> Outcome {
    if value == "raw" {
        target.request = Request::RawVersion;
        return Ok(());
    }
    requested(target, Request::Version, value).map_err(|_| "expected true, false or raw".to_owned())
}

fn container_runtime(value: &str) -> Outcome {
    match value {
        "remote" => Ok(()),
        "docker" | "rkt" => {
            Err("it is no longer supported: run containerd or CRI-O and name its CRI socket, as in \
             --container-runtime-endpoint=unix:///run/containerd/containerd.sock"
                .to_owned())
        }
        _ => {
            Err("the only container runtime left is \"remote\", named by --container-runtime-endpoint"
                .to_owned())
        }
    }
}
