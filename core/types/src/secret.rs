//! A value that must not be seen: a token, a key, the content of a Secret.
//!
//! Its `Debug` prints nothing of it and it has no `Display`, so that it cannot reach a log or an error by accident. Who
//! needs the value says so with [`Secret::expose`].

use std::fmt;

/// A value that must not be seen.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that must write or send it.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value, for who takes it over.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_printed() {
        let secret = Secret::new("token-1".to_owned());
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)), "Secret(..) Some(\n    Secret(..),\n)");
        assert_eq!(secret.expose(), "token-1");
        assert_eq!(secret.into_exposed(), "token-1");
    }
}
