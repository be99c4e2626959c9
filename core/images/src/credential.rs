//! One credential for a registry, where it came from, and the hash by which records know it (CONTRACT 3.16).

use std::fmt::Write as _;

use core_types::runtime::ImageAuth;
use sha2::{Digest, Sha256};

/// Name of an API object that credentials came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

/// Where a credential came from: who may use what it pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// The node: every pod on it.
    Node,
    /// A secret of a pod's namespace: pods that show the same.
    Secret(ObjectName),
    /// A token of a pod's service account: pods of that account.
    ServiceAccount(ObjectName),
}

/// A credential. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// What the registry is shown.
    pub auth: ImageAuth,
    /// SHA-256 of it, as upstream computes it: records of both agents name the same credential alike.
    pub hash: String,
    /// Where it came from.
    pub source: CredentialSource,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential(hidden, of {:?})", self.source)
    }
}

impl Credential {
    /// A credential. `email` is no part of what the registry is shown, but of the hash.
    pub fn new(auth: ImageAuth, email: &str, source: CredentialSource) -> Self {
        Self { hash: hash(&auth, email), auth, source }
    }
}

/// The hash of upstream's JSON form: fields in its order, empty ones left out.
fn hash(auth: &ImageAuth, email: &str) -> String {
    let fields = [
        ("username", auth.username.as_str()),
        ("password", auth.password.as_str()),
        ("auth", auth.auth.as_str()),
        ("email", email),
        ("serveraddress", auth.server_address.as_str()),
        ("identitytoken", auth.identity_token.as_str()),
        ("registrytoken", auth.registry_token.as_str()),
    ];
    let filled = fields.iter().filter(|(_, value)| !value.is_empty());
    let members: Vec<String> =
        filled.map(|(name, value)| format!("\"{name}\":\"{}\"", go_escaped(value))).collect();
    hex(&Sha256::digest(format!("{{{}}}", members.join(","))))
}

/// The inside of a JSON string as Go writes it: HTML's special characters and two line separators are escaped too.
fn go_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_upstreams() {
        // What upstream's hash function gives for these.
        for (username, password, email, json) in [
            ("user", "pass", "", r#"{"username":"user","password":"pass"}"#),
            ("", "p", "a@b", r#"{"password":"p","email":"a@b"}"#),
            (
                "<&>",
                "q\"\\\u{2028}\u{7f}\u{1}",
                "",
                "{\"username\":\"\\u003c\\u0026\\u003e\",\"password\":\"q\\\"\\\\\\u2028\u{7f}\\u0001\"}",
            ),
            ("", "", "", "{}"),
        ] {
            let auth = ImageAuth {
                username: username.to_owned(),
                password: password.to_owned(),
                ..ImageAuth::default()
            };
            let credential = Credential::new(auth, email, CredentialSource::Node);
            assert_eq!(credential.hash, hex(&Sha256::digest(json)), "{json}");
            assert_eq!(format!("{credential:?}"), "Credential(hidden, of Node)");
        }
    }
}
