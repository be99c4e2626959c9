//! Merging, by example and by property.

use super::*;
use core_types::api::{ObjectMeta, PodSpec, PodStatus};
use proptest::prelude::*;

fn pod(name: &str, uid: &str) -> Pod {
    Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("default".to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec::default()),
        status: None,
    }
}

fn image(mut pod: Pod, node_name: &str) -> Pod {
    pod.spec = Some(PodSpec { node_name: Some(node_name.to_owned()), ..PodSpec::default() });
    pod
}

fn annotate(mut pod: Pod, key: &str, value: &str) -> Pod {
    pod.metadata.annotations.get_or_insert_default().insert(key.to_owned(), value.to_owned());
    pod
}

fn at(secs: i64) -> WallTime {
    WallTime::from_unix_secs(secs)
}

fn uids(list: &[SourcedPod]) -> Vec<String> {
    list.iter().map(|entry| entry.pod.uid().to_string()).collect()
}

fn replace(sources: &mut PodSources, source: PodSource, pods: &[Pod], now: i64) -> PodSetChange {
    sources.replace(source, pods.iter().cloned().map(Arc::new).collect(), at(now))
}

#[test]
fn a_set_is_compared_with_the_one_before() {
    let mut sources = PodSources::new([PodSource::File]);
    let change = replace(&mut sources, PodSource::File, &[pod("a", "1"), pod("b", "2")], 1);
    assert_eq!(uids(&change.added), ["1", "2"]);
    assert_eq!(change.added[0].pod.annotation(CONFIG_SOURCE_ANNOTATION), Some("file"));
    assert_eq!(
        change.added[0].pod.annotation(CONFIG_SEEN_ANNOTATION),
        Some("1970-01-01T00:00:01.000000000Z")
    );

    assert!(replace(&mut sources, PodSource::File, &[pod("a", "1"), pod("b", "2")], 2).is_empty());

    let change = replace(&mut sources, PodSource::File, &[image(pod("a", "1"), "x"), pod("c", "3")], 3);
    assert_eq!(
        (uids(&change.removed), uids(&change.added), uids(&change.updated)),
        (vec!["2".to_owned()], vec!["3".to_owned()], vec!["1".to_owned()])
    );
    let seen = change.updated[0].pod.annotation(CONFIG_SEEN_ANNOTATION);
    assert_eq!(seen, Some("1970-01-01T00:00:01.000000000Z"), "first seen stays");
}

#[test]
fn a_set_that_names_the_same_pods_gives_the_same_as_one_that_was_compared_whole() {
    let deleted = |mut pod: Pod| {
        pod.metadata.deletion_timestamp = Some(at(9).to_api());
        pod
    };
    let first = [pod("a", "1"), pod("b", "2"), pod("c", "3")];
    let second = [pod("a", "1"), image(pod("b", "2"), "x"), deleted(pod("c", "3"))];
    let mut in_place = PodSources::new([PodSource::Api]);
    replace(&mut in_place, PodSource::Api, &first, 1);
    let change = replace(&mut in_place, PodSource::Api, &second, 2);
    // Here the number of pods changes with the rest, and the fourth goes again.
    let mut whole = PodSources::new([PodSource::Api]);
    let with_another = [first.as_slice(), &[pod("d", "4")]].concat();
    replace(&mut whole, PodSource::Api, &with_another, 1);
    let mut compared = replace(&mut whole, PodSource::Api, &second, 2);
    assert_eq!(uids(&compared.removed), ["4"]);
    compared.removed.clear();
    assert_eq!(change, compared);
    assert_eq!((uids(&change.updated), uids(&change.deleted)), (vec!["2".to_owned()], vec!["3".to_owned()]));
    assert_eq!(in_place.pods().collect::<Vec<_>>(), whole.pods().collect::<Vec<_>>());
    // Another pod in the place of one.
    let third = [pod("a", "1"), pod("b", "5"), second[2].clone()];
    let change = replace(&mut in_place, PodSource::Api, &third, 3);
    assert_eq!((uids(&change.removed), uids(&change.added)), (vec!["2".to_owned()], vec!["5".to_owned()]));
}

#[test]
fn each_difference_has_its_list() {
    let first = annotate(pod("a", "1"), "x", "1");
    let with_status = Pod { status: Some(PodStatus::default()), ..first.clone() };
    let mut deleting = first.clone();
    deleting.metadata.deletion_timestamp = Some(at(5).to_api());
    let mut graceless = deleting.clone();
    graceless.metadata.deletion_grace_period_seconds = Some(0);
    let mut labelled = first.clone();
    labelled.metadata.labels = Some([("l".to_owned(), "v".to_owned())].into());
    let cases = [
        (first.clone(), ""),
        (annotate(first.clone(), CONFIG_SOURCE_ANNOTATION, "else"), ""),
        (annotate(first.clone(), CONFIG_SEEN_ANNOTATION, "else"), ""),
        (annotate(first.clone(), "x", "2"), "updated"),
        (labelled, "updated"),
        (with_status, "reconciled"),
        (deleting, "deleted"),
        (graceless, "deleted"),
    ];
    for (offer, expected) in cases {
        let mut sources = PodSources::new([PodSource::Api]);
        replace(&mut sources, PodSource::Api, std::slice::from_ref(&first), 1);
        let change = replace(&mut sources, PodSource::Api, std::slice::from_ref(&offer), 2);
        let lists = [
            ("removed", &change.removed),
            ("added", &change.added),
            ("updated", &change.updated),
            ("deleted", &change.deleted),
            ("reconciled", &change.reconciled),
        ];
        let hit: Vec<&str> =
            lists.iter().filter(|(_, list)| !list.is_empty()).map(|(name, _)| *name).collect();
        assert_eq!(hit.join(","), expected, "{offer:?}");
    }
}

#[test]
fn sources_are_ready_when_each_has_delivered() {
    let mut sources = PodSources::new([PodSource::File, PodSource::Api]);
    assert!(!sources.all_ready());
    assert!(replace(&mut sources, PodSource::File, &[], 1).is_empty());
    assert_eq!(sources.waiting_for().collect::<Vec<_>>(), [PodSource::Api]);
    replace(&mut sources, PodSource::Api, &[], 1);
    assert!(sources.all_ready());
    assert!(PodSources::new([]).all_ready());
}

#[test]
fn the_second_pod_of_a_name_is_refused_once_and_comes_up_when_the_first_goes() {
    let mut sources = PodSources::new([PodSource::File]);
    let (first, second) = (pod("a", "1"), pod("a", "2"));
    let change = replace(&mut sources, PodSource::File, &[first.clone(), second.clone()], 1);
    assert_eq!(uids(&change.added), ["1"]);
    assert_eq!(
        change.refused[0].message,
        "Error validating pod default/a from file due to duplicate pod name \"a\", ignoring: a pod from file has it; rename or remove one of the two"
    );
    assert_eq!(sources.problems()[0].since, at(1));
    assert!(replace(&mut sources, PodSource::File, &[first, second.clone()], 2).is_empty());
    assert_eq!(sources.problems()[0].since, at(1));
    let change = replace(&mut sources, PodSource::File, &[second], 3);
    assert_eq!((uids(&change.removed), uids(&change.added)), (vec!["1".to_owned()], vec!["2".to_owned()]));
    assert_eq!(sources.problems(), []);
}

#[test]
fn a_file_pod_displaces_the_api_pod_of_its_name() {
    let mut sources = PodSources::new([PodSource::File, PodSource::Api]);
    replace(&mut sources, PodSource::Api, &[pod("a", "api")], 1);
    let change = replace(&mut sources, PodSource::File, &[pod("a", "file")], 2);
    assert_eq!(
        (uids(&change.removed), uids(&change.added)),
        (vec!["api".to_owned()], vec!["file".to_owned()])
    );
    assert_eq!(change.refused.len(), 1);
    let change = replace(&mut sources, PodSource::File, &[], 3);
    assert_eq!(
        (uids(&change.removed), uids(&change.added)),
        (vec!["file".to_owned()], vec!["api".to_owned()])
    );
}

#[test]
fn a_uid_is_taken_once() {
    let mut sources = PodSources::new([PodSource::File, PodSource::Local]);
    let change = replace(&mut sources, PodSource::File, &[pod("a", "1"), pod("b", "1")], 1);
    assert_eq!((change.added.len(), change.refused.len()), (1, 1));
    replace(&mut sources, PodSource::File, &[], 2);
    replace(&mut sources, PodSource::Local, &[pod("c", "1")], 3);
    let change = replace(&mut sources, PodSource::File, &[pod("a", "1")], 4);
    assert_eq!(change.removed[0].source, PodSource::Local, "the old pod with the UID goes first");
    assert_eq!(change.added[0].source, PodSource::File);
    let change = replace(&mut sources, PodSource::File, &[pod("renamed", "1")], 5);
    assert_eq!(
        (change.removed.len(), change.added.len(), change.updated.len()),
        (1, 1, 0),
        "a new name is a new pod"
    );
}

#[test]
fn a_mirror_pod_is_no_rival_of_its_static_pod() {
    let mut sources = PodSources::new([PodSource::File, PodSource::Api]);
    replace(&mut sources, PodSource::File, &[pod("a", "static")], 1);
    let mirror = annotate(pod("a", "mirror"), CONFIG_MIRROR_ANNOTATION, "static");
    let change = replace(&mut sources, PodSource::Api, &[mirror], 2);
    assert_eq!((uids(&change.added), change.refused.len()), (vec!["mirror".to_owned()], 0));
}

fn any_pod() -> impl Strategy<Value = Pod> {
    (0..4u8, 0..5u8, 0..3u8, any::<bool>(), any::<bool>()).prop_map(|(name, uid, spec, mirror, status)| {
        let mut pod = image(pod(&format!("p{name}"), &format!("u{uid}")), &format!("s{spec}"));
        if mirror {
            pod = annotate(pod, CONFIG_MIRROR_ANNOTATION, "x");
        }
        pod.status = status.then(PodStatus::default);
        pod
    })
}

fn any_source() -> impl Strategy<Value = PodSource> {
    prop_oneof![Just(PodSource::File), Just(PodSource::Http), Just(PodSource::Local), Just(PodSource::Api)]
}

proptest! {
    #[test]
    fn applying_the_changes_gives_the_desired_set(
        steps in proptest::collection::vec((any_source(), proptest::collection::vec(any_pod(), 0..6)), 1..12),
    ) {
        let mut sources = PodSources::new([PodSource::File, PodSource::Api]);
        let mut model: BTreeMap<PodUid, SourcedPod> = BTreeMap::new();
        for (now, (source, pods)) in steps.into_iter().enumerate() {
            let now = i64::try_from(now).unwrap();
            let change = replace(&mut sources, source, &pods, now);
            for gone in &change.removed {
                prop_assert_eq!(model.remove(&gone.pod.uid()), Some(gone.clone()));
            }
            for new in &change.added {
                prop_assert_eq!(model.insert(new.pod.uid(), new.clone()), None);
            }
            for other in change.updated.iter().chain(&change.deleted).chain(&change.reconciled) {
                prop_assert!(model.insert(other.pod.uid(), other.clone()).is_some());
            }
            prop_assert_eq!(model.values().collect::<Vec<_>>(), sources.pods().collect::<Vec<_>>());

            let mut names = BTreeSet::new();
            for desired in sources.pods() {
                prop_assert!(names.insert((desired.pod.key(), is_mirror(desired))), "a name twice");
            }
            prop_assert!(replace(&mut sources, source, &pods, now + 1000).is_empty(), "delivering twice changes nothing");
        }
    }
}
