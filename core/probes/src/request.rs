//! What a probe asks: the probe of the spec with names resolved and defaults filled in.

use core_types::api::{Container, IntOrString, Probe};
use core_types::expansion::{Room, TooLong, expand};

/// One question to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeRequest {
    /// A command inside the container; exit code 0 is success.
    Exec {
        /// Command and arguments.
        command: Vec<String>,
    },
    /// A GET; a status from 200 to 399 is success.
    Http(HttpRequest),
    /// A connection; being accepted is success.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// `grpc.health.v1.Health/Check`; `SERVING` is success.
    Grpc {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
        /// Service that is asked about; empty for the server as a whole.
        service: String,
        /// With TLS or without.
        mode: GrpcMode,
    },
}

/// HTTP or HTTPS; certificates are not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What an HTTP server is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, which the server has to expect: nothing is negotiated.
    Http2,
}

/// What a gRPC server is spoken to over; certificates are not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcMode {
    /// Plain.
    Plaintext,
    /// TLS.
    Tls,
}

/// Fields of probes that count only with their feature gate; without it they are passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeGates {
    /// `H2CContainerProbe`: `httpGet.protocol`.
    pub http2: bool,
    /// `GRPCContainerProbeTLS`: `grpc.mode`.
    pub grpc_tls: bool,
}

/// A GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// Scheme.
    pub scheme: Scheme,
    /// Version.
    pub version: HttpVersion,
    /// Host name or address to connect to.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query, with the slash.
    pub path: String,
    /// The pod's own headers, in order. `Host` replaces the request's; an empty `User-Agent` or `Accept` removes ours.
    pub headers: Vec<(String, String)>,
}

impl HttpRequest {
    /// The URL.
    pub fn url(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        format!("{}://{host}:{}{}", self.scheme.as_str(), self.port, self.path)
    }
}

/// Why a probe cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The container has no port of that name.
    #[error("couldn't find port: {name:?} in container {container:?}: name it in spec.containers[*].ports")]
    NoSuchPort {
        /// Name in the probe.
        name: String,
        /// Container.
        container: String,
    },
    /// The number is no port.
    #[error("invalid port number: {port}")]
    BadPort {
        /// Number in the probe.
        port: i32,
    },
    /// No action is set.
    #[error("missing probe handler for container {container:?}")]
    NoAction {
        /// Container.
        container: String,
    },
    /// The command is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The pod has no address (any more).
    #[error("the pod has no IP address")]
    NoAddress,
}

/// Makes the request of a probe. `pod_ip` is the host where the probe names none; it may be empty.
///
/// # Errors
/// The probe cannot be sent: its result is unknown.
pub fn request(
    probe: &Probe,
    container: &Container,
    pod_ip: &str,
    gates: ProbeGates,
) -> Result<ProbeRequest, RequestError> {
    if let Some(exec) = &probe.exec {
        let mut room = Room::of_process();
        let words = exec.command.iter().flatten();
        let command = words.map(|word| expand(word, &mut room, |name| variable(container, name)));
        return Ok(ProbeRequest::Exec { command: command.collect::<Result<_, _>>()? });
    }
    if let Some(http) = &probe.http_get {
        let scheme = match http.scheme.as_deref() {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
            _ => Scheme::Http,
        };
        let path = http.path.as_deref().unwrap_or_default();
        let headers = http.http_headers.iter().flatten();
        return Ok(ProbeRequest::Http(HttpRequest {
            scheme,
            version: match http.protocol.as_deref() {
                Some("HTTP2") if gates.http2 => HttpVersion::Http2,
                _ => HttpVersion::Http1,
            },
            host: host(http.host.as_deref(), pod_ip)?,
            port: port(&http.port, container)?,
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
            headers: headers.map(|header| (header.name.clone(), header.value.clone())).collect(),
        }));
    }
    if let Some(tcp) = &probe.tcp_socket {
        let port = port(&tcp.port, container)?;
        return Ok(ProbeRequest::Tcp { host: host(tcp.host.as_deref(), pod_ip)?, port });
    }
    if let Some(grpc) = &probe.grpc {
        return Ok(ProbeRequest::Grpc {
            host: host(None, pod_ip)?,
            port: port_number(grpc.port)?,
            service: grpc.service.clone().unwrap_or_default(),
            mode: match grpc.mode.as_deref() {
                Some("TLS") if gates.grpc_tls => GrpcMode::Tls,
                _ => GrpcMode::Plaintext,
            },
        });
    }
    Err(RequestError::NoAction { container: container.name.clone() })
}

fn host(own: Option<&str>, pod_ip: &str) -> Result<String, RequestError> {
    let host = own.filter(|host| !host.is_empty()).unwrap_or(pod_ip);
    if host.is_empty() { Err(RequestError::NoAddress) } else { Ok(host.to_owned()) }
}

fn port(port: &IntOrString, container: &Container) -> Result<u16, RequestError> {
    let name = match port {
        IntOrString::Int(number) => return port_number(*number),
        IntOrString::String(name) => name,
    };
    let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
    match (named, name.parse()) {
        (Some(named), _) => port_number(named.container_port),
        (None, Ok(number)) => port_number(number),
        (None, Err(_)) => {
            Err(RequestError::NoSuchPort { name: name.clone(), container: container.name.clone() })
        }
    }
}

fn port_number(port: i32) -> Result<u16, RequestError> {
    u16::try_from(port).ok().filter(|&port| port > 0).ok_or(RequestError::BadPort { port })
}

/// A variable that the spec gives a plain value; others stay as they are written.
fn variable(container: &Container, name: &str) -> String {
    let mut variables = container.env.iter().flatten().rev();
    let value = variables.find(|var| var.name == name).and_then(|var| var.value.clone());
    value.unwrap_or_else(|| format!("$({name})"))
}
