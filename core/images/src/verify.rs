//! Which images a pod must show credentials for although they are present: `imagePullCredentialsVerificationPolicy`
//! (CONTRACT 1.5, 3.16).

use std::collections::BTreeSet;

use crate::reference::{ImageNameError, trimmed};

/// How an image came to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A kubelet pulled it.
    Pulled,
    /// Something else brought it.
    Preloaded,
}

/// The policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerificationPolicy {
    /// Every pod may use what is there.
    NeverVerify,
    /// Every pod may use what no kubelet pulled.
    NeverVerifyPreloadedImages,
    /// Every pod may use the images of a list.
    NeverVerifyAllowlistedImages(AllowList),
    /// Nothing may be used without proof.
    AlwaysVerify,
}

/// A pattern of the allow list that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowListError {
    /// Spaces around it.
    #[error("leading/trailing spaces are not allowed: {0}")]
    Spaces(String),
    /// Empty.
    #[error("the supplied pattern is too short: {0}")]
    TooShort(String),
    /// A `*` that is not the end of the path.
    #[error("not a valid wildcard pattern, only patterns ending with '/*' are allowed: {0}")]
    Wildcard(String),
    /// `/*`.
    #[error("at least registry hostname is required")]
    NoHost,
    /// No image name.
    #[error("failed to parse as an image name: {0}")]
    Name(#[source] ImageNameError),
    /// With a tag or a digest.
    #[error("neither tag nor digest is accepted in an image reference: {0}")]
    Tagged(String),
}

/// Images by name, and prefixes that end with a slash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    names: BTreeSet<String>,
    prefixes: Vec<String>,
}

impl AllowList {
    /// Reads `preloadedImagesVerificationAllowlist`.
    ///
    /// # Errors
    /// The first pattern that cannot be used.
    pub fn new(patterns: &[String]) -> Result<Self, AllowListError> {
        let mut list = Self::default();
        for pattern in patterns {
            list.add(pattern)?;
        }
        Ok(list)
    }

    fn add(&mut self, pattern: &str) -> Result<(), AllowListError> {
        if pattern != pattern.trim() {
            return Err(AllowListError::Spaces(pattern.to_owned()));
        }
        let prefix = pattern.strip_suffix('*').filter(|prefix| prefix.ends_with('/'));
        let text = prefix.unwrap_or(pattern);
        if text.is_empty() {
            return Err(AllowListError::TooShort(pattern.to_owned()));
        }
        if text.contains('*') {
            return Err(AllowListError::Wildcard(pattern.to_owned()));
        }
        match prefix {
            Some("/") => return Err(AllowListError::NoHost),
            Some(prefix) => self.prefixes.push(prefix.to_owned()),
            None if trimmed(text).map_err(AllowListError::Name)? != text => {
                return Err(AllowListError::Tagged(pattern.to_owned()));
            }
            None => {
                self.names.insert(text.to_owned());
            }
        }
        Ok(())
    }

    /// True for an image, as the pod writes it, that the list names.
    pub fn contains(&self, image: &str) -> bool {
        let name = trimmed(image).unwrap_or(image);
        self.names.contains(name) || self.prefixes.iter().any(|prefix| name.starts_with(prefix))
    }
}

impl VerificationPolicy {
    /// True when a pod must show credentials for an image that is there.
    pub fn demands_proof(&self, image: &str, origin: Origin) -> bool {
        match self {
            Self::NeverVerify => false,
            Self::NeverVerifyPreloadedImages => origin == Origin::Pulled,
            Self::NeverVerifyAllowlistedImages(list) => !list.contains(image),
            Self::AlwaysVerify => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(patterns: &[&str]) -> Result<AllowList, AllowListError> {
        AllowList::new(&patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn patterns_are_names_or_end_with_a_slash_and_a_star() {
        let known = list(&["r.io/a/b", "r.io/open/*", "busybox", "all.io/*"]).unwrap();
        for (image, is_known) in [
            ("r.io/a/b", true),
            ("r.io/a/b:1", true),
            ("r.io/a/b@sha256:7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa", true),
            ("r.io/a/bc", false),
            ("r.io/open/x/y:z", true),
            ("r.io/opener", false),
            ("busybox:1", true),
            ("docker.io/library/busybox:1", false),
            ("all.io/x", true),
            ("not a name", false),
        ] {
            assert_eq!(known.contains(image), is_known, "{image}");
        }
        for (pattern, error) in [
            (" a", "leading/trailing spaces are not allowed:  a"),
            ("", "the supplied pattern is too short: "),
            ("a/*/b", "not a valid wildcard pattern, only patterns ending with '/*' are allowed: a/*/b"),
            ("a*", "not a valid wildcard pattern, only patterns ending with '/*' are allowed: a*"),
            ("/*", "at least registry hostname is required"),
            ("a:1", "neither tag nor digest is accepted in an image reference: a:1"),
        ] {
            assert_eq!(list(&[pattern]).unwrap_err().to_string(), error);
        }
        assert!(matches!(list(&["a b"]), Err(AllowListError::Name(_))));
    }

    #[test]
    fn each_policy_asks_for_proof_in_its_own_cases() {
        let allow = VerificationPolicy::NeverVerifyAllowlistedImages(list(&["known"]).unwrap());
        for (policy, pulled, preloaded, known) in [
            (VerificationPolicy::NeverVerify, false, false, false),
            (VerificationPolicy::NeverVerifyPreloadedImages, true, false, true),
            (allow, true, true, false),
            (VerificationPolicy::AlwaysVerify, true, true, true),
        ] {
            assert_eq!(policy.demands_proof("other:1", Origin::Pulled), pulled, "{policy:?}");
            assert_eq!(policy.demands_proof("other:1", Origin::Preloaded), preloaded, "{policy:?}");
            assert_eq!(policy.demands_proof("known:1", Origin::Pulled), known, "{policy:?}");
        }
    }
}
