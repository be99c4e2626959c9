//! The shapes of Kubernetes names that configuration holds: label keys and values, sysctls, huge pages,
//! CPU lists.

/// A label key or taint key: `[prefix/]name`.
pub(crate) fn qualified_name(key: &str) -> Result<(), String> {
    let name = match key.split_once('/') {
        Some((prefix, name)) => {
            if !is_dns_subdomain(prefix) {
                return Err(format!("the prefix {prefix:?} must be a lower-case DNS name"));
            }
            name
        }
        None => key,
    };
    if is_name(name) {
        return Ok(());
    }
    Err(format!(
        "the name {name:?} must be 1 to 63 letters, digits, '-', '_' or '.', \
         with a letter or digit at each end"
    ))
}

/// A label value or taint value; may be empty.
pub(crate) fn label_value(value: &str) -> Result<(), String> {
    if value.is_empty() || is_name(value) {
        return Ok(());
    }
    Err(format!(
        "the value {value:?} must be at most 63 letters, digits, '-', '_' or '.', \
         with a letter or digit at each end"
    ))
}

fn is_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let ends = text.as_bytes().first().zip(text.as_bytes().last());
    text.len() <= 63
        && text.bytes().all(inner)
        && ends.is_some_and(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
}

/// An RFC 1123 subdomain.
fn is_dns_subdomain(text: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= 253
        && text.split('.').all(|label| {
            label.bytes().all(|b| edge(&b) || b == b'-')
                && label
                    .as_bytes()
                    .first()
                    .zip(label.as_bytes().last())
                    .is_some_and(|(a, z)| edge(a) && edge(z))
        })
}

/// The memory types that can be reserved.
pub(crate) fn hugepages_or_memory(kind: &str) -> bool {
    kind == "memory" || kind.starts_with("hugepages-")
}

/// A sysctl name with dots or slashes between its parts.
pub(crate) fn is_sysctl_name(name: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 253
        && name.split(['.', '/']).all(|part| {
            part.bytes().all(|b| edge(&b) || matches!(b, b'-' | b'_'))
                && part
                    .as_bytes()
                    .first()
                    .zip(part.as_bytes().last())
                    .is_some_and(|(a, z)| edge(a) && edge(z))
        })
}

/// A CPU list such as `0-3,8`; `Err` says which part is wrong.
pub(crate) fn cpu_list(list: &str) -> Result<(), String> {
    if list.is_empty() {
        return Ok(());
    }
    for part in list.split(',') {
        let number = |text: &str| {
            text.parse::<u32>()
                .map_err(|_| format!("expected CPU numbers and ranges such as 0-3,8, got {part:?}"))
        };
        match part.split_once('-') {
            None => {
                number(part)?;
            }
            Some((first, last)) => {
                if number(first)? > number(last)? {
                    return Err(format!("the range {part:?} runs backwards"));
                }
            }
        }
    }
    Ok(())
}

/// An image, or a repository prefix ending in `/*`, without tag or digest.
pub(crate) fn image_pattern(pattern: &str) -> Result<(), String> {
    if pattern.trim() != pattern {
        return Err(format!("{pattern:?} has spaces around it"));
    }
    let (name, wildcard) = match pattern.strip_suffix("/*") {
        Some(name) => (name, true),
        None => (pattern, false),
    };
    if name.is_empty() {
        return Err(format!("{pattern:?} needs at least a registry host"));
    }
    if name.contains('*') {
        return Err(format!("{pattern:?}: only a final /* stands for many images"));
    }
    let last = name.rsplit('/').next().unwrap_or(name);
    if name.contains('@') || (!wildcard && last.contains(':')) {
        return Err(format!("{pattern:?} must have neither tag nor digest"));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':');
    if !name.bytes().all(allowed) || name.split('/').any(str::is_empty) {
        return Err(format!("{pattern:?} is not an image name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_keys_and_values_have_their_shape() {
        for good in ["a", "example.com/a", "A_b.c-1", "node.kubernetes.io/x"] {
            assert!(qualified_name(good).is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in ["", "/a", "a/", "a/b/c", "-a", "a-", "Ex.com/a", "a b", "é", long.as_str()] {
            assert!(qualified_name(bad).is_err(), "{bad}");
        }
        assert!(label_value("").is_ok() && label_value("a b").is_err() && label_value(&long).is_err());
    }

    #[test]
    fn cpu_lists_have_numbers_and_ranges() {
        for good in ["", "0", "0-3,8", "3-3"] {
            assert!(cpu_list(good).is_ok(), "{good}");
        }
        for bad in ["x", "0-", "-1", "3-1", "0,,1", "0-1-2"] {
            assert!(cpu_list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn image_patterns_name_no_version() {
        for good in ["a", "reg:5000/a", "reg/*", "reg.io/a/b"] {
            assert!(image_pattern(good).is_ok(), "{good}");
        }
        for bad in ["", "/*", "a:1", "a@sha256:0", "a/*/b", " a", "a//b", "a b"] {
            assert!(image_pattern(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sysctl_names_have_parts() {
        assert!(is_sysctl_name("net.core.somaxconn") && is_sysctl_name("net/ipv4/conf/eth0.1/x"));
        assert!(!is_sysctl_name("") && !is_sysctl_name("net..x") && !is_sysctl_name("Net.x"));
    }
}
