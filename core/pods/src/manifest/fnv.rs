//! FNV-1a with 128 bits, and the canonical form in which a pod is hashed.
//!
//! The hash names static pods (CONTRACT 3.1), so it must stay the same over restarts and versions of the agent: map keys
//! are sorted, nulls are left out, every part is delimited.

use serde_json::Value;

const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// A running FNV-1a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fnv128(u128);

impl Fnv128 {
    pub(crate) const fn new() -> Self {
        Self(OFFSET_BASIS)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }

    /// Writes a JSON value in canonical form. Recursion is as deep as the value, which decoding has bounded.
    pub(crate) fn write_json(&mut self, value: &Value) {
        match value {
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().filter(|(_, value)| !value.is_null()).collect();
                entries.sort_by_key(|(key, _)| key.as_str());
                self.write(b"{");
                for (key, value) in entries {
                    self.write(Value::from(key.as_str()).to_string().as_bytes());
                    self.write(b":");
                    self.write_json(value);
                    self.write(b",");
                }
                self.write(b"}");
            }
            Value::Array(items) => {
                self.write(b"[");
                for item in items {
                    self.write_json(item);
                    self.write(b",");
                }
                self.write(b"]");
            }
            scalar => self.write(scalar.to_string().as_bytes()),
        }
    }

    /// 32 hexadecimal digits.
    pub(crate) fn hex(self) -> String {
        format!("{:032x}", self.0)
    }
}

/// The hash of some bytes.
pub(crate) fn fnv128(bytes: &[u8]) -> Fnv128 {
    let mut hash = Fnv128::new();
    hash.write(bytes);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hashes_are_those_of_fnv_1a_128() {
        for (text, hash) in [
            ("", "6c62272e07bb014262b821756295c58d"),
            ("a", "d228cb696f1a8caf78912b704e4a8964"),
            ("foobar", "343e1662793c64bf6f0d3597ba446f18"),
        ] {
            assert_eq!(fnv128(text.as_bytes()).hex(), hash, "{text:?}");
        }
    }

    #[test]
    fn the_canonical_form_ignores_nulls_and_nothing_else() {
        let hash = |value: Value| {
            let mut hash = Fnv128::new();
            hash.write_json(&value);
            hash.hex()
        };
        assert_eq!(hash(json!({"a": 1, "b": null})), hash(json!({"a": 1})));
        assert_ne!(hash(json!({"a": [1, 2]})), hash(json!({"a": [12]})));
        assert_ne!(hash(json!({"a": "1"})), hash(json!({"a": 1})));
        assert_ne!(hash(json!({"a": {"b": 1}})), hash(json!({"a": {}, "b": 1})));
    }
}
