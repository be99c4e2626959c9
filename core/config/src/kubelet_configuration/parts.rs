//! The nested objects of `KubeletConfiguration`, field for field as v1beta1 has them.

use std::collections::BTreeMap;
use std::fmt;

use core_types::Quantity;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::defaults::is;
use super::is_unset;
use crate::duration::GoDuration;

/// Who a request comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Authentication {
    /// By client certificate.
    pub x509: X509Authentication,
    /// By asking the API server about a token.
    pub webhook: WebhookAuthentication,
    /// By nothing at all.
    pub anonymous: AnonymousAuthentication,
}

/// Client certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct X509Authentication {
    /// Authorities whose certificates are believed; empty for none.
    #[serde(rename = "clientCAFile", default, skip_serializing_if = "is_unset")]
    pub client_ca_file: String,
}

/// Tokens checked by the API server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookAuthentication {
    /// Whether tokens are accepted.
    #[serde(default = "is::webhook_auth")]
    pub enabled: bool,
    /// How long an answer is believed.
    #[serde(rename = "cacheTTL", default = "is::webhook_cache_ttl")]
    pub cache_ttl: GoDuration,
}

impl Default for WebhookAuthentication {
    fn default() -> Self {
        WebhookAuthentication { enabled: is::webhook_auth(), cache_ttl: is::webhook_cache_ttl() }
    }
}

/// Requests that show no identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnonymousAuthentication {
    /// Whether they are let in, as `system:anonymous`.
    #[serde(default = "is::anonymous_auth")]
    pub enabled: bool,
}

/// What a request may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// `AlwaysAllow` or `Webhook`.
    #[serde(default = "is::authorization_mode", skip_serializing_if = "is_unset")]
    pub mode: String,
    /// How answers of the API server are kept.
    #[serde(default)]
    pub webhook: WebhookAuthorization,
}

impl Default for Authorization {
    fn default() -> Self {
        Authorization { mode: is::authorization_mode(), webhook: WebhookAuthorization::default() }
    }
}

/// How answers of the API server are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookAuthorization {
    /// How long a yes is believed.
    #[serde(rename = "cacheAuthorizedTTL", default = "is::cache_authorized_ttl")]
    pub cache_authorized_ttl: GoDuration,
    /// How long a no is believed.
    #[serde(rename = "cacheUnauthorizedTTL", default = "is::cache_unauthorized_ttl")]
    pub cache_unauthorized_ttl: GoDuration,
}

impl Default for WebhookAuthorization {
    fn default() -> Self {
        WebhookAuthorization {
            cache_authorized_ttl: is::cache_authorized_ttl(),
            cache_unauthorized_ttl: is::cache_unauthorized_ttl(),
        }
    }
}

/// How containers may swap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemorySwap {
    /// Empty (as `NoSwap`), `NoSwap` or `LimitedSwap`.
    #[serde(skip_serializing_if = "is_unset")]
    pub swap_behavior: String,
}

/// How fast a failing container is restarted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CrashLoopBackOff {
    /// The longest wait; `None` with the gate KubeletCrashLoopBackOffMax off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_container_restart_period: Option<GoDuration>,
}

/// Shutdown time of pods from one priority upward.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShutdownGracePeriodByPodPriority {
    /// The lowest priority it is for.
    #[serde(default)]
    pub priority: i32,
    /// Their time, in seconds.
    #[serde(default)]
    pub shutdown_grace_period_seconds: i64,
}

/// Memory kept for the system on one NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryReservation {
    /// The NUMA node.
    #[serde(default)]
    pub numa_node: i32,
    /// How much of each memory type.
    #[serde(default)]
    pub limits: BTreeMap<String, QuantityText>,
}

/// A taint of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value, may be empty.
    #[serde(skip_serializing_if = "is_unset")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
    /// Not allowed here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_added: Option<String>,
}

/// Where traces are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tracing {
    /// The collector (OTLP, gRPC); `None` for localhost:4317.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// How many of a million traces are kept; `None` for those whose parent is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling_rate_per_million: Option<i32>,
}

/// Size of pods' user namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserNamespaces {
    /// Ids of each pod, a multiple of 65536; `None` for 65536.
    #[serde(rename = "idsPerPod", skip_serializing_if = "Option::is_none")]
    pub ids_per_pod: Option<i64>,
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Logging {
    /// `text` or `json`.
    #[serde(default = "is::log_format", skip_serializing_if = "is_unset")]
    pub format: String,
    /// Longest time between flushes; a number counts nanoseconds.
    #[serde(default = "is::log_flush_frequency", deserialize_with = "duration_or_nanos")]
    pub flush_frequency: GoDuration,
    /// Verbosity; higher shows more.
    #[serde(default)]
    pub verbosity: u32,
    /// Verbosity of single files.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub vmodule: Vec<VmoduleItem>,
    /// Options of each format (gate LoggingAlphaOptions).
    #[serde(default)]
    pub options: FormatOptions,
}

impl Default for Logging {
    fn default() -> Self {
        Logging {
            format: is::log_format(),
            flush_frequency: is::log_flush_frequency(),
            verbosity: 0,
            vmodule: Vec::new(),
            options: FormatOptions::default(),
        }
    }
}

/// Verbosity of files that match a pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VmoduleItem {
    /// File name without folder and suffix, or a glob of such.
    pub file_pattern: String,
    /// Their verbosity.
    pub verbosity: u32,
}

/// Options of each log format.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FormatOptions {
    /// For `text`.
    pub text: OutputRouting,
    /// For `json`.
    pub json: OutputRouting,
}

/// Where log lines go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutputRouting {
    /// Errors to standard error and the rest to standard output.
    #[serde(skip_serializing_if = "is_unset")]
    pub split_stream: bool,
    /// Buffer of that output, in bytes; zero for none.
    pub info_buffer_size: QuantityText,
}

/// A quantity as its file writes it, known to be one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct QuantityText(String);

impl QuantityText {
    /// The text, if it is a quantity.
    pub fn new(text: &str) -> Result<Self, String> {
        match text.parse::<Quantity>() {
            Ok(_) => Ok(QuantityText(text.to_owned())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The quantity.
    pub fn quantity(&self) -> Quantity {
        self.0.parse().expect("invariant: checked when it was made")
    }
}

impl Default for QuantityText {
    fn default() -> Self {
        QuantityText("0".to_owned())
    }
}

impl<'de> Deserialize<'de> for QuantityText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = QuantityText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as 500Mi")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<QuantityText, E> {
                QuantityText::new(text).map_err(E::custom)
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<QuantityText, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<QuantityText, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<QuantityText, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// `logging.flushFrequency` once was a number of nanoseconds, and still may be.
fn duration_or_nanos<'de, D: Deserializer<'de>>(deserializer: D) -> Result<GoDuration, D::Error> {
    struct Either;
    impl Visitor<'_> for Either {
        type Value = GoDuration;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration such as 5s, or a number of nanoseconds")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<GoDuration, E> {
            text.parse().map_err(E::custom)
        }
        fn visit_i64<E: Error>(self, nanos: i64) -> Result<GoDuration, E> {
            Ok(GoDuration::from_nanos(nanos))
        }
        fn visit_u64<E: Error>(self, nanos: u64) -> Result<GoDuration, E> {
            let signed =
                i64::try_from(nanos).map_err(|_| E::invalid_value(Unexpected::Unsigned(nanos), &self))?;
            self.visit_i64(signed)
        }
    }
    deserializer.deserialize_any(Either)
}
