//! The hash of a container's spec, kept on the container: when it differs from the spec's, the container is restarted.
//!
//! It must be the same number that upstream's kubelet computes, or a change of agent would restart every container
//! (CONTRACT 3.9). Upstream hashes a Go dump of the JSON `{"image":...,"name":...}`, so only these two fields count.

use std::fmt::Write;

use core_types::api::Container;

/// FNV-32a over upstream's dump of name and image.
pub fn container_hash(container: &Container) -> u64 {
    let image = go_json_string(container.image.as_deref().unwrap_or_default());
    let name = go_json_string(&container.name);
    let json = format!("{{\"image\":{image},\"name\":{name}}}");
    // How Go's dump shows a byte slice: its numbers in brackets.
    let numbers: Vec<String> = json.bytes().map(|byte| byte.to_string()).collect();
    u64::from(fnv32a(format!("([]uint8)[{}]", numbers.join(" ")).as_bytes()))
}

/// FNV-1a, 64 bits.
pub(crate) fn fnv64a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn fnv32a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// A JSON string with the escapes that Go's encoder chooses.
fn go_json_string(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\0'..=' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if char != ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            _ => out.push(char),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_equal_upstreams() {
        // Computed with upstream's own packages: name, image, hash.
        for (name, image, hash) in [
            ("foo", "bar", 0x11a6_d6d6),
            ("web", "nginx:1.25", 0x3899_ff6c),
            ("", "", 0xedd6_7cc4),
            ("a", "docker.io/library/busybox@sha256:abc", 0x7588_72fb),
            ("x<y>&z", "im\"g\\é\u{2028}", 0xe8dd_56fa),
            ("tab\tnl\n\u{1}", "日本", 0x3ac0_c724),
        ] {
            let container =
                Container { name: name.to_owned(), image: Some(image.to_owned()), ..Container::default() };
            assert_eq!(container_hash(&container), hash, "{name:?} {image:?}");
        }
    }

    #[test]
    fn only_name_and_image_count() {
        let container =
            Container { name: "a".to_owned(), image: Some("b".to_owned()), ..Container::default() };
        let other = Container { command: Some(vec!["x".to_owned()]), ..container.clone() };
        assert_eq!(container_hash(&container), container_hash(&other));
    }
}
