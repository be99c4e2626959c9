//! Patterns of `vmodule`: the name of a source file without folder and suffix, or, when the pattern has a slash, its whole
//! path without suffix. `*` stands for any text, `?` for any one character.

/// Whether a pattern names the file.
pub(super) fn matches(pattern: &str, file: &str) -> bool {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let name = if pattern.contains('/') { path } else { path.rsplit('/').next().unwrap_or(path) };
    glob(pattern.as_bytes(), name.as_bytes())
}

/// Goes back only to the last `*`, so it takes at most the product of both lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_files() {
        let table = [
            ("pleg", "agent/src/pleg.rs", true),
            ("pleg", "agent/src/plegs.rs", false),
            ("pl*", "agent/src/pleg.rs", true),
            ("*e?", "agent/src/pleg.rs", true),
            ("*x*", "agent/src/pleg.rs", false),
            ("*", "agent/src/pleg.rs", true),
            ("agent/*/pleg", "agent/src/pleg.rs", true),
            ("src/pleg", "agent/src/pleg.rs", false),
            ("*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.rs", false),
        ];
        for (pattern, file, want) in table {
            assert_eq!(matches(pattern, file), want, "{pattern} {file}");
        }
    }
}
