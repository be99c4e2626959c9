//! Who may use which of the images that kubelets pulled (CONTRACT 3.16): a machine that owns intents and records.
//!
//! ```text
//! begin(image)  > intent on disk > pull > ended(image, what came) > record on disk, then the intent goes
//! check(image)  > allowed | pull again, which proves access | allowed if the pod's credentials are known
//! ```
//! An intent without a record means that a kubelet was killed between the two: the image counts as pulled by a kubelet, and
//! nobody has proof for it. Everything here errs to that side: what is not known for sure must be proved by a pull.
//!
//! Reads: files read once at the start. Writes: nothing; it says what is to be written.

use std::collections::{BTreeMap, BTreeSet};

use core_types::WallTime;
use core_types::runtime::Image;

use crate::credential::{Credential, CredentialSource, ObjectName};
use crate::records::{Access, PulledRecord, SecretProof, file_name};
use crate::reference::{ImageReference, trimmed};
use crate::verify::{Origin, VerificationPolicy};

/// Most secrets of one image that a mere use adds to a record, as upstream bounds it: namespaces come and go.
const MAX_SECRETS_BY_USE: usize = 100;

/// Most records that are kept. No node has this many images at a time; the one that changed longest ago goes first, and
/// pods must prove once more that they may use its image.
pub const MAX_RECORDS: usize = 10_000;

/// What is said of a pod that wants to use an image that is there, as upstream's metric counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The policy lets everybody.
    AllowedByPolicy,
    /// A record says that the pod may.
    AllowedByRecord,
    /// It must be pulled again.
    MustPull,
}

impl Verdict {
    /// The result as upstream's metric names it.
    pub const fn as_label(self) -> &'static str {
        match self {
            Self::AllowedByPolicy => "credentialPolicyAllowed",
            Self::AllowedByRecord => "credentialRecordFound",
            Self::MustPull => "mustAuthenticate",
        }
    }
}

/// The answer to a first question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// That is it.
    Decided(Verdict),
    /// It depends on the pod's credentials: find them and ask again.
    NeedsCredentials,
}

/// The book.
#[derive(Clone, Debug)]
pub struct PullBook {
    policy: VerificationPolicy,
    /// By the runtime's name of the image.
    records: BTreeMap<String, PulledRecord>,
    /// Images as pods write them, and how many pulls of each run now.
    intents: BTreeMap<String, u32>,
    /// Names of files that could not be used: what they said is not known.
    unreadable: BTreeSet<String>,
    listing: Listing,
}

/// Whether all files of an earlier life were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// They were.
    #[default]
    Complete,
    /// A directory could not be read: anything may have been pulled.
    Failed,
}

/// What an earlier life of a kubelet left on disk.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Images of intents.
    pub intents: Vec<String>,
    /// Records.
    pub records: Vec<PulledRecord>,
    /// Names of files that cannot be used.
    pub unreadable: BTreeSet<String>,
    /// Whether that is all.
    pub listing: Listing,
}

/// What came of a pull.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// What the runtime calls the image.
    pub image_ref: &'a str,
    /// Who may use it.
    pub access: &'a Access,
    /// Wall time.
    pub now: WallTime,
}

impl PullBook {
    /// A book of what was read from disk.
    pub fn new(policy: VerificationPolicy, found: Found) -> Self {
        let Found { intents, records, unreadable, listing } = found;
        Self {
            policy,
            records: records.into_iter().map(|record| (record.image_ref.clone(), record)).collect(),
            intents: intents.into_iter().map(|image| (image, 0)).collect(),
            unreadable,
            listing,
        }
    }

    /// Number of intents.
    pub fn intents(&self) -> usize {
        self.intents.len()
    }

    /// Number of records.
    pub fn records(&self) -> usize {
        self.records.len()
    }

    /// A pull begins. Its intent must be on disk before.
    pub fn begin(&mut self, image: &str) {
        *self.intents.entry(image.to_owned()).or_default() += 1;
    }

    /// A pull has ended, well or not. True when it was the last of its image and the intent is to be removed.
    pub fn ended(&mut self, image: &str) -> bool {
        let Some(running) = self.intents.get_mut(image) else { return false };
        *running = running.saturating_sub(1);
        let last = *running == 0;
        if last {
            self.intents.remove(image);
        }
        last
    }

    /// A pull has brought an image. Gives the record that is to be written, if it changed; the intent goes after that.
    pub fn pulled(&mut self, image: &str, arrival: Arrival<'_>) -> Option<PulledRecord> {
        // What has no name that can be read was not pulled by it either.
        let name = trimmed(image).ok()?;
        self.add(name, arrival)
    }

    /// Whether a pod may use `image`, as it writes it, which is there as `image_ref`.
    pub fn check(&self, image: &str, image_ref: &str) -> Check {
        if !self.policy.demands_proof(image, self.origin(image, image_ref)) {
            return Check::Decided(Verdict::AllowedByPolicy);
        }
        match self.access(image, image_ref) {
            Some(Access::Node) => Check::Decided(Verdict::AllowedByRecord),
            Some(Access::Shown { secrets, accounts }) if !secrets.is_empty() || !accounts.is_empty() => {
                Check::NeedsCredentials
            }
            Some(Access::Shown { .. }) | None => Check::Decided(Verdict::MustPull),
        }
    }

    /// Whether a pod with these credentials may use the image. Gives the record that is to be written too, when a secret is
    /// to be known by another name or with another credential from now on.
    pub fn check_with(
        &mut self,
        image: &str,
        image_ref: &str,
        credentials: &[Credential],
        now: WallTime,
    ) -> (Verdict, Option<PulledRecord>) {
        let Some(Access::Shown { secrets, accounts }) = self.access(image, image_ref) else {
            return match self.check(image, image_ref) {
                Check::Decided(verdict) => (verdict, None),
                Check::NeedsCredentials => (Verdict::MustPull, None),
            };
        };
        let (shown, account) = proofs(credentials);
        let has_room = secrets.len() < MAX_SECRETS_BY_USE;
        let found = shown.iter().find_map(|shown| {
            let known = secrets.iter().find(|known| {
                let same_hash =
                    !known.credential_hash.is_empty() && known.credential_hash == shown.credential_hash;
                same_hash || (known.name == shown.name && has_room)
            })?;
            Some((shown, known == shown))
        });
        if let Some((shown, is_known)) = found {
            let access = Access::Shown { secrets: vec![shown.clone()], accounts: Vec::new() };
            let name = trimmed(image).ok().filter(|_| has_room && !is_known);
            let record = name.and_then(|name| self.add(name, Arrival { image_ref, access: &access, now }));
            return (Verdict::AllowedByRecord, record);
        }
        match account.is_some_and(|account| accounts.contains(account)) {
            true => (Verdict::AllowedByRecord, None),
            false => (Verdict::MustPull, None),
        }
    }

    /// Turns intents of an earlier life into records, for images that are there: a kubelet pulled them, nobody has proof.
    /// Gives each record to write with the intent to remove after it.
    pub fn adopt(&mut self, images: &[Image], now: WallTime) -> Vec<(PulledRecord, String)> {
        let mut adopted = Vec::new();
        let left: Vec<String> = self
            .intents
            .iter()
            .filter(|(_, running)| **running == 0)
            .map(|(image, _)| image.clone())
            .collect();
        for intent in left {
            let Some(image) = images.iter().find(|image| is_named(image, &intent)) else { continue };
            let record = self.records.entry(image.id.clone()).or_insert_with(|| PulledRecord {
                updated_at: now,
                image_ref: image.id.clone(),
                access: BTreeMap::new(),
            });
            adopted.push((record.clone(), intent.clone()));
            self.intents.remove(&intent);
        }
        adopted
    }

    /// Image references of the records of images that are gone: none of `present`, and not changed since `before`. They are
    /// forgotten with this.
    pub fn keep_only(&mut self, present: &BTreeSet<String>, before: WallTime) -> Vec<String> {
        let is_gone =
            |record: &PulledRecord| !present.contains(&record.image_ref) && record.updated_at < before;
        let gone: Vec<String> = self
            .records
            .values()
            .filter(|record| is_gone(record))
            .map(|record| record.image_ref.clone())
            .collect();
        for image_ref in &gone {
            self.records.remove(image_ref);
        }
        gone
    }

    /// Image references of the records that are too many; they are forgotten with this.
    pub fn drop_oldest(&mut self) -> Vec<String> {
        let too_many = self.records.len().saturating_sub(MAX_RECORDS);
        if too_many == 0 {
            return Vec::new();
        }
        let mut by_age: Vec<(WallTime, String)> =
            self.records.values().map(|record| (record.updated_at, record.image_ref.clone())).collect();
        by_age.sort();
        let oldest: Vec<String> = by_age.into_iter().take(too_many).map(|(_, image_ref)| image_ref).collect();
        for image_ref in &oldest {
            self.records.remove(image_ref);
        }
        oldest
    }

    /// Preloaded is only what surely no kubelet pulled.
    fn origin(&self, image: &str, image_ref: &str) -> Origin {
        let is_unreadable = |name: &str| self.unreadable.contains(&file_name(name));
        match self.listing {
            Listing::Failed => Origin::Pulled,
            Listing::Complete if self.records.contains_key(image_ref) => Origin::Pulled,
            Listing::Complete if self.intents.contains_key(image) => Origin::Pulled,
            Listing::Complete if is_unreadable(image) || is_unreadable(image_ref) => Origin::Pulled,
            Listing::Complete => Origin::Preloaded,
        }
    }

    fn access(&self, image: &str, image_ref: &str) -> Option<&Access> {
        self.records.get(image_ref)?.access.get(trimmed(image).ok()?)
    }

    fn add(&mut self, name: &str, arrival: Arrival<'_>) -> Option<PulledRecord> {
        let Arrival { image_ref, access, now } = arrival;
        let is_new = !self.records.contains_key(image_ref);
        let record = self.records.entry(image_ref.to_owned()).or_insert_with(|| PulledRecord {
            updated_at: now,
            image_ref: image_ref.to_owned(),
            access: BTreeMap::new(),
        });
        let changed = match record.access.get_mut(name) {
            Some(known) => merge(known, access),
            None => {
                record.access.insert(name.to_owned(), access.clone());
                true
            }
        };
        if changed {
            record.updated_at = now;
        }
        (is_new || changed).then(|| record.clone())
    }
}

/// Adds who may use an image; true when that changed something.
fn merge(known: &mut Access, more: &Access) -> bool {
    match (known, more) {
        (Access::Node, _) => false,
        (known, Access::Node) => {
            *known = Access::Node;
            true
        }
        (
            Access::Shown { secrets, accounts },
            Access::Shown { secrets: more_secrets, accounts: more_accounts },
        ) => {
            let before = (secrets.clone(), accounts.clone());
            for secret in more_secrets {
                secrets.retain(|known| known.name != secret.name);
                secrets.push(secret.clone());
            }
            let all: BTreeSet<ObjectName> = accounts.iter().chain(more_accounts).cloned().collect();
            *accounts = all.into_iter().collect();
            secrets.sort();
            before != (secrets.clone(), accounts.clone())
        }
    }
}

/// The secrets among a pod's credentials, and its service account if one of them came by it.
fn proofs(credentials: &[Credential]) -> (Vec<SecretProof>, Option<&ObjectName>) {
    let secrets = credentials.iter().filter_map(|credential| match &credential.source {
        CredentialSource::Secret(name) => {
            Some(SecretProof { name: name.clone(), credential_hash: credential.hash.clone() })
        }
        CredentialSource::Node | CredentialSource::ServiceAccount(_) => None,
    });
    let account = credentials.iter().find_map(|credential| match &credential.source {
        CredentialSource::ServiceAccount(name) => Some(name),
        CredentialSource::Node | CredentialSource::Secret(_) => None,
    });
    (secrets.collect(), account)
}

/// True when the runtime knows the image by this name, written out or not.
fn is_named(image: &Image, name: &str) -> bool {
    let full = name.parse::<ImageReference>().map(|reference| reference.to_string()).unwrap_or_default();
    image.repo_tags.iter().chain(&image.repo_digests).any(|known| known == name || *known == full)
}

#[cfg(test)]
mod tests;
