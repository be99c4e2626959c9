//! What an unquoted YAML word means: the rules of go-yaml v2 (YAML 1.1 with its exceptions), as JSON
//! values.
//!
//! Left out: base-60 numbers (go-yaml reads them as text too) and dates as anything but text.

use serde_json::{Number, Value};

/// A tag that says how a scalar is to be read; custom tags make it text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScalarTag {
    /// No tag on a plain scalar: decided by its text.
    Implicit,
    /// `!!str`, a custom tag, or quotes without a tag.
    Text,
    /// `!!bool`.
    Bool,
    /// `!!int`.
    Int,
    /// `!!float`.
    Float,
    /// `!!null`.
    Null,
    /// `!!binary`: base64 text.
    Binary,
}

impl ScalarTag {
    /// The tag for a name of YAML's own namespace (`int` of `!!int`).
    pub(crate) fn of_core_name(name: &str) -> ScalarTag {
        match name {
            "bool" => ScalarTag::Bool,
            "int" => ScalarTag::Int,
            "float" => ScalarTag::Float,
            "null" => ScalarTag::Null,
            "binary" => ScalarTag::Binary,
            _ => ScalarTag::Text,
        }
    }
}

/// A scalar with its YAML type still visible, as map keys need it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Int(Number),
    Float(f64),
    Text(String),
}

impl Scalar {
    /// The JSON value; whole floats become integers, as Go's JSON printing makes them. `Err` for NaN and
    /// infinities.
    pub(crate) fn into_value(self) -> Result<Value, String> {
        Ok(match self {
            Scalar::Null => Value::Null,
            Scalar::Bool(value) => Value::Bool(value),
            Scalar::Int(number) => Value::Number(number),
            Scalar::Float(value) => Value::Number(whole(value)?),
            Scalar::Text(text) => Value::String(text),
        })
    }

    /// The text of a map key, `None` for null.
    pub(crate) fn into_key(self) -> Option<String> {
        match self {
            Scalar::Null => None,
            Scalar::Bool(value) => Some(value.to_string()),
            Scalar::Int(number) => Some(number.to_string()),
            Scalar::Float(value) => Some(float_key(value)),
            Scalar::Text(text) => Some(text),
        }
    }
}

fn whole(value: f64) -> Result<Number, String> {
    const I64_SPAN: std::ops::Range<f64> = -9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0;
    if value.fract() == 0.0 && I64_SPAN.contains(&value) {
        return Ok(Number::from(value as i64));
    }
    Number::from_f64(value).ok_or_else(|| format!("{value} is not a number that JSON can hold"))
}

/// A float as a key, printed as Go's `FormatFloat(f, 'g', -1, 32)` prints it.
fn float_key(value: f64) -> String {
    let value = value as f32;
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) => {
            format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
        }
        _ => value.to_string(),
    }
}

/// Reads one scalar's text under a tag. `Err` says what contradicts what.
pub(crate) fn resolve(tag: ScalarTag, text: &str) -> Result<Scalar, String> {
    match tag {
        ScalarTag::Text => return Ok(Scalar::Text(text.to_owned())),
        ScalarTag::Binary => return decode_base64(text).map(Scalar::Text),
        ScalarTag::Implicit | ScalarTag::Bool | ScalarTag::Int | ScalarTag::Float | ScalarTag::Null => {}
    }
    let resolved = resolve_implicit(text);
    match (tag, resolved) {
        (ScalarTag::Implicit, scalar)
        | (ScalarTag::Bool, scalar @ Scalar::Bool(_))
        | (ScalarTag::Int, scalar @ Scalar::Int(_))
        | (ScalarTag::Float, scalar @ (Scalar::Float(_) | Scalar::Int(_)))
        | (ScalarTag::Null, scalar @ Scalar::Null) => Ok(scalar),
        (tag, _) => Err(format!("{text:?} cannot be read as !!{}", format!("{tag:?}").to_ascii_lowercase())),
    }
}

fn resolve_implicit(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Scalar::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let plain = match text.as_bytes()[0] {
        b'.' => text.to_owned(),
        b'0'..=b'9' | b'+' | b'-' => {
            let plain = text.replace('_', "");
            if let Some(number) = integer(&plain) {
                return Scalar::Int(number);
            }
            plain
        }
        _ => return Scalar::Text(text.to_owned()),
    };
    match plain.parse::<f64>() {
        Ok(value) if value.is_finite() && is_float_text(&plain) => Scalar::Float(value),
        _ => Scalar::Text(text.to_owned()),
    }
}

/// Go's `ParseInt(text, 0, 64)`, then `ParseUint`: a sign, then decimal, `0x`, `0o`, `0b` or a legacy
/// octal `0`.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(hex) = lower.strip_prefix("0x") {
        (16, hex)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (8, octal)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (2, binary)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        return i64::try_from(-i128::from(magnitude)).ok().map(Number::from);
    }
    if text.starts_with('+') && i64::try_from(magnitude).is_err() {
        return None;
    }
    Some(Number::from(magnitude))
}

/// go-yaml's `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`.
fn is_float_text(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some((before, after)) => digits(before) && digits(after) && !(before.is_empty() && after.is_empty()),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    mantissa_ok
        && exponent.is_none_or(|e| {
            let e = e.strip_prefix(['-', '+']).unwrap_or(e);
            !e.is_empty() && digits(e)
        })
}

/// Standard base64 with padding, line breaks ignored; the bytes must be UTF-8, since JSON holds text only.
fn decode_base64(text: &str) -> Result<String, String> {
    let bad = || "!!binary value is not valid base64".to_owned();
    let clean: Vec<u8> = text.bytes().filter(|b| !matches!(b, b'\n' | b'\r')).collect();
    if !clean.len().is_multiple_of(4) {
        return Err(bad());
    }
    let padding = clean.iter().rev().take_while(|&&b| b == b'=').count();
    if padding > 2 {
        return Err(bad());
    }
    let body = &clean[..clean.len() - padding];
    let mut bytes = Vec::with_capacity(clean.len() / 4 * 3);
    let (mut window, mut bits) = (0u32, 0u32);
    for &b in body {
        let six = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(bad()),
        };
        window = (window << 6) | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((window >> bits) as u8);
            window &= (1 << bits) - 1;
        }
    }
    String::from_utf8(bytes).map_err(|_| "!!binary value is not UTF-8 text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_mean_what_go_yaml_v2_makes_of_them() {
        for (text, want) in [
            ("0644", json!(420)),
            ("0o644", json!(420)),
            ("0x1F", json!(31)),
            ("0b101", json!(5)),
            ("-0b11", json!(-3)),
            ("089", json!(89)),
            ("1_000", json!(1000)),
            ("+5", json!(5)),
            ("-0", json!(0)),
            ("1e3", json!(1000)),
            ("1.0", json!(1)),
            ("1.50", json!(1.5)),
            (".5", json!(0.5)),
            ("5.", json!(5)),
            ("18446744073709551615", json!(18446744073709551615u64)),
            ("yes", json!(true)),
            ("On", json!(true)),
            ("y", json!(true)),
            ("n", json!(false)),
            ("off", json!(false)),
            ("yEs", json!("yEs")),
            ("~", json!(null)),
            ("", json!(null)),
            ("1e999", json!("1e999")),
            ("1:30", json!("1:30")),
            ("2001-01-01", json!("2001-01-01")),
            ("1.2.3", json!("1.2.3")),
            ("-", json!("-")),
            ("+", json!("+")),
            (".", json!(".")),
            ("0x", json!("0x")),
            ("1e", json!("1e")),
            ("100m", json!("100m")),
            ("infinity", json!("infinity")),
        ] {
            let got = resolve(ScalarTag::Implicit, text).unwrap().into_value().unwrap();
            assert_eq!(got, want, "{text:?}");
        }
    }

    #[test]
    fn a_tag_must_fit_its_text() {
        assert_eq!(resolve(ScalarTag::Float, "3"), Ok(Scalar::Int(Number::from(3))));
        assert!(resolve(ScalarTag::Int, "abc").is_err());
        assert!(resolve(ScalarTag::Bool, "1").is_err());
        assert_eq!(resolve(ScalarTag::Binary, "aGVs\nbG8="), Ok(Scalar::Text("hello".to_owned())));
        assert!(resolve(ScalarTag::Binary, "a").is_err());
    }

    #[test]
    fn nan_and_infinity_have_no_json() {
        for text in [".nan", ".inf", "-.inf"] {
            assert!(resolve(ScalarTag::Implicit, text).unwrap().into_value().is_err());
        }
    }

    #[test]
    fn float_keys_print_as_go_prints_them() {
        for (value, want) in [
            (1.5, "1.5"),
            (1e3, "1000"),
            (1e21, "1e+21"),
            (1234567.0, "1.234567e+06"),
            (1e-5, "1e-05"),
            (0.25, "0.25"),
        ] {
            assert_eq!(float_key(value), want);
        }
    }
}
