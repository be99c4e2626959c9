//! Tokens of service accounts for projected volumes: what is asked for, and when it is renewed (CONTRACT 6.11).

use std::time::Duration;

use core_types::{PodKey, PodUid, Secret, WallTime};

/// A token is renewed when this part of its life is left.
const LEFT_PERCENT: u32 = 20;
/// A token is renewed when it is older than this.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Tokens are renewed earlier by a random part of this, so that those of one node do not come due at once.
pub const MAX_JITTER: Duration = Duration::from_secs(10);

/// What a volume asks for: a token that is bound to the pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenAsk {
    /// The pod, in whose namespace the service account is.
    pub pod: PodKey,
    /// UID of the pod.
    pub pod_uid: PodUid,
    /// Service account.
    pub service_account: String,
    /// Who the token is for; empty for the API server.
    pub audiences: Vec<String>,
    /// Wanted life in seconds; the API server may give another.
    pub expiration_secs: i64,
}

/// A token as it was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedToken {
    /// The token.
    pub token: Secret<String>,
    /// End of its life.
    pub expires_at: WallTime,
    /// How long it lives from its beginning.
    pub lifetime: Duration,
}

impl IssuedToken {
    /// When it is to be renewed; `jitter` is a random time up to [`MAX_JITTER`].
    pub fn renew_at(&self, jitter: Duration) -> WallTime {
        let left = self.lifetime * LEFT_PERCENT / 100;
        self.expires_at - left.max(self.lifetime.saturating_sub(MAX_AGE)) - jitter
    }

    /// Whether it is of no use any more.
    pub fn is_expired(&self, now: WallTime) -> bool {
        now > self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_at_80_percent_of_its_life_or_after_a_day() {
        let issued = WallTime::from_unix_secs(1_000_000);
        let after = |lifetime_secs: u64, jitter_secs: u64| {
            let lifetime = Duration::from_secs(lifetime_secs);
            let token = IssuedToken { token: Secret::default(), expires_at: issued + lifetime, lifetime };
            assert!(!token.is_expired(issued + lifetime) && token.is_expired(issued + lifetime * 2));
            token.renew_at(Duration::from_secs(jitter_secs)).unix_secs() - issued.unix_secs()
        };
        let table = [
            ((3607, 0), 2886),
            ((600, 10), 470),
            // Upstream's extended tokens live for a year, and are renewed each day.
            ((365 * 86_400, 0), 86_400),
            ((30 * 3600, 7), 86_400 - 7),
            ((29 * 3600, 0), 29 * 3600 * 80 / 100),
        ];
        for ((lifetime, jitter), want) in table {
            assert!((after(lifetime, jitter) - want).abs() <= 1, "{lifetime} {jitter}");
        }
    }
}
