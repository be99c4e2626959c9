//! Documents against Go's answers, and hostile input.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn read(text: &str) -> Result<Value, DecodeError> {
    decode(text.as_bytes(), Limits::default())
}

#[test]
fn documents_mean_what_go_makes_of_them() {
    for (text, want) in [
        ("", json!(null)),
        ("# only a comment\n", json!(null)),
        ("---\n", json!(null)),
        ("defaultMode: 0644", json!({"defaultMode": 420})),
        ("a: yes\nb: 'yes'\nc: \"on\"\nd: on", json!({"a": true, "b": "yes", "c": "on", "d": true})),
        ("a: 1e3\nb: 1.0", json!({"a": 1000, "b": 1})),
        ("on: 1\n2: b\n1.5: c\n\"3\": d", json!({"true": 1, "2": "b", "1.5": "c", "3": "d"})),
        ("a: 1\n---\na: 2\n", json!({"a": 1})),
        ("a: !!str 5\nb: !!int \"5\"\nc: !foo 5", json!({"a": "5", "b": 5, "c": "5"})),
        ("a: !!binary aGVsbG8=", json!({"a": "hello"})),
        ("a: |\n  x\n  y\nb: >-\n  x\n  y\n", json!({"a": "x\ny\n", "b": "x y"})),
        ("base: &b {x: 1, z: 2}\nuse: *b", json!({"base": {"x": 1, "z": 2}, "use": {"x": 1, "z": 2}})),
        ("a: &k key\n*k : 1", json!({"a": "key", "key": 1})),
        ("b: &b {x: 1}\nc:\n  <<: *b\n  z: 2", json!({"b": {"x": 1}, "c": {"x": 1, "z": 2}})),
        ("c:\n  x: 0\n  <<: [{x: 1}, {x: 2, z: 3}]", json!({"c": {"x": 1, "z": 3}})),
        (
            "{\"a\": [1, 2.5, \"\\u00e9\\ud83d\\ude00\\/\"],\n\t\"b\": null}",
            json!({"a": [1, 2.5, "é😀/"], "b": null}),
        ),
        ("\u{feff}a: 1", json!({"a": 1})),
        ("a:\t1", json!({"a": 1})),
        ("a:\r\n  b: 1\r\n", json!({"a": {"b": 1}})),
        ("a: |\n  x\n  \ty\n", json!({"a": "x\n\ty\n"})),
        ("- - 1\n  - 2\n- \n", json!([[1, 2], null])),
        ("t: 2020-01-01", json!({"t": "2020-01-01"})),
    ] {
        assert_eq!(read(text), Ok(want), "{text:?}");
    }
}

/// Recorded from Go: `sigs.k8s.io/yaml` v1.6.0 `YAMLToJSON` over short texts, its JSON or its error for
/// each.
#[test]
fn the_recorded_answers_of_go_are_ours() {
    /// Texts that we read and sigs.k8s.io/yaml refuses: JSON's own escapes and white space (upstream has
    /// another decoder for JSON), YAML 1.2, and a tab before a comment.
    const ONLY_WE_READ: &[&str] = &[
        "a: 1\n\t# c\nb: 2",
        "\t{\"a\": 1}",
        "a: \"\\x41\\u00e9\\n\\/\"",
        "%YAML 1.2\n---\na: 1",
        "a: \"\\ud83d\\ude00\"",
    ];
    /// Texts that Go reads and we refuse: a tab as white space within a flow collection of a block
    /// document.
    const ONLY_GO_READS: &[&str] = &["a: {\n\tb: 1\n}"];
    let recorded: Vec<Value> = serde_json::from_str(include_str!("../../testdata/go_yaml.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &recorded {
        let text = case["text"].as_str().unwrap();
        let got = read(text);
        let same = match (case.get("json"), &got) {
            (Some(want), Ok(got)) => same_numbers(want, got),
            (Some(_), Err(_)) => ONLY_GO_READS.contains(&text),
            (None, Ok(_)) => ONLY_WE_READ.contains(&text),
            (None, Err(_)) => true,
        };
        if !same {
            wrong.push(format!("{text:?}: Go {case}, we {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Equality that takes 1 and 1.0 for one number, as JSON does.
fn same_numbers(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same_numbers(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(key, x)| y.get(key).is_some_and(|y| same_numbers(x, y)))
        }
        (a, b) => a == b,
    }
}

#[test]
fn every_document_of_a_file_is_read() {
    let documents = decode_documents(b"a: 1\n---\n# nothing\n---\nb: 2\n...\n", Limits::default()).unwrap();
    let values: Vec<Value> = documents.iter().map(|d| d.value.clone()).collect();
    assert_eq!(values, [json!({"a": 1}), json!(null), json!({"b": 2})]);
    assert_eq!(documents[2].start.line, 5);
}

#[test]
fn errors_name_line_and_column() {
    for (text, want) in [
        ("a: 1\nb: [1, 2", "line 2, column"),
        ("a: \"unfinished", "line 1, column"),
        ("a:\n\tb: 1", "line 2, column"),
        ("a: b: c", "line 1, column"),
        ("a: 1\n\u{1}", "line 2, column 1: byte 0x01"),
        ("a: x\0y", "line 1, column 5: byte 0x00"),
        ("a: *missing", "line 1, column"),
        ("a: .nan", "line 1, column 4: NaN"),
        ("a: !!int x", "line 1, column"),
        ("? [1]\n: 2", "line 1, column 3: a map key"),
        ("~: 2", "line 1, column 1: a map key"),
        ("<<: 1", "line 1, column 1: \"<<\""),
        ("a: &x [*x]", "line 1, column 8: the anchor"),
        ("a: &x {k: *x}", "line 1, column 11: the anchor"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.to_string().starts_with(want), "{text:?}: {error}");
        assert!(error.position().is_some());
    }
    let error = decode(b"a: \xff\xfe", Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "line 1, column 4: not valid UTF-8: save the file as UTF-8 text");
}

#[test]
fn tabs_never_indent_a_block() {
    for text in ["\ta: 1", "a:\n\tb: 1", "a:\n  \tb: 1", "a:\n\t- 1", "a:\n- x\n-\ty: 1"] {
        assert!(read(text).is_err(), "{text:?}: {:?}", read(text));
    }
    for text in ["{\n\t\"a\": 1\n}", "a: 1\n\t# comment\nb: 2", "\t{\"a\": 1}"] {
        assert!(read(text).is_ok(), "{text:?}: {:?}", read(text));
    }
}

#[test]
fn a_key_given_twice_is_refused_or_listed() {
    let text = b"a: 1\nb: {c: 1, c: 2}\na: 3\n";
    let documents = decode_documents(text, Limits::default()).unwrap();
    assert_eq!(documents[0].value, json!({"a": 3, "b": {"c": 2}}));
    let keys: Vec<&str> = documents[0].duplicates.iter().map(|d| d.key.as_str()).collect();
    assert_eq!(keys, ["c", "a"]);
    let strict = Limits { duplicate_keys: DuplicateKeys::Refuse, ..Limits::default() };
    let error = decode(b"a: 1\na: 2", strict).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2, column 1: key \"a\" is already set in this map at line 1: keep one of the two"
    );
}

#[test]
fn a_hundred_megabytes_are_refused_unread() {
    let huge = vec![b'['; 100 << 20];
    let error = decode(&huge, Limits::default()).unwrap_err();
    assert_eq!(error, DecodeError::TooLarge { bytes: 100 << 20, limit: 10 << 20 });
    assert_eq!(error.position(), None);
}

#[test]
fn deep_nesting_is_refused() {
    for open in ["[", "{a: ", "- "] {
        let text = open.repeat(50_000);
        let error = read(&text).unwrap_err();
        assert!(error.position().is_some(), "{error}");
    }
    let level: String = (0..99).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(read(&level).is_ok());
    let fits = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert!(read(&fits).is_ok());
    let over = format!("{}{}", "[".repeat(101), "]".repeat(101));
    assert!(matches!(read(&over), Err(DecodeError::TooDeep { limit: 100, .. })));
}

#[test]
fn depth_counts_through_aliases() {
    let mut text = String::from("a0: &a0 [1]\n");
    for level in 1..=120 {
        text.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(matches!(read(&text), Err(DecodeError::TooDeep { .. })));
}

#[test]
fn aliases_cannot_blow_a_document_up() {
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..12 {
        let uses = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{uses}]\n"));
    }
    assert!(matches!(read(&laughs), Err(DecodeError::TooManyAliases { .. })));
    let long = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(1 << 20), "*a,".repeat(1000));
    assert!(matches!(read(&long), Err(DecodeError::TooManyAliases { .. })));
}

#[test]
fn a_document_cut_anywhere_reads_or_fails_cleanly() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: \"a\", labels: {x: y}}\n\
                spec:\n  containers:\n  - name: c\n    args: [\"a\", 'b']\n";
    for end in 0..text.len() {
        let _ = read(&text[..end]);
    }
    assert!(read(&text[..40]).is_err());
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_documents(&bytes, Limits::default());
        let _ = crate::locate(&bytes, 0, &crate::FieldPath::parse("a[0].b"), Limits::default());
    }

    #[test]
    fn yaml_like_text_never_panics(text in "[-a-c:,{}\\[\\]&*!|>'\"# \t\n0-9.<~?%@é]{0,80}") {
        let _ = decode_documents(text.as_bytes(), Limits::default());
        let _ = crate::locate(text.as_bytes(), 0, &crate::FieldPath::parse("a[0].b"), Limits::default());
    }

    #[test]
    fn what_json_prints_reads_back(words in proptest::collection::vec("\\PC{0,8}", 0..6), n in any::<i64>()) {
        let value = json!({"words": words, "n": n});
        prop_assert_eq!(decode(value.to_string().as_bytes(), Limits::default()), Ok(value));
    }
}
