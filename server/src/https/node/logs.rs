//! `/logs/`: files and directories of the node's logs, and the answers to queries.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use ports::FileError;
use ports::node_files::{Bytes as Content, NodeFile};

use super::query::NodeLogQuery;
use super::{NodeLogs, NodePages};
use crate::body::{self, Body, BodyError, error_text, respond};
use crate::query::Query;

/// How long the answer to a query may take, all of it.
const QUERY_LIMIT: Duration = Duration::from_secs(30);

impl NodePages {
    /// What lies at a path (decoded, without `/logs/`), or the answer to a query.
    pub(in crate::https) async fn logs(&self, path: &str, query: &Query) -> Response<Body> {
        if self.options.logs != NodeLogs::Query {
            return self.file(path).await;
        }
        let found = match NodeLogQuery::parse(query) {
            Ok(found) => found,
            Err(problems) => return error_text(StatusCode::BAD_REQUEST, &problems),
        };
        if found == NodeLogQuery::default() {
            return self.file(path).await;
        }
        if !path.trim_matches('/').is_empty() {
            return error_text(StatusCode::NOT_ACCEPTABLE, "path not allowed in query mode");
        }
        if let Err(problems) = found.check() {
            return error_text(StatusCode::NOT_ACCEPTABLE, &problems);
        }
        match found.files.first() {
            // Clients on other systems write the separator of their own.
            Some(file) => self.queried_file(&found, &file.replace('\\', "/")).await,
            None => self.services(&found).await,
        }
    }

    async fn queried_file(&self, query: &NodeLogQuery, file: &str) -> Response<Body> {
        match self.options.files.open(file.trim_start_matches('/')).await {
            Ok(Some(found)) => show(file, found),
            Ok(None) => {
                let words = format!("statat {file}: no such file or directory");
                error_text(StatusCode::NOT_ACCEPTABLE, &query.file_problem(&words))
            }
            Err(error) => error_text(StatusCode::NOT_ACCEPTABLE, &query.file_problem(&error.to_string())),
        }
    }

    async fn file(&self, path: &str) -> Response<Body> {
        match self.options.files.open(path.trim_matches('/')).await {
            Ok(Some(found)) => show(path, found),
            Ok(None) => body::unknown_path(),
            Err(FileError::Refused { .. }) => error_text(StatusCode::FORBIDDEN, "403 Forbidden"),
            Err(error) => {
                tracing::warn!(%error, "a log file cannot be served");
                error_text(StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error")
            }
        }
    }

    /// The services' lines: first of those that the journal knows, then the files of the others.
    async fn services(&self, query: &NodeLogQuery) -> Response<Body> {
        let mut journalled = Vec::new();
        let mut in_files = Vec::new();
        for service in &query.services {
            match self.options.journal.knows(service).await {
                true => journalled.push(service.clone()),
                false => in_files.push(service.clone()),
            }
        }
        let mut parts: Vec<Content> = Vec::new();
        if !journalled.is_empty() {
            let arguments = query.journal_arguments(&journalled);
            parts.push(match self.options.journal.read(arguments, QUERY_LIMIT).await {
                Ok(lines) => lines,
                Err(_) => words("\nerror: journal output not available\n".to_owned()),
            });
        }
        if !in_files.is_empty() && query.has_options() {
            parts.push(words(format!(
                "\noptions present and query resolved to log files for [{}]\ntry without specifying options\n",
                in_files.join(" ")
            )));
        } else {
            for service in &in_files {
                parts.push(self.service_file(service).await);
            }
        }
        let all = stream::iter(parts).flatten().map(|part| part.map_err(BodyError::from));
        let in_time = all.take_until(tokio::time::sleep(QUERY_LIMIT));
        let mut response = Response::new(body::stream(in_time));
        let kind = HeaderValue::from_static("text/plain;charset=UTF-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }

    /// The file that a service most likely writes.
    async fn service_file(&self, service: &str) -> Content {
        for name in [service.to_owned(), format!("{service}.log"), format!("{service}/{service}.log")] {
            match self.options.files.open(&name).await {
                Ok(Some(NodeFile::File { content, .. })) => return content,
                Ok(Some(NodeFile::Directory(_)) | None) => {}
                Err(error) => return words(format!("\nerror getting log for {service}: {error}\n")),
            }
        }
        words(format!("\nlog not found for {service}\n"))
    }
}

fn words(text: String) -> Content {
    Box::pin(stream::iter([Ok(Bytes::from(text))]))
}

fn show(path: &str, found: NodeFile) -> Response<Body> {
    match found {
        NodeFile::Directory(names) => list(&names),
        NodeFile::File { size_bytes, modified, content } => {
            let mut response = Response::new(body::stream(content.map(|part| part.map_err(BodyError::from))));
            let headers: &mut HeaderMap = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size_bytes));
            if let Some(time) = http_date(modified.unix_nanos()) {
                headers.insert(header::LAST_MODIFIED, time);
            }
            response
        }
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("gz") => "application/gzip",
        Some("journal" | "db" | "xz" | "zst") => "application/octet-stream",
        _ => "text/plain; charset=utf-8",
    }
}

fn http_date(unix_nanos: i64) -> Option<HeaderValue> {
    let time = Timestamp::from_nanosecond(i128::from(unix_nanos)).ok()?;
    HeaderValue::from_str(&time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()).ok()
}

/// A directory as Go's file server lists it.
fn list(names: &[String]) -> Response<Body> {
    let mut page =
        String::from("<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n");
    for name in names {
        let link = link(name);
        page.push_str(&format!("<a href=\"{link}\">{}</a>\n", escape(name)));
    }
    page.push_str("</pre>\n");
    respond(StatusCode::OK, "text/html; charset=utf-8", page)
}

/// A name as a relative link.
fn link(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(byte.into())
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Text that HTML shows as it is.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}
