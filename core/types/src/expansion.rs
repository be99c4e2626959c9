//! `$(NAME)` references in texts of a pod: values of variables, commands, arguments and sub paths (CONTRACT 3.19, 6.6).
//!
//! What a reference becomes is the caller's to say: in a command one to an unknown variable stays as it is, in a sub path
//! it is an error.

/// Replaces each `$(NAME)` by `value(NAME)`, from left to right and once: what comes in is not read again. `$$` is a plain
/// `$`, and anything else after a `$` stays as it is.
pub fn expand(text: &str, mut value: impl FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(escaped) = after.strip_prefix('$') {
            out.push('$');
            rest = escaped;
        } else if let Some((name, behind)) = after.strip_prefix('(').and_then(|body| body.split_once(')')) {
            out.push_str(&value(name));
            rest = behind;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Expands with these variables; a reference to any other one stays as it is.
    fn expand_with(text: &str, variables: &[(&str, &str)]) -> String {
        expand(text, |name| {
            let known = variables.iter().find(|(known, _)| *known == name);
            known.map_or_else(|| format!("$({name})"), |(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn references_expand_as_upstream_expands_them() {
        for (text, expanded) in [
            ("", ""),
            ("plain", "plain"),
            ("$(A)", "1"),
            ("x$(A)y$(B)z", "x1y$(A)z"),
            ("$(MISSING)", "$(MISSING)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$(A)", "$$(A)"),
            ("$", "$"),
            ("a$", "a$"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("$()", "$()"),
            ("$(A$(A)", "$(A$(A)"),
            ("$é$(A)", "$é1"),
            ("$$", "$"),
        ] {
            assert_eq!(expand_with(text, &[("A", "1"), ("B", "$(A)")]), expanded, "{text}");
        }
    }

    /// `testdata/expansion.tsv` holds upstream's answers for random texts, with these three variables.
    #[test]
    fn random_texts_expand_as_upstream_expands_them() {
        let lines: Vec<&str> = include_str!("../testdata/expansion.tsv").lines().collect();
        assert!(lines.len() > 300);
        for line in lines {
            let (text, expanded) = line.split_once('\t').unwrap();
            assert_eq!(expand_with(text, &[("A", "1"), ("B", "$(A)"), ("", "e")]), expanded, "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_without_references_stays(text in "[^$]{0,40}") {
            prop_assert_eq!(expand_with(&text, &[]), text);
        }

        #[test]
        fn expansion_never_panics(text in "[$()A-Cé]{0,40}") {
            let _ = expand_with(&text, &[]);
        }
    }
}
