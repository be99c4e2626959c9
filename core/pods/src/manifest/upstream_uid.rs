//! The form of a pod that upstream's kubelet hashes into the UID of a static pod (CONTRACT 3.1).
//!
//! Upstream prints its Go object, type names and unset fields included, and hashes the text. Printing the same text gives a
//! static pod the same UID under both agents, so that each takes over the running pods of the other without a restart.
//!
//! Reads a pod with the API defaults filled in and quantities as written. `types.txt` holds the Go types as of v1.37: one
//! struct per block, `Field jsonName GoType` per line, `.` for embedded structs; aliases as `Name = type`.
//!
//! Left out: what no manifest meant for a node carries (a status, times, managed fields) and quantities beyond 128 bits.
//! Such a pod gets a UID of our own, which is as stable but not upstream's.

mod quantity;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use core_types::api::Pod;
use serde_json::Value;

use quantity::{GoQuantity, Rounding};

/// The Go types that a pod is made of.
const TYPES: &str = include_str!("upstream_uid/types.txt");

/// The text that upstream hashes; `None` when the pod holds something whose Go form is not known here.
pub(super) fn upstream_form(pod: &Pod) -> Option<String> {
    let value = serde_json::to_value(pod).ok()?;
    let types = Types::read(TYPES);
    let mut writer = Writer { types: &types, text: String::new() };
    writer.value("*core.Pod", &value, TypeName::Shown)?;
    Some(writer.text)
}

/// One field of a Go struct.
struct Field<'a> {
    name: &'a str,
    json_name: &'a str,
    type_name: &'a str,
}

/// The Go types by name.
#[derive(Default)]
struct Types<'a> {
    structs: BTreeMap<&'a str, Vec<Field<'a>>>,
    aliases: BTreeMap<&'a str, &'a str>,
}

impl<'a> Types<'a> {
    fn read(text: &'a str) -> Self {
        let mut types = Self::default();
        let mut current = "";
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [name, "=", alias] => _ = types.aliases.insert(name, alias),
                [name, json_name, type_name] => {
                    types.structs.entry(current).or_default().push(Field { name, json_name, type_name });
                }
                [name] => {
                    current = name;
                    types.structs.entry(current).or_default();
                }
                _ => {}
            }
        }
        types
    }
}

/// Whether a value is printed with its type in front: fields of structs are, items of lists and maps are not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TypeName {
    Shown,
    Hidden,
}

struct Writer<'t> {
    types: &'t Types<'static>,
    text: String,
}

impl Writer<'_> {
    /// Prints a value of a Go type. Recursion is as deep as the types, which do not contain themselves.
    fn value(&mut self, type_name: &str, value: &Value, shown: TypeName) -> Option<()> {
        if shown == TypeName::Shown {
            write!(self.text, "({type_name})").ok()?;
        }
        if let Some(pointee) = type_name.strip_prefix('*') {
            return match value.is_null() {
                true => self.put("<nil>"),
                false => self.value(pointee, value, TypeName::Hidden),
            };
        }
        if let Some(item) = type_name.strip_prefix("[]") {
            return self.list(item, value);
        }
        match type_name {
            "map[string]string" => self.map(value, |writer, text| writer.scalar(text, "")),
            "core.ResourceList" => self.map(value, |writer, text| writer.quantity(text, Rounding::UpToMilli)),
            "resource.Quantity" => self.quantity(value, Rounding::None),
            "intstr.IntOrString" => self.int_or_string(value),
            "v1.Time" if value.is_null() => {
                self.put("{Time:(time.Time){wall:(uint64)0 ext:(int64)0 loc:(*time.Location)<nil>}}")
            }
            "string" => self.scalar(value, ""),
            "bool" => self.scalar(value, "false"),
            "int32" | "int64" => self.scalar(value, "0"),
            name => match self.types.aliases.get(name) {
                Some(alias) => self.value(alias, value, TypeName::Hidden),
                None => self.structure(name, value),
            },
        }
    }

    fn structure(&mut self, type_name: &str, value: &Value) -> Option<()> {
        let types = self.types;
        self.put("{")?;
        for (index, field) in types.structs.get(type_name)?.iter().enumerate() {
            self.put(if index == 0 { "" } else { " " })?;
            self.put(field.name)?;
            self.put(":")?;
            let inner = match field.json_name {
                // Decoding takes kind and version off the object.
                "." if field.name == "TypeMeta" => &Value::Null,
                "." => value,
                name => value.get(name).unwrap_or(&Value::Null),
            };
            self.value(field.type_name, inner, TypeName::Shown)?;
        }
        self.put("}")
    }

    fn list(&mut self, item_type: &str, value: &Value) -> Option<()> {
        let Some(items) = value.as_array() else { return self.put("<nil>") };
        self.put("[")?;
        for (index, item) in items.iter().enumerate() {
            self.put(if index == 0 { "" } else { " " })?;
            self.value(item_type, item, TypeName::Hidden)?;
        }
        self.put("]")
    }

    fn map(&mut self, value: &Value, item: impl Fn(&mut Self, &Value) -> Option<()>) -> Option<()> {
        let Some(map) = value.as_object() else { return self.put("<nil>") };
        let sorted: BTreeMap<&String, &Value> = map.iter().collect();
        self.put("map[")?;
        for (index, (key, value)) in sorted.into_iter().enumerate() {
            self.put(if index == 0 { "" } else { " " })?;
            self.put(key)?;
            self.put(":")?;
            item(self, value)?;
        }
        self.put("]")
    }

    fn scalar(&mut self, value: &Value, unset: &str) -> Option<()> {
        match value {
            Value::Null => self.put(unset),
            Value::String(text) => self.put(text),
            Value::Bool(_) | Value::Number(_) => self.put(&value.to_string()),
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn int_or_string(&mut self, value: &Value) -> Option<()> {
        let (kind, number, text) = match value {
            Value::Null => (0, 0, ""),
            Value::Number(number) => (0, number.as_i64()?, ""),
            Value::String(text) => (1, 0, text.as_str()),
            _ => return None,
        };
        write!(self.text, "{{Type:(intstr.Type){kind} IntVal:(int32){number} StrVal:(string){text}}}").ok()
    }

    fn quantity(&mut self, value: &Value, rounding: Rounding) -> Option<()> {
        let quantity = match value {
            Value::Null => GoQuantity::UNSET,
            text => GoQuantity::parse(text.as_str()?.trim(), rounding)?,
        };
        write!(self.text, "{quantity}").ok()
    }

    fn put(&mut self, text: &str) -> Option<()> {
        self.text.push_str(text);
        Some(())
    }
}
