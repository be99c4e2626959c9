//! The syntax of names, labels, ports and addresses (upstream's `apimachinery/pkg/util/validation`). Each function gives
//! the messages of what is wrong; an empty list means that the text is fine.

use core::net::IpAddr;

const LABEL_FMT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_KEY_FMT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

fn regex_error(message: &str, regex: &str, examples: &[&str]) -> String {
    let quoted: Vec<String> = examples.iter().map(|example| format!("'{example}'")).collect();
    format!("{message} (e.g. {}, regex used for validation is '{regex}')", quoted.join(",  or "))
}

fn max_len_error(characters: usize) -> String {
    format!("must be no more than {characters} characters")
}

fn is_lower_alnum(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn matches_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(&first), Some(&last))
        if is_lower_alnum(first) && is_lower_alnum(last) && bytes.iter().all(|&b| is_lower_alnum(b) || b == b'-'))
}

fn matches_subdomain(text: &str) -> bool {
    text.split('.').all(matches_label)
}

/// A DNS label of RFC 1123: container and volume names.
pub(super) fn dns1123_label(text: &str) -> Vec<String> {
    let mut messages = Vec::new();
    if text.len() > 63 {
        messages.push(max_len_error(63));
    }
    if !matches_label(text) {
        messages.push(if matches_subdomain(text) {
            "must not contain dots".to_owned()
        } else {
            regex_error(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                LABEL_FMT,
                &["my-name", "123-abc"],
            )
        });
    }
    messages
}

/// A DNS subdomain of RFC 1123: pod and node names.
pub(super) fn dns1123_subdomain(text: &str) -> Vec<String> {
    let mut messages = Vec::new();
    if text.len() > 253 {
        messages.push(max_len_error(253));
    }
    if !matches_subdomain(text) {
        messages.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            &format!("{LABEL_FMT}(\\.{LABEL_FMT})*"),
            &["example.com"],
        ));
    }
    messages
}

/// A DNS subdomain whose labels may hold underscores: DNS search paths.
pub(super) fn dns1123_subdomain_with_underscore(text: &str) -> Vec<String> {
    let mut messages = Vec::new();
    if text.len() > 253 {
        messages.push(max_len_error(253));
    }
    let label = |part: &str| {
        let bytes = part.strip_prefix('_').unwrap_or(part).as_bytes();
        matches!((bytes.first(), bytes.last()), (Some(&first), Some(&last))
            if is_lower_alnum(first) && is_lower_alnum(last)
                && bytes.iter().all(|&b| is_lower_alnum(b) || matches!(b, b'-' | b'_')))
    };
    if !text.split('.').all(label) {
        messages.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character",
            "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    messages
}

fn matches_label_key(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |&b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    matches!((bytes.first(), bytes.last()), (Some(first), Some(last))
        if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() && bytes.iter().all(inner))
}

/// A qualified name (`example.com/name`): keys of labels and annotations, resource names.
pub(super) fn qualified_name(text: &str) -> Vec<String> {
    let key_error = |start: &str| {
        let message = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
        regex_error(&format!("{start} {message}"), LABEL_KEY_FMT, &["MyName", "my.name", "123-abc"])
    };
    let mut messages = Vec::new();
    let parts: Vec<&str> = text.splitn(3, '/').collect();
    let name = match parts[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                messages.push("prefix part must be non-empty".to_owned());
            } else {
                messages.extend(dns1123_subdomain(prefix).into_iter().map(|m| format!("prefix part {m}")));
            }
            name
        }
        _ => {
            let error = key_error("a valid label key");
            return vec![format!(
                "{error} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        messages.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        messages.push("name part must be no more than 63 bytes".to_owned());
    }
    if !matches_label_key(name) {
        messages.push(key_error("name part"));
    }
    messages
}

/// The value of a label.
pub(super) fn label_value(text: &str) -> Vec<String> {
    let mut messages = Vec::new();
    if text.len() > 63 {
        messages.push("must be no more than 63 bytes".to_owned());
    }
    if !text.is_empty() && !matches_label_key(text) {
        messages.push(regex_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            &format!("({LABEL_KEY_FMT})?"),
            &["MyValue", "my_value", "12345"],
        ));
    }
    messages
}

/// The name of a container port.
pub(super) fn port_name(text: &str) -> Vec<String> {
    let mut messages = Vec::new();
    let mut check = |fine: bool, message: &str| {
        if !fine {
            messages.push(message.to_owned());
        }
    };
    check(text.len() <= 15, &max_len_error(15));
    check(
        !text.is_empty() && text.bytes().all(|b| is_lower_alnum(b) || b == b'-'),
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
    );
    check(text.bytes().any(|b| b.is_ascii_lowercase()), "must contain at least one letter (a-z)");
    check(!text.contains("--"), "must not contain consecutive hyphens");
    check(!text.starts_with('-') && !text.ends_with('-'), "must not begin or end with a hyphen");
    messages
}

/// The name of an environment variable: printable ASCII without `=`.
pub(super) fn env_var_name(text: &str) -> Vec<String> {
    if text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        return Vec::new();
    }
    vec![
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
            .to_owned(),
    ]
}

/// A number within `low..=high`.
pub(super) fn in_range(value: i64, low: i64, high: i64) -> Vec<String> {
    if (low..=high).contains(&value) {
        return Vec::new();
    }
    vec![format!("must be between {low} and {high}, inclusive")]
}

/// A port number other than zero.
pub(super) fn port_number(port: i32) -> Vec<String> {
    in_range(i64::from(port), 1, 65535)
}

/// A user or group ID.
pub(super) fn user_or_group_id(id: i64) -> Vec<String> {
    in_range(id, 0, i64::from(i32::MAX))
}

/// An IP address without leading zeros and not IPv4 in IPv6 clothes.
pub(super) fn ip_address(text: &str) -> Vec<String> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            vec!["must not be an IPv4-mapped IPv6 address".to_owned()]
        }
        Ok(_) => Vec::new(),
        Err(_) if has_leading_zeros(text) => vec!["must not have leading 0s".to_owned()],
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()],
    }
}

/// An IPv4 address but for zeros at the start of its numbers, which some programs take for octal.
fn has_leading_zeros(text: &str) -> bool {
    let decimal: Vec<&str> = text
        .split('.')
        .map(|part| if part.trim_start_matches('0').is_empty() { "0" } else { part.trim_start_matches('0') })
        .collect();
    text.contains(".") && !text.split('.').any(str::is_empty) && decimal.join(".").parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Check = fn(&str) -> Vec<String>;

    #[test]
    fn names_are_judged_as_upstream_does() {
        let long63 = "a".repeat(63);
        let long64 = "a".repeat(64);
        let cases: &[(Check, &[&str], &[&str])] = &[
            (dns1123_label, &["a", "a-b", "0", &long63], &["", "-a", "a-", "A", "a_b", "a.b", "ä", &long64]),
            (dns1123_subdomain, &["a.b-c.d0", "a"], &["", ".a", "a.", "a..b", "a.-b", "A.b"]),
            (dns1123_subdomain_with_underscore, &["_tcp.a_b.c"], &["a_.b", "A"]),
            (
                qualified_name,
                &["a", "A_b.c-d", "example.com/x", &long63],
                &["", "/a", "a/", "a/b/c", "-a", "Ex.com/a", "a b", &long64],
            ),
            (label_value, &["", "a", "A.b_c-d"], &["-a", "a b", "a/b", &long64]),
            (port_name, &["http", "a-1"], &["", "80", "HTTP", "a--b", "-a", "a-", "abcdefghijklmnop"]),
            (env_var_name, &["A", "my.env-name", "1A", "a b"], &["A=B", "ä", "a\n"]),
            (
                ip_address,
                &["10.0.0.1", "::1", "FE80:0:0:0:0:0:0:abc"],
                &["", "10.0.0", "010.0.0.1", "::ffff:1.2.3.4", "x"],
            ),
        ];
        for (check, good, bad) in cases {
            for text in *good {
                assert_eq!(check(text), Vec::<String>::new(), "{text:?}");
            }
            for text in *bad {
                assert_ne!(check(text), Vec::<String>::new(), "{text:?}");
            }
        }
    }

    #[test]
    fn messages_are_upstreams() {
        assert_eq!(
            dns1123_label("Web"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(port_number(0), ["must be between 1 and 65535, inclusive"]);
    }
}
