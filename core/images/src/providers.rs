//! Credential provider plugins (CONTRACT 3.16): what their configuration means, what they are asked, what their answers
//! mean, and how long an answer holds.

pub mod cache;
pub mod config;
pub mod protocol;

use std::collections::BTreeMap;

use crate::credential::ObjectName;

/// What of a pod's service account a plugin is told. `Debug` shows nothing of the token.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountFacts {
    /// The account.
    pub name: ObjectName,
    /// Annotations that the plugin's configuration names.
    pub annotations: BTreeMap<String, String>,
    /// A token for the plugin's audience.
    pub token: String,
}

impl std::fmt::Debug for AccountFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccountFacts({:?}, {:?}, token hidden)", self.name, self.annotations)
    }
}
