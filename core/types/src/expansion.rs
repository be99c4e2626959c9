//! `$(NAME)` references in texts of a pod: values of variables, commands, arguments and sub paths (CONTRACT 3.19, 6.6).
//!
//! What a reference becomes is the caller's to say: in a command one to an unknown variable stays as it is, in a sub path
//! it is an error. Variables may refer to variables, so a short manifest can stand for any length: what may come out
//! together is bounded by a [`Room`].

/// Most bytes that all arguments and variables of one process may have together: Linux takes no more than three quarters of
/// 8 MiB.
pub const MAX_ARGUMENT_BYTES: usize = 6 << 20;

/// What is left for expanded texts.
#[derive(Clone, Debug)]
pub struct Room {
    left_bytes: usize,
}

/// The expanded texts of one process are too long together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "with all references replaced, arguments or variables are longer than {MAX_ARGUMENT_BYTES} bytes, the most that Linux takes"
)]
pub struct TooLong;

impl Room {
    /// Room for the arguments and variables of one process.
    pub const fn of_process() -> Self {
        Self { left_bytes: MAX_ARGUMENT_BYTES }
    }

    /// Takes the room that a text needs.
    ///
    /// # Errors
    /// There is not enough.
    pub fn take(&mut self, text: &str) -> Result<(), TooLong> {
        self.left_bytes = self.left_bytes.checked_sub(text.len()).ok_or(TooLong)?;
        Ok(())
    }
}

/// Replaces each `$(NAME)` by `value(NAME)`, from left to right and once: what comes in is not read again. `$$` is a plain
/// `$`, and anything else after a `$` stays as it is.
///
/// # Errors
/// What comes out does not fit into the room.
pub fn expand(text: &str, room: &mut Room, mut value: impl FnMut(&str) -> String) -> Result<String, TooLong> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if out.len() > room.left_bytes {
            return Err(TooLong);
        }
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
    out.push_str(rest);
    room.take(&out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Expands with these variables; a reference to any other one stays as it is.
    fn expand_with(text: &str, variables: &[(&str, &str)]) -> String {
        expand(text, &mut Room::of_process(), |name| {
            let known = variables.iter().find(|(known, _)| *known == name);
            known.map_or_else(|| format!("$({name})"), |(_, value)| (*value).to_owned())
        })
        .unwrap()
    }

    #[test]
    fn what_comes_out_is_bounded() {
        let big = "x".repeat(1 << 20);
        let value = |_: &str| big.clone();
        let mut room = Room::of_process();
        assert_eq!(expand(&"$(A)".repeat(1_000_000), &mut room, value), Err(TooLong));
        for _ in 0..6 {
            assert_eq!(expand("$(A)", &mut room, value).map(|text| text.len()), Ok(1 << 20));
        }
        assert_eq!(expand("y", &mut room, value), Err(TooLong), "all of the room is used");
        assert_eq!(expand("", &mut room, value), Ok(String::new()));
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
