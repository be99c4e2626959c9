//! Reads what the server says when it refuses.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use ports::ApiStatus;
use serde::Deserialize;

/// Characters that are shown of an answer that is no `Status` object.
const MAX_SHOWN: usize = 256;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusObject {
    kind: String,
    message: String,
    reason: String,
    code: u16,
    details: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    retry_after_seconds: u64,
}

/// The status of an answer with an error code.
pub(crate) fn read(code: StatusCode, headers: &HeaderMap, body: &[u8]) -> ApiStatus {
    let mut status = of_object(body).unwrap_or_else(|| ApiStatus {
        code: code.as_u16(),
        reason: String::new(),
        message: plain(code, body),
        retry_after: None,
    });
    status.code = code.as_u16();
    status.retry_after = retry_after(headers).or(status.retry_after);
    status
}

/// A `Status` object, as it also comes as an event of a watch.
pub(crate) fn of_object(body: &[u8]) -> Option<ApiStatus> {
    let object: StatusObject = serde_json::from_slice(body).ok()?;
    let seconds = object.details.retry_after_seconds;
    (object.kind == "Status").then(|| ApiStatus {
        code: object.code,
        reason: object.reason,
        message: object.message,
        retry_after: (seconds > 0).then(|| Duration::from_secs(seconds)),
    })
}

/// `Retry-After` in seconds; a date in it is not used by API servers.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

fn plain(code: StatusCode, body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(body).trim().chars().take(MAX_SHOWN).collect();
    match text.as_str() {
        "" => code.canonical_reason().unwrap_or("the server gave no reason").to_owned(),
        _ => text,
    }
}
