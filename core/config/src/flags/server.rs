//! Flags of the API, its certificates, the API server's client, and where static pods come from.

use super::Flag;
use super::value::{
    duration, gates, headers, ip, list, number, quantity, switch, taints, text, verbosity, vmodule,
};

pub(super) const FLAGS: &[Flag] = &[
    Flag::switch("enable-server", "true", "Serve the API.", |t, v, _| switch(&mut t.config.enable_server, v))
        .in_file(),
    Flag::value("pod-manifest-path", "", "Directory or file with static pod manifests.", |t, v, _| {
        text(&mut t.config.static_pod_path, v)
    })
    .in_file(),
    Flag::value("sync-frequency", "1m0s", "Longest time between two looks at a running pod.", |t, v, _| {
        duration(&mut t.config.sync_frequency, v)
    })
    .in_file(),
    Flag::value(
        "file-check-frequency",
        "20s",
        "How often the manifest path is checked besides file events.",
        |t, v, _| duration(&mut t.config.file_check_frequency, v),
    )
    .in_file(),
    Flag::value("http-check-frequency", "20s", "How often the manifest URL is asked.", |t, v, _| {
        duration(&mut t.config.http_check_frequency, v)
    })
    .in_file(),
    Flag::value("manifest-url", "", "URL of static pod manifests.", |t, v, _| {
        text(&mut t.config.static_pod_url, v)
    })
    .in_file(),
    Flag::value(
        "manifest-url-header",
        "",
        "Headers for the manifest URL, as name:value pairs.",
        |t, v, turn| headers(&mut t.config.static_pod_url_header, v, turn),
    )
    .in_file(),
    Flag::value("address", "0.0.0.0", "Address of the API.", |t, v, _| ip(&mut t.config.address, v))
        .in_file(),
    Flag::value("port", "10250", "Port of the API.", |t, v, _| number(&mut t.config.port, v)).in_file(),
    Flag::value(
        "read-only-port",
        "10255",
        "Port of the API without authentication; 0 for off.",
        |t, v, _| number(&mut t.config.read_only_port, v),
    )
    .in_file(),
    Flag::switch(
        "anonymous-auth",
        "true",
        "Let requests without identity in, as system:anonymous.",
        |t, v, _| switch(&mut t.config.authentication.anonymous.enabled, v),
    )
    .in_file(),
    Flag::switch("authentication-token-webhook", "false", "Ask the API server about tokens.", |t, v, _| {
        switch(&mut t.config.authentication.webhook.enabled, v)
    })
    .in_file(),
    Flag::value(
        "authentication-token-webhook-cache-ttl",
        "2m0s",
        "How long an answer about a token is believed.",
        |t, v, _| duration(&mut t.config.authentication.webhook.cache_ttl, v),
    )
    .in_file(),
    Flag::value("client-ca-file", "", "Authorities whose client certificates are believed.", |t, v, _| {
        text(&mut t.config.authentication.x509.client_ca_file, v)
    })
    .in_file(),
    Flag::value(
        "authorization-mode",
        "AlwaysAllow",
        "AlwaysAllow, or Webhook to ask the API server.",
        |t, v, _| text(&mut t.config.authorization.mode, v),
    )
    .in_file(),
    Flag::value(
        "authorization-webhook-cache-authorized-ttl",
        "5m0s",
        "How long a yes of the API server is believed.",
        |t, v, _| duration(&mut t.config.authorization.webhook.cache_authorized_ttl, v),
    )
    .in_file(),
    Flag::value(
        "authorization-webhook-cache-unauthorized-ttl",
        "30s",
        "How long a no of the API server is believed.",
        |t, v, _| duration(&mut t.config.authorization.webhook.cache_unauthorized_ttl, v),
    )
    .in_file(),
    Flag::value(
        "tls-cert-file",
        "",
        "Serving certificate; without one, one is made in --cert-dir.",
        |t, v, _| text(&mut t.config.tls_cert_file, v),
    )
    .in_file(),
    Flag::value("tls-private-key-file", "", "Key of the serving certificate.", |t, v, _| {
        text(&mut t.config.tls_private_key_file, v)
    })
    .in_file(),
    Flag::value("tls-cipher-suites", "[]", "Allowed cipher suites, by IANA name.", |t, v, turn| {
        list(&mut t.config.tls_cipher_suites, v, turn)
    })
    .in_file(),
    Flag::value(
        "tls-min-version",
        "",
        "Lowest TLS version: VersionTLS10, VersionTLS11, VersionTLS12 or VersionTLS13.",
        |t, v, _| text(&mut t.config.tls_min_version, v),
    )
    .in_file(),
    Flag::switch(
        "rotate-server-certificates",
        "false",
        "Get the serving certificate from the API server, and renew it.",
        |t, v, _| switch(&mut t.config.server_tls_bootstrap, v),
    )
    .in_file(),
    Flag::switch(
        "rotate-certificates",
        "false",
        "Renew the client certificate before it ends.",
        |t, v, _| switch(&mut t.config.rotate_certificates, v),
    )
    .in_file(),
    Flag::switch("enable-debugging-handlers", "true", "Serve logs, exec and the like.", |t, v, _| {
        switch(&mut t.config.enable_debugging_handlers, v)
    })
    .in_file(),
    Flag::switch(
        "contention-profiling",
        "false",
        "Profile lock contention with the debugging handlers.",
        |t, v, _| switch(&mut t.config.enable_contention_profiling, v),
    )
    .in_file(),
    Flag::value("healthz-port", "10248", "Port of /healthz; 0 for off.", |t, v, _| {
        number(&mut t.config.healthz_port, v)
    })
    .in_file(),
    Flag::value("healthz-bind-address", "127.0.0.1", "Address of /healthz.", |t, v, _| {
        ip(&mut t.config.healthz_bind_address, v)
    })
    .in_file(),
    Flag::value(
        "streaming-connection-idle-timeout",
        "4h0m0s",
        "When an idle exec, attach or port-forward stream is closed.",
        |t, v, _| duration(&mut t.config.streaming_connection_idle_timeout, v),
    )
    .in_file(),
    Flag::value("event-qps", "50", "Events sent a second; 0 for no limit.", |t, v, _| {
        number(&mut t.config.event_record_qps, v)
    })
    .in_file(),
    Flag::value("event-burst", "100", "Events at once above --event-qps.", |t, v, _| {
        number(&mut t.config.event_burst, v)
    })
    .in_file(),
    Flag::value(
        "kube-api-content-type",
        "application/vnd.kubernetes.protobuf",
        "Encoding asked of the API server.",
        |t, v, _| text(&mut t.config.content_type, v),
    )
    .in_file(),
    Flag::value("kube-api-qps", "50", "Requests to the API server a second.", |t, v, _| {
        number(&mut t.config.kube_api_qps, v)
    })
    .in_file(),
    Flag::value(
        "kube-api-burst",
        "100",
        "Requests to the API server at once above --kube-api-qps.",
        |t, v, _| number(&mut t.config.kube_api_burst, v),
    )
    .in_file(),
    Flag::switch("register-node", "true", "Create the node object.", |t, v, _| {
        switch(&mut t.config.register_node, v)
    })
    .in_file(),
    Flag::value(
        "register-with-taints",
        "",
        "Taints of the node at registration, as key=value:Effect.",
        |t, v, _| taints(&mut t.config.register_with_taints, v),
    )
    .in_file(),
    Flag::value("node-status-update-frequency", "10s", "How often node status is computed.", |t, v, _| {
        duration(&mut t.config.node_status_update_frequency, v)
    })
    .in_file(),
    Flag::value("node-status-max-images", "50", "Most images in node status; -1 for all.", |t, v, _| {
        number(&mut t.config.node_status_max_images, v)
    })
    .in_file(),
    Flag::value("feature-gates", "", "Feature gates, as name=true or name=false pairs.", |t, v, turn| {
        gates(&mut t.config.feature_gates, v, turn)
    })
    .in_file(),
    Flag::value("logging-format", "text", "Log format: text or json.", |t, v, _| {
        text(&mut t.config.logging.format, v)
    })
    .in_file(),
    Flag::value("log-flush-frequency", "5s", "Longest time between flushes of the log.", |t, v, _| {
        duration(&mut t.config.logging.flush_frequency, v)
    }),
    Flag::switch(
        "log-text-split-stream",
        "false",
        "In text format, errors to standard error and the rest to standard output.",
        |t, v, _| switch(&mut t.config.logging.options.text.split_stream, v),
    )
    .in_file(),
    Flag::value("log-text-info-buffer-size", "0", "Buffer of split text output.", |t, v, _| {
        quantity(&mut t.config.logging.options.text.info_buffer_size, v)
    })
    .in_file(),
    Flag::switch(
        "log-json-split-stream",
        "false",
        "In JSON format, errors to standard error and the rest to standard output.",
        |t, v, _| switch(&mut t.config.logging.options.json.split_stream, v),
    )
    .in_file(),
    Flag::value("log-json-info-buffer-size", "0", "Buffer of split JSON output.", |t, v, _| {
        quantity(&mut t.config.logging.options.json.info_buffer_size, v)
    })
    .in_file(),
    Flag::value("v", "0", "Log verbosity; higher shows more.", |t, v, _| {
        verbosity(&mut t.config.logging.verbosity, v)
    })
    .short('v'),
    Flag::value("vmodule", "", "Verbosity of single files, as pattern=N pairs.", |t, v, turn| {
        vmodule(&mut t.config.logging.vmodule, v, turn)
    }),
];
