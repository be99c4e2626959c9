//! Writes a JSON value as YAML in block style. Text that could be read as something else is quoted as JSON quotes it,
//! which YAML reads the same.

use serde_json::Value;

/// The value as a YAML document.
pub(crate) fn to_string(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(_) | Value::Array(_) if !is_empty(value) => block(value, 0, &mut out),
        _ => out.push_str(&inline(value)),
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn block(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                out.push_str(&format!("{indent}{}:", text(key)));
                after_colon(field, depth, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                if is_empty(item) || !(item.is_object() || item.is_array()) {
                    out.push_str(&format!("{indent}- {}\n", inline(item)));
                    continue;
                }
                let mut inner = String::new();
                block(item, depth + 1, &mut inner);
                // The first line of the item stands behind its dash.
                out.push_str(&format!("{indent}- {}", inner.trim_start_matches(' ')));
            }
        }
        other => out.push_str(&format!("{indent}{}\n", inline(other))),
    }
}

fn after_colon(value: &Value, depth: usize, out: &mut String) {
    if is_empty(value) || !(value.is_object() || value.is_array()) {
        out.push_str(&format!(" {}\n", inline(value)));
        return;
    }
    out.push('\n');
    // Items of a list stand under their key without indentation, as kubectl writes them.
    block(value, if value.is_array() { depth } else { depth + 1 }, out);
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        other => other.to_string(),
    }
}

fn text(string: &str) -> String {
    if is_plain(string) { string.to_owned() } else { Value::from(string).to_string() }
}

/// True for text that every YAML reader takes for that text: begins with a letter or `/`, has no character with a
/// meaning, and is no word for true, false or null.
fn is_plain(string: &str) -> bool {
    const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan"];
    let begins_well = string.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ' ' | '+');
    begins_well
        && string.chars().all(harmless)
        && !string.ends_with(' ')
        && !WORDS.contains(&string.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_in_block_style() {
        let value = serde_json::json!({
            "a": { "list": [1, "x", { "k": "v", "l": [true, []] }, [2]], "none": null, "empty": {} },
            "text": ["yes", "1", "a: b", "", "two\nlines", "/path-1.x", "trailing "],
        });
        let want = "\
a:
  empty: {}
  list:
  - 1
  - x
  - k: v
    l:
    - true
    - []
  - - 2
  none: null
text:
- \"yes\"
- \"1\"
- \"a: b\"
- \"\"
- \"two\\nlines\"
- /path-1.x
- \"trailing \"
";
        assert_eq!(to_string(&value), want);
        assert_eq!(to_string(&serde_json::json!([])), "[]\n");
    }
}
