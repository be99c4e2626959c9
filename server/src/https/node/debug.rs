//! `/debug/flags/v` and `/debug/pprof/`.
//!
//! Profiles of Go's runtime (heap, goroutine, ...) do not exist here: they are answered as Go answers for a profile it does not
//! know. The command line is the same in every language.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as HttpBody, Incoming};

use super::NodePages;
use crate::body::{Body, respond, text};

/// A verbosity is a short number.
const MAX_BODY_BYTES: usize = 1024;
/// And it comes at once. Who sends it by and by holds a connection for nothing.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// What Go's client looks for in refusals of profiles.
const GO_PPROF: HeaderName = HeaderName::from_static("x-go-pprof");

impl NodePages {
    /// Changes the log's verbosity.
    pub(in crate::https) async fn set_verbosity(&self, request: Request<Incoming>) -> Response<Body> {
        if request.method() != Method::PUT {
            return plain(StatusCode::NOT_ACCEPTABLE, "unsupported http method");
        }
        let body = match read(request.into_body()).await {
            Ok(body) => body,
            Err(problem) => {
                return plain(StatusCode::BAD_REQUEST, &format!("error reading request body: {problem}"));
            }
        };
        match parse_verbosity(&body) {
            Ok(verbosity) => {
                self.options.verbosity.set(verbosity);
                tracing::info!(verbosity, "the log's verbosity was changed by a request");
                plain(StatusCode::OK, &format!("successfully set klog.logging.verbosity to {body}"))
            }
            Err(problem) => plain(StatusCode::BAD_REQUEST, &problem),
        }
    }

    /// A page of `/debug/pprof/`.
    pub(in crate::https) fn profile(&self, name: &str) -> Response<Body> {
        match name {
            "cmdline" => {
                let mut response = text(StatusCode::OK, self.options.command_line.join("\0"));
                no_sniffing(&mut response);
                response
            }
            "" => respond(StatusCode::OK, "text/html; charset=utf-8", INDEX),
            _ => {
                let mut response = text(StatusCode::NOT_FOUND, "Unknown profile\n");
                no_sniffing(&mut response);
                response.headers_mut().insert(GO_PPROF, HeaderValue::from_static("1"));
                response
            }
        }
    }
}

const INDEX: &str = "<html>\n<head>\n<title>/debug/pprof/</title>\n</head>\n<body>\n/debug/pprof/\n<br>\n\
    <p><a href=\"cmdline\">cmdline</a>: the command line of this process</p>\n\
    <p>This kubelet has no Go runtime, so it has no profiles of one.</p>\n</body>\n</html>\n";

async fn read<B>(body: B) -> Result<String, String>
where
    B: HttpBody,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let reading = Limited::new(body, MAX_BODY_BYTES).collect();
    let body = tokio::time::timeout(BODY_TIMEOUT, reading)
        .await
        .map_err(|_| format!("it did not come in {BODY_TIMEOUT:?}"))?
        .map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}

/// Reads a number as Go's `ParseUint` does, with its words.
fn parse_verbosity(body: &str) -> Result<u32, String> {
    let problem = match body.parse::<u64>() {
        _ if body.is_empty() || !body.bytes().all(|byte| byte.is_ascii_digit()) => "invalid syntax",
        Ok(number) => match u32::try_from(number) {
            // The verbosity of klog is signed.
            Ok(number) if i32::try_from(number).is_ok() => return Ok(number),
            _ => "value out of range",
        },
        Err(_) => "value out of range",
    };
    Err(format!("strconv.ParseUint: parsing {body:?}: {problem}"))
}

fn plain(status: StatusCode, words: &str) -> Response<Body> {
    let mut response = respond(status, "text/plain", format!("{words}\n"));
    no_sniffing(&mut response);
    response
}

fn no_sniffing(response: &mut Response<Body>) {
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_is_short_and_comes_at_once() {
        use futures_util::stream;
        use hyper::body::Frame;
        let body = |chunks: Vec<&'static [u8]>| {
            let chunks = chunks
                .into_iter()
                .map(|chunk| Ok::<_, std::io::Error>(Frame::data(bytes::Bytes::from(chunk))));
            stream::iter(chunks)
        };
        let whole = http_body_util::StreamBody::new(body(vec![b"4", b"2"]));
        assert_eq!(read(whole).await, Ok("42".to_owned()));
        let long = http_body_util::StreamBody::new(body(vec![&[b'1'; 1000], &[b'1'; 1000]]));
        assert!(read(long).await.is_err());
        let slow =
            http_body_util::StreamBody::new(stream::StreamExt::chain(body(vec![b"4"]), stream::pending()));
        assert_eq!(read(slow).await, Err("it did not come in 10s".to_owned()));
    }

    #[test]
    fn a_verbosity_is_a_number_of_klogs_range() {
        assert_eq!(parse_verbosity("4"), Ok(4));
        assert_eq!(parse_verbosity("2147483647"), Ok(2_147_483_647));
        for (body, problem) in
            [("", "invalid syntax"), ("-1", "invalid syntax"), ("4294967296", "value out of range")]
        {
            assert_eq!(parse_verbosity(body), Err(format!("strconv.ParseUint: parsing {body:?}: {problem}")));
        }
    }
}
