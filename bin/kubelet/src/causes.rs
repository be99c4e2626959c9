//! One line for an error and its causes.

use std::error::Error;
use std::fmt::Write;

/// The error and its causes, outermost first. A cause that the text before it ends with already is not said twice: some
/// errors have their cause in their own text.
pub(crate) fn text(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            let _ = write!(text, ": {said}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Sample {
        #[error("read {0}")]
        Apart(&'static str, #[source] std::io::Error),
        #[error("read {0}: {1}")]
        Within(&'static str, #[source] std::io::Error),
    }

    #[test]
    fn each_cause_is_said_once() {
        let cause = || std::io::Error::other("no room");
        assert_eq!(text(&Sample::Apart("a", cause())), "read a: no room");
        assert_eq!(text(&Sample::Within("a", cause())), "read a: no room");
    }
}
