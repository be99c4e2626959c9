//! How the text of a flag becomes a value: the syntaxes of pflag and of Kubernetes' own flag types.
//!
//! Each function sets its target or says what the text should have been. Lists and maps are replaced by a
//! flag's first occurrence ([`Turn::First`]) and added to by the next ones.

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use crate::duration::GoDuration;
use crate::kubelet_configuration::{MemoryReservation, QuantityText, Taint, VmoduleItem};
use crate::validate::names::{hugepages_or_memory, label_value, qualified_name};

/// Which occurrence of a flag is being applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The first: what was there before gives way.
    First,
    /// A later one.
    Again,
}

pub(crate) type Outcome = Result<(), String>;

pub(crate) fn text(target: &mut String, value: &str) -> Outcome {
    value.clone_into(target);
    Ok(())
}

pub(crate) fn path(target: &mut PathBuf, value: &str) -> Outcome {
    *target = PathBuf::from(value);
    Ok(())
}

pub(crate) fn optional_path(target: &mut Option<PathBuf>, value: &str) -> Outcome {
    *target = (!value.is_empty()).then(|| PathBuf::from(value));
    Ok(())
}

/// Go's `strconv.ParseBool`.
pub(crate) fn parse_bool(value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

pub(crate) fn switch(target: &mut bool, value: &str) -> Outcome {
    *target = parse_bool(value)?;
    Ok(())
}

/// A whole number as Go's `ParseInt(s, 0, ...)` reads it, in the target's range.
pub(crate) fn number<T: TryFrom<i64>>(target: &mut T, value: &str) -> Outcome {
    let wrong = || "expected a whole number in range".to_owned();
    let (negative, digits) = match value.as_bytes().first() {
        Some(b'-') => (true, &value[1..]),
        Some(b'+') => (false, &value[1..]),
        _ => (false, value),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(wrong());
    }
    let magnitude = i128::from_str_radix(digits, radix).map_err(|_| wrong())?;
    let signed = i64::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| wrong())?;
    *target = T::try_from(signed).map_err(|_| wrong())?;
    Ok(())
}

pub(crate) fn verbosity(target: &mut u32, value: &str) -> Outcome {
    let mut level = 0i32;
    number(&mut level, value)?;
    *target = u32::try_from(level).map_err(|_| "expected a number from 0 up".to_owned())?;
    Ok(())
}

pub(crate) fn duration(target: &mut GoDuration, value: &str) -> Outcome {
    *target = GoDuration::from_str(value).map_err(|error| error.to_string())?;
    Ok(())
}

pub(crate) fn quantity(target: &mut QuantityText, value: &str) -> Outcome {
    *target = QuantityText::new(value)?;
    Ok(())
}

/// An address for the configuration, kept as text; an empty one changes nothing.
pub(crate) fn ip(target: &mut String, value: &str) -> Outcome {
    if value.is_empty() {
        return Ok(());
    }
    IpAddr::from_str(value).map_err(|_| "expected an IP address".to_owned())?;
    text(target, value)
}

pub(crate) fn node_ips(target: &mut Vec<IpAddr>, value: &str) -> Outcome {
    let parse = |part: &str| {
        IpAddr::from_str(part.trim())
            .map_err(|_| "expected an IP address, or one IPv4 and one IPv6".to_owned())
    };
    *target =
        if value.is_empty() { Vec::new() } else { value.split(',').map(parse).collect::<Result<_, _>>()? };
    Ok(())
}

/// A comma-separated list; quotes as in CSV keep commas together.
pub(crate) fn list(target: &mut Vec<String>, value: &str, turn: Turn) -> Outcome {
    let items = split_csv(value)?;
    if turn == Turn::First {
        target.clear();
    }
    target.extend(items);
    Ok(())
}

fn split_csv(value: &str) -> Result<Vec<String>, String> {
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let (mut items, mut item, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => item.extend(chars.next()),
            '"' if quoted || item.is_empty() => quoted = !quoted,
            '"' => return Err("expected quotes around a whole list item".to_owned()),
            ',' if !quoted => items.push(std::mem::take(&mut item)),
            c => item.push(c),
        }
    }
    if quoted {
        return Err("expected a closing quote".to_owned());
    }
    items.push(item);
    Ok(items)
}

/// The pairs of `a=1,b=2` with `separator` for `=`.
fn pairs(value: &str, separator: char) -> Result<Vec<(String, String)>, String> {
    value.split(',').filter(|pair| !pair.is_empty()).map(|text| pair(text, separator)).collect()
}

fn pair(text: &str, separator: char) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once(separator).ok_or_else(|| format!("expected key{separator}value, got {text:?}"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

pub(crate) fn map(target: &mut BTreeMap<String, String>, value: &str, turn: Turn) -> Outcome {
    let pairs = pairs(value, '=')?;
    if turn == Turn::First {
        target.clear();
    }
    target.extend(pairs);
    Ok(())
}

/// A map flag that holds one pair for each occurrence, commas and all.
pub(crate) fn map_entry(target: &mut BTreeMap<String, String>, value: &str, turn: Turn) -> Outcome {
    let (key, value) = pair(value, '=')?;
    if turn == Turn::First {
        target.clear();
    }
    target.insert(key, value);
    Ok(())
}

/// `signal<quantity` pairs.
pub(crate) fn thresholds(target: &mut BTreeMap<String, String>, value: &str, turn: Turn) -> Outcome {
    let pairs = pairs(value, '<')?;
    if turn == Turn::First {
        target.clear();
    }
    target.extend(pairs);
    Ok(())
}

pub(crate) fn gates(target: &mut BTreeMap<String, bool>, value: &str, turn: Turn) -> Outcome {
    let mut switches = Vec::new();
    for (name, value) in pairs(value, '=')? {
        let on = parse_bool(&value).map_err(|error| format!("{name}: {error}, got {value:?}"))?;
        switches.push((name, on));
    }
    if turn == Turn::First {
        target.clear();
    }
    target.extend(switches);
    Ok(())
}

/// HTTP headers as `name:value,name:value`. The value may be a secret, so no error repeats it.
pub(crate) fn headers(target: &mut BTreeMap<String, Vec<String>>, value: &str, turn: Turn) -> Outcome {
    let pairs = pairs(value, ':').map_err(|_| "expected name:value pairs".to_owned())?;
    if turn == Turn::First {
        target.clear();
    }
    for (name, value) in pairs {
        target.entry(name).or_default().push(value);
    }
    Ok(())
}

/// `pattern=level` pairs.
pub(crate) fn vmodule(target: &mut Vec<VmoduleItem>, value: &str, turn: Turn) -> Outcome {
    let mut items = Vec::new();
    for (file_pattern, level) in pairs(value, '=')? {
        let mut item = VmoduleItem { file_pattern, verbosity: 0 };
        verbosity(&mut item.verbosity, &level)?;
        items.push(item);
    }
    if turn == Turn::First {
        target.clear();
    }
    target.extend(items);
    Ok(())
}

/// `key=value:Effect` or `key:Effect`, comma-separated; each occurrence replaces the last.
pub(crate) fn taints(target: &mut Vec<Taint>, value: &str) -> Outcome {
    let mut taints: Vec<Taint> = Vec::new();
    for spec in value.split(',').filter(|_| !value.is_empty()) {
        let taint = taint(spec)?;
        if taints.iter().any(|other| other.key == taint.key && other.effect == taint.effect) {
            return Err(format!("taint {}:{} is given twice", taint.key, taint.effect));
        }
        taints.push(taint);
    }
    *target = taints;
    Ok(())
}

fn taint(spec: &str) -> Result<Taint, String> {
    let (name, effect) =
        spec.split_once(':').ok_or_else(|| format!("expected key=value:Effect, got {spec:?}"))?;
    let (key, value) = name.split_once('=').unwrap_or((name, ""));
    qualified_name(key).map_err(|error| format!("taint {spec:?}: {error}"))?;
    label_value(value).map_err(|error| format!("taint {spec:?}: {error}"))?;
    if !matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
        return Err(format!("taint {spec:?}: expected the effect NoSchedule, PreferNoSchedule or NoExecute"));
    }
    Ok(Taint { key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned(), time_added: None })
}

/// `node:type=quantity,type=quantity;node:...`.
pub(crate) fn reserved_memory(target: &mut Vec<MemoryReservation>, value: &str, turn: Turn) -> Outcome {
    let mut reservations = Vec::new();
    for part in value.split(';').filter(|_| !value.is_empty()) {
        reservations.push(reservation(part)?);
    }
    if turn == Turn::First {
        target.clear();
    }
    target.extend(reservations);
    Ok(())
}

fn reservation(part: &str) -> Result<MemoryReservation, String> {
    let wrong = || format!("expected node:type=quantity[,type=quantity...], got {part:?}");
    let (node, limits) = part.split_once(':').ok_or_else(wrong)?;
    let mut reservation = MemoryReservation { numa_node: 0, limits: BTreeMap::new() };
    number(&mut reservation.numa_node, node).map_err(|_| wrong())?;
    for limit in limits.split(',') {
        let (kind, quantity) = limit.split_once('=').ok_or_else(wrong)?;
        if !hugepages_or_memory(kind) {
            return Err(format!("expected memory or hugepages-<size>, got {kind:?}"));
        }
        reservation.limits.insert(kind.to_owned(), QuantityText::new(quantity)?);
    }
    Ok(reservation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_split_at_commas_outside_quotes() {
        let mut target = vec!["old".to_owned()];
        list(&mut target, "a,\"b,c\",\"d\"\"e\"", Turn::First).unwrap();
        list(&mut target, "f", Turn::Again).unwrap();
        assert_eq!(target, ["a", "b,c", "d\"e", "f"]);
        list(&mut target, "", Turn::First).unwrap();
        assert!(target.is_empty());
        for bad in ["a\"b", "\"a"] {
            assert!(list(&mut target, bad, Turn::First).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_have_gos_prefixes_and_the_targets_range() {
        for (value, want) in
            [("10", 10), ("-5", -5), ("0x10", 16), ("010", 8), ("0b11", 3), ("+7", 7), ("0", 0)]
        {
            let mut target = 99i32;
            number(&mut target, value).unwrap();
            assert_eq!(target, want, "{value}");
        }
        for bad in
            ["", "x", "1.5", "2147483648", "--1", "0x", "9é", "99999999999999999999999999999999999999999"]
        {
            assert!(number(&mut 0i32, bad).is_err(), "{bad}");
        }
        assert!(number(&mut 0u16, "70000").is_err());
    }

    #[test]
    fn maps_gather_over_occurrences() {
        let mut target = BTreeMap::from([("old".to_owned(), "1".to_owned())]);
        map(&mut target, "a=1, b = 2,,c=x=y", Turn::First).unwrap();
        map(&mut target, "a=3", Turn::Again).unwrap();
        let want = [("a", "3"), ("b", "2"), ("c", "x=y")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(target, BTreeMap::from(want));
        assert!(map(&mut target, "a", Turn::First).is_err());
        assert!(thresholds(&mut target, "memory.available<100Mi", Turn::First).is_ok());
        assert_eq!(target["memory.available"], "100Mi");
    }

    #[test]
    fn one_pair_flags_keep_commas() {
        let mut target = BTreeMap::new();
        map_entry(&mut target, "a=1,b=2", Turn::First).unwrap();
        assert_eq!(target["a"], "1,b=2");
    }

    #[test]
    fn headers_repeat_and_hide_their_values() {
        let mut target = BTreeMap::new();
        headers(&mut target, "A:1,A:2,B:x:y", Turn::First).unwrap();
        assert_eq!(
            (target["A"].as_slice(), target["B"][0].as_str()),
            (&["1".to_owned(), "2".to_owned()][..], "x:y")
        );
        assert!(!headers(&mut target, "secret", Turn::Again).unwrap_err().contains("secret"));
    }

    #[test]
    fn taints_are_checked() {
        let mut target = Vec::new();
        taints(&mut target, "example.com/a=b:NoSchedule,c:NoExecute").unwrap();
        assert_eq!((target[0].value.as_str(), target[1].key.as_str()), ("b", "c"));
        for bad in
            ["a", "a:Bad", ":NoSchedule", "a=b c:NoSchedule", "a:NoExecute,a=1:NoExecute", "a:NoExecute,"]
        {
            assert!(taints(&mut target, bad).is_err(), "{bad}");
        }
        taints(&mut target, "").unwrap();
        assert!(target.is_empty());
    }

    #[test]
    fn reserved_memory_is_read_by_node() {
        let mut target = Vec::new();
        reserved_memory(&mut target, "0:memory=1Gi,hugepages-1M=2Gi;1:memory=2Gi", Turn::First).unwrap();
        assert_eq!((target.len(), target[1].numa_node), (2, 1));
        assert_eq!(target[0].limits["hugepages-1M"].as_str(), "2Gi");
        for bad in ["0", "x:memory=1", "0:cpu=1", "0:memory", "0:memory=x", "0:memory=1;"] {
            assert!(reserved_memory(&mut target, bad, Turn::First).is_err(), "{bad}");
        }
    }
}
