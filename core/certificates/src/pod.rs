//! Certificates of pods (CONTRACT 6.12): what a projected volume asks for, and the machine that says when to ask, when to look
//! whether somebody has signed, and what is shown meanwhile.
//!
//! ```text
//! asked --- issued ---> shown --- time to refresh ---> shown, and asked again --- issued ---> shown
//!   |                                                        |
//!   +--- denied, failed ---> over for good <-----------------+
//! ```
//! A request that somebody deletes is made again. Reads nothing; times and chance are arguments.

use std::collections::BTreeMap;
use std::time::Duration;

use core_types::{PodKey, PodUid, Secret, WallTime};

/// Certificates are refreshed later by a random part of this, so that those of one signer do not come due at once.
pub const MAX_JITTER: Duration = Duration::from_secs(5 * 60);
/// A refresh that takes longer than this is told; upstream's value.
const OVERDUE: Duration = Duration::from_secs(10 * 60);
/// Shortest and longest pause between two looks at a request. Most are signed at once, some wait for a person.
const LOOK_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Which key a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyType {
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
    /// ECDSA on the curve P-256.
    EcdsaP256,
    /// ECDSA on the curve P-384.
    EcdsaP384,
    /// ECDSA on the curve P-521.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
}

impl KeyType {
    /// By its name in the API.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "RSA3072" => Self::Rsa3072,
            "RSA4096" => Self::Rsa4096,
            "ECDSAP256" => Self::EcdsaP256,
            "ECDSAP384" => Self::EcdsaP384,
            "ECDSAP521" => Self::EcdsaP521,
            "ED25519" => Self::Ed25519,
            _ => return None,
        })
    }
}

/// What a volume asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodCertificateAsk {
    /// The pod.
    pub pod: PodKey,
    /// Its UID.
    pub pod_uid: PodUid,
    /// The volume.
    pub volume: String,
    /// Place among the volume's sources.
    pub source_index: usize,
    /// Service account of the pod.
    pub service_account: String,
    /// Who is to sign.
    pub signer: String,
    /// Name of the type of the key.
    pub key_type: String,
    /// Longest life in seconds; the API server has a default.
    pub max_expiration_secs: Option<i32>,
    /// What the pod's author tells the signer.
    pub annotations: BTreeMap<String, String>,
}

/// A certificate with its key, as a volume shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodBundle {
    /// The private key, PEM.
    pub key_pem: Secret<Vec<u8>>,
    /// The certificate, then those that lead to its authority, PEM.
    pub chain_pem: Vec<u8>,
}

/// What has become of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestState {
    /// Nobody has decided.
    Pending,
    /// It is signed.
    Issued {
        /// Certificates as the signer gave them, PEM.
        chain_pem: String,
        /// When to ask for the next one.
        begin_refresh_at: WallTime,
        /// End of its life.
        not_after: WallTime,
    },
    /// The signer does not want to.
    Denied {
        /// CamelCase reason.
        reason: String,
        /// Words of the signer.
        message: String,
    },
    /// The signer could not.
    Failed {
        /// CamelCase reason.
        reason: String,
        /// Words of the signer.
        message: String,
    },
}

/// Why there is nothing to show; the words are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBundle {
    /// Nothing was issued yet.
    #[error("credential bundle is not issued yet")]
    NotYet,
    /// It cannot be asked for now.
    #[error("{0}")]
    Unavailable(String),
    /// The signer does not want to, for good.
    #[error("PodCertificateRequest was permanently denied: reason={reason:?} message={message:?}")]
    Denied {
        /// CamelCase reason.
        reason: String,
        /// Words of the signer.
        message: String,
    },
    /// The signer could not, for good.
    #[error("PodCertificateRequest was permanently failed: reason={reason:?} message={message:?}")]
    Failed {
        /// CamelCase reason.
        reason: String,
        /// Words of the signer.
        message: String,
    },
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Make a key and ask for a certificate.
    Ask,
    /// Look at the request of this name.
    Look(String),
    /// Nothing.
    Rest,
}

/// What is told of a certificate, as a Warning of its pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateNews {
    /// CamelCase reason.
    pub reason: &'static str,
    /// Sentence for people.
    pub message: String,
}

#[derive(Clone, Debug)]
struct Asked {
    name: String,
    key_pem: Secret<Vec<u8>>,
    at: WallTime,
}

#[derive(Clone, Debug)]
struct Issued {
    bundle: PodBundle,
    refresh_at: WallTime,
    not_after: WallTime,
    overdue_told: bool,
    expiry_told: bool,
}

/// The machine of one certificate.
#[derive(Clone, Debug, Default)]
pub struct PodCertificate {
    issued: Option<Issued>,
    asked: Option<Asked>,
    over: Option<NoBundle>,
}

impl PodCertificate {
    /// What to do now.
    pub fn next(&self, now: WallTime) -> Next {
        match (&self.over, &self.asked, &self.issued) {
            (Some(_), ..) => Next::Rest,
            (None, Some(asked), _) => Next::Look(asked.name.clone()),
            (None, None, Some(issued)) if now < issued.refresh_at => Next::Rest,
            (None, None, _) => Next::Ask,
        }
    }

    /// A request was made.
    pub fn asked(&mut self, name: String, key_pem: Secret<Vec<u8>>, now: WallTime) {
        self.asked = Some(Asked { name, key_pem, at: now });
    }

    /// The request was looked at; `None` when it does not exist any more. `jitter` is a random time up to [`MAX_JITTER`].
    pub fn seen(&mut self, state: Option<RequestState>, jitter: Duration) -> Option<CertificateNews> {
        let asked = self.asked.take()?;
        let over = |what: &str, reason: &str, message: &str| {
            format!("PodCertificateRequest {} {what}, reason={reason:?}, message={message:?}", asked.name)
        };
        match state {
            None => None,
            Some(RequestState::Pending) => {
                self.asked = Some(asked);
                None
            }
            Some(RequestState::Issued { chain_pem, begin_refresh_at, not_after }) => {
                let bundle = PodBundle { key_pem: asked.key_pem, chain_pem: certificates_only(&chain_pem) };
                let refresh_at = begin_refresh_at + jitter;
                self.issued =
                    Some(Issued { bundle, refresh_at, not_after, overdue_told: false, expiry_told: false });
                None
            }
            Some(RequestState::Denied { reason, message }) => {
                let news =
                    CertificateNews { reason: "Denied", message: over("was denied", &reason, &message) };
                self.over = Some(NoBundle::Denied { reason, message });
                Some(news)
            }
            Some(RequestState::Failed { reason, message }) => {
                let news = CertificateNews { reason: "Failed", message: over("failed", &reason, &message) };
                self.over = Some(NoBundle::Failed { reason, message });
                Some(news)
            }
        }
    }

    /// What is to be told of a refresh that does not come, once each.
    pub fn overdue(&mut self, now: WallTime) -> Vec<CertificateNews> {
        let Some(issued) = self.issued.as_mut().filter(|_| self.over.is_none()) else { return Vec::new() };
        let mut news = Vec::new();
        if now > issued.refresh_at + OVERDUE && !std::mem::replace(&mut issued.overdue_told, true) {
            let message = "PodCertificate refresh overdue".to_owned();
            news.push(CertificateNews { reason: "CertificateOverdueForRefresh", message });
        }
        if now > issued.not_after && !std::mem::replace(&mut issued.expiry_told, true) {
            let message = "PodCertificate expired".to_owned();
            news.push(CertificateNews { reason: "CertificateExpired", message });
        }
        news
    }

    /// What is shown.
    ///
    /// # Errors
    /// See [`NoBundle`].
    pub fn bundle(&self) -> Result<PodBundle, NoBundle> {
        match (&self.over, &self.issued) {
            (Some(over), _) => Err(over.clone()),
            (None, Some(issued)) => Ok(issued.bundle.clone()),
            (None, None) => Err(NoBundle::NotYet),
        }
    }

    /// When to look again; `None` for never.
    pub fn again_at(&self, now: WallTime) -> Option<WallTime> {
        match (&self.over, &self.asked, &self.issued) {
            (Some(_), ..) => None,
            // The longer nobody decides, the less often.
            (None, Some(asked), _) => Some(now + (now.since(asked.at) / 2).clamp(LOOK_PAUSE.0, LOOK_PAUSE.1)),
            (None, None, Some(issued)) => Some(issued.refresh_at.max(now + LOOK_PAUSE.0)),
            (None, None, None) => Some(now + LOOK_PAUSE.1),
        }
    }
}

/// The certificates of a chain, without what a signer may have written between them.
fn certificates_only(chain: &str) -> Vec<u8> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let blocks = chain.split(BEGIN).skip(1).filter_map(|rest| Some(rest.split_once(END)?.0));
    blocks.map(|body| format!("{BEGIN}{body}{END}\n")).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> WallTime {
        WallTime::from_unix_secs(secs)
    }

    fn key(text: &str) -> Secret<Vec<u8>> {
        Secret::new(text.as_bytes().to_vec())
    }

    fn issued(body: &str, refresh: i64, end: i64) -> Option<RequestState> {
        let chain_pem = format!("note\n-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        Some(RequestState::Issued { chain_pem, begin_refresh_at: at(refresh), not_after: at(end) })
    }

    #[test]
    fn a_certificate_is_asked_for_shown_and_refreshed_with_a_new_key() {
        let mut one = PodCertificate::default();
        assert_eq!((one.next(at(0)), one.bundle()), (Next::Ask, Err(NoBundle::NotYet)));
        one.asked("req-1".to_owned(), key("k1"), at(0));
        assert_eq!(one.next(at(1)), Next::Look("req-1".to_owned()));
        assert_eq!(one.seen(Some(RequestState::Pending), Duration::ZERO), None);
        assert_eq!((one.again_at(at(1)), one.again_at(at(40))), (Some(at(2)), Some(at(60))));
        assert_eq!(one.again_at(at(4000)), Some(at(4060)));
        one.seen(issued("AAAA", 100, 200), Duration::from_secs(7));
        let first = one.bundle().unwrap();
        assert_eq!(first.chain_pem, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert_eq!((one.next(at(106)), one.again_at(at(50))), (Next::Rest, Some(at(107))));
        // The old one is shown until the new one is there.
        assert_eq!(one.next(at(107)), Next::Ask);
        one.asked("req-2".to_owned(), key("k2"), at(107));
        assert_eq!(one.bundle(), Ok(first));
        one.seen(issued("BBBB", 300, 400), Duration::ZERO);
        assert_eq!(one.bundle().unwrap().key_pem, key("k2"));
    }

    #[test]
    fn a_deleted_request_is_made_again_and_a_refusal_is_for_good() {
        let mut one = PodCertificate::default();
        one.asked("req-1".to_owned(), key("k"), at(0));
        assert_eq!(one.seen(None, Duration::ZERO), None);
        assert_eq!(one.next(at(1)), Next::Ask);
        one.asked("req-2".to_owned(), key("k"), at(1));
        let (reason, message) = ("UnsupportedKeyType".to_owned(), "no".to_owned());
        let news = one.seen(Some(RequestState::Denied { reason, message }), Duration::ZERO).unwrap();
        assert_eq!(
            (news.reason, news.message.as_str()),
            (
                "Denied",
                r#"PodCertificateRequest req-2 was denied, reason="UnsupportedKeyType", message="no""#
            )
        );
        assert_eq!((one.next(at(2)), one.again_at(at(2))), (Next::Rest, None));
        assert_eq!(
            one.bundle().unwrap_err().to_string(),
            r#"PodCertificateRequest was permanently denied: reason="UnsupportedKeyType" message="no""#
        );
    }

    #[test]
    fn a_refresh_that_does_not_come_is_told_once() {
        let mut one = PodCertificate::default();
        one.asked("req-1".to_owned(), key("k"), at(0));
        one.seen(issued("AAAA", 100, 1000), Duration::ZERO);
        assert_eq!(one.overdue(at(700)), []);
        let reasons = |news: Vec<CertificateNews>| news.into_iter().map(|one| one.reason).collect::<Vec<_>>();
        assert_eq!(reasons(one.overdue(at(701))), ["CertificateOverdueForRefresh"]);
        assert_eq!(reasons(one.overdue(at(1001))), ["CertificateExpired"]);
        assert_eq!(one.overdue(at(2000)), []);
    }
}
