//! The book: whose credentials open which present image, interrupted pulls, unreadable files, and the rule as a property.

use core_types::runtime::ImageAuth;
use proptest::prelude::*;

use super::*;

const NOW: WallTime = WallTime::from_unix_secs(1000);
const REF: &str = "sha256:1";

fn secret(name: &str, password: &str) -> Credential {
    let auth = ImageAuth { password: password.to_owned(), ..ImageAuth::default() };
    let name = ObjectName { namespace: "shop".to_owned(), name: name.to_owned(), uid: format!("uid-{name}") };
    Credential::new(auth, "", CredentialSource::Secret(name))
}

fn account(name: &str) -> Credential {
    let name = ObjectName { namespace: "shop".to_owned(), name: name.to_owned(), uid: "u".to_owned() };
    Credential::new(ImageAuth::default(), "", CredentialSource::ServiceAccount(name))
}

fn book() -> PullBook {
    PullBook::new(VerificationPolicy::NeverVerifyPreloadedImages, Found::default())
}

fn pull(book: &mut PullBook, image: &str, access: &Access) -> Option<PulledRecord> {
    book.begin(image);
    let record = book.pulled(image, Arrival { image_ref: REF, access, now: NOW });
    assert!(book.ended(image), "the intent goes with the last pull");
    record
}

fn check(book: &mut PullBook, image: &str, credentials: &[Credential]) -> Verdict {
    match book.check(image, REF) {
        Check::Decided(verdict) => verdict,
        Check::NeedsCredentials => book.check_with(image, REF, credentials, NOW).0,
    }
}

#[test]
fn preloaded_images_are_free_and_pulled_ones_need_what_opened_the_registry() {
    let mut book = book();
    assert_eq!(check(&mut book, "r.io/a:1", &[]), Verdict::AllowedByPolicy);
    let good = secret("good", "p");
    assert!(pull(&mut book, "r.io/a:1", &Access::by_credential(&good)).is_some());
    assert_eq!(check(&mut book, "r.io/a:1", &[]), Verdict::MustPull);
    assert_eq!(check(&mut book, "r.io/a:1", &[secret("other", "q")]), Verdict::MustPull);
    assert_eq!(check(&mut book, "r.io/a:1", &[secret("other", "q"), good.clone()]), Verdict::AllowedByRecord);
    assert_eq!(
        check(&mut book, "r.io/a:2", std::slice::from_ref(&good)),
        Verdict::AllowedByRecord,
        "tags do not count"
    );
    assert_eq!(check(&mut book, "r.io/b:1", &[good]), Verdict::MustPull, "other names do");
    assert!(pull(&mut book, "r.io/a:1", &Access::Node).is_some());
    assert_eq!(check(&mut book, "r.io/a:1", &[]), Verdict::AllowedByRecord, "anybody could pull it");
}

#[test]
fn a_secret_is_known_by_its_name_or_by_its_content() {
    let mut book = book();
    pull(&mut book, "a", &Access::by_credential(&secret("s", "old")));
    let (verdict, record) = book.check_with("a", REF, &[secret("s", "new")], NOW);
    assert_eq!(verdict, Verdict::AllowedByRecord, "its content was rotated");
    let Access::Shown { secrets, .. } = &record.unwrap().access["a"] else { panic!() };
    assert_eq!(secrets.len(), 1, "the new content replaces the old");
    let (verdict, record) = book.check_with("a", REF, &[secret("copy", "new")], NOW);
    assert_eq!(verdict, Verdict::AllowedByRecord, "the same content in another secret");
    let Access::Shown { secrets, .. } = &record.unwrap().access["a"] else { panic!() };
    assert_eq!(secrets.len(), 2);
    assert_eq!(book.check_with("a", REF, &[secret("copy", "new")], NOW), (Verdict::AllowedByRecord, None));
    let no_hash = SecretProof { name: ObjectName::default(), credential_hash: String::new() };
    let mut book = PullBook::new(VerificationPolicy::AlwaysVerify, Found::default());
    pull(&mut book, "a", &Access::Shown { secrets: vec![no_hash], accounts: Vec::new() });
    assert_eq!(check(&mut book, "a", &[secret("s", "x")]), Verdict::MustPull, "no hash equals no hash");
}

#[test]
fn service_accounts_are_known_by_name() {
    let mut book = book();
    pull(&mut book, "a", &Access::by_credential(&account("web")));
    assert_eq!(check(&mut book, "a", &[account("web")]), Verdict::AllowedByRecord);
    assert_eq!(check(&mut book, "a", &[account("db")]), Verdict::MustPull);
}

#[test]
fn an_interrupted_pull_leaves_an_image_that_must_be_proved() {
    let intents = vec!["busybox:1".to_owned(), "gone:1".to_owned()];
    let found = Found { intents, ..Found::default() };
    let mut book = PullBook::new(VerificationPolicy::NeverVerifyPreloadedImages, found);
    assert_eq!(check(&mut book, "busybox:1", &[]), Verdict::MustPull);
    let image = Image {
        id: REF.to_owned(),
        repo_tags: vec!["docker.io/library/busybox:1".to_owned()],
        ..Image::default()
    };
    let adopted = book.adopt(&[image], NOW);
    assert_eq!(adopted.len(), 1);
    assert_eq!((adopted[0].0.image_ref.as_str(), adopted[0].1.as_str()), (REF, "busybox:1"));
    assert_eq!((book.intents(), book.records()), (1, 1));
    assert_eq!(check(&mut book, "busybox:1", &[secret("s", "x")]), Verdict::MustPull);
    assert_eq!(check(&mut book, "gone:1", &[]), Verdict::MustPull);
}

#[test]
fn what_could_not_be_read_counts_as_pulled() {
    let book = |found| PullBook::new(VerificationPolicy::NeverVerifyPreloadedImages, found);
    let unreadable = Found { unreadable: BTreeSet::from([file_name(REF)]), ..Found::default() };
    let mut damaged = book(unreadable);
    assert_eq!(check(&mut damaged, "a", &[]), Verdict::MustPull);
    assert_eq!(damaged.check("a", "sha256:other"), Check::Decided(Verdict::AllowedByPolicy));
    pull(&mut damaged, "a", &Access::Node);
    assert_eq!(check(&mut damaged, "a", &[]), Verdict::AllowedByRecord);
    let mut blind = book(Found { listing: Listing::Failed, ..Found::default() });
    assert_eq!(check(&mut blind, "a", &[]), Verdict::MustPull);
}

#[test]
fn the_intent_stays_while_one_pull_of_the_image_runs() {
    let mut book = book();
    book.begin("a");
    book.begin("a");
    assert!(!book.ended("a"));
    assert_eq!(book.intents(), 1);
    assert!(book.ended("a"));
    assert!(!book.ended("a"));
    assert_eq!(book.intents(), 0);
}

#[test]
fn the_oldest_of_too_many_records_go() {
    let record = |n: i64| PulledRecord {
        updated_at: WallTime::from_unix_secs(n),
        image_ref: format!("ref-{n:06}"),
        access: BTreeMap::new(),
    };
    let most = i64::try_from(MAX_RECORDS).unwrap();
    let found = Found { records: (0..most + 2).map(record).collect(), ..Found::default() };
    let mut book = PullBook::new(VerificationPolicy::NeverVerify, found);
    assert_eq!(book.drop_oldest(), ["ref-000000", "ref-000001"]);
    assert_eq!(book.drop_oldest(), Vec::<String>::new());
}

proptest! {
    /// Whoever was let in by a record had pulled with the same secret, the same content, or after everybody could.
    #[test]
    fn nobody_gets_in_without_proof(
        pulls in proptest::collection::vec((0..4_u8, 0..4_u8), 0..6),
        (name, password) in (0..4_u8, 0..4_u8),
    ) {
        let mut book = PullBook::new(VerificationPolicy::AlwaysVerify, Found::default());
        for (name, password) in &pulls {
            pull(&mut book, "a", &Access::by_credential(&secret(&name.to_string(), &password.to_string())));
        }
        let verdict = check(&mut book, "a", &[secret(&name.to_string(), &password.to_string())]);
        let has_proof = pulls.iter().any(|(n, _)| *n == name)
            || pulls.iter().enumerate().any(|(at, (n, p))| {
                // Its later content replaced an earlier one of the same secret.
                *p == password && !pulls[at + 1..].iter().any(|(later, _)| later == n)
            });
        prop_assert_eq!(verdict == Verdict::AllowedByRecord, has_proof);
    }
}
