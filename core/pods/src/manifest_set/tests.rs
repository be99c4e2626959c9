//! Files come, break, are mended and go.

use super::*;

const GOOD: &str =
    "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: c, image: a}]}}";
const OTHER: &str =
    "{apiVersion: v1, kind: Pod, metadata: {name: other}, spec: {containers: [{name: c, image: a}]}}";

fn at(secs: i64) -> WallTime {
    WallTime::from_unix_secs(secs)
}

fn replace(set: &mut ManifestSet, files: &[(&str, Result<&str, &str>)], now: i64) -> Vec<String> {
    let inputs: Vec<ManifestInput<'_>> = files
        .iter()
        .map(|(origin, content)| ManifestInput { origin, content: content.map(str::as_bytes) })
        .collect();
    set.replace(&inputs, at(now)).iter().map(ToString::to_string).collect()
}

fn names(set: &ManifestSet) -> Vec<String> {
    set.pods().iter().map(|pod| pod.key().to_string()).collect()
}

#[test]
fn a_broken_file_keeps_its_last_good_pod_and_disturbs_no_other() {
    let mut set = ManifestSet::new("n", PodSource::File, PodGates::default());
    replace(&mut set, &[("a", Ok(GOOD)), ("b", Ok(OTHER))], 1);
    assert_eq!(names(&set), ["default/web-n", "default/other-n"]);
    assert_eq!(set.problems(), []);
    let before = set.pods();

    replace(&mut set, &[("a", Ok("kind: [")), ("b", Ok(OTHER))], 2);
    assert_eq!(set.pods(), before);
    let problem = set.problems().remove(0);
    assert_eq!((problem.origin.as_str(), problem.since), ("a", at(2)));
    assert!(
        problem
            .message
            .ends_with("\npod default/web-n keeps running as last read until it is mended or removed"),
        "{problem:?}"
    );
    replace(&mut set, &[("a", Ok("kind: [")), ("b", Ok(OTHER))], 3);
    assert_eq!(set.problems(), [problem], "the same problem keeps its time");

    replace(&mut set, &[("a", Err("permission denied")), ("b", Ok(OTHER))], 4);
    assert_eq!(set.pods(), before);
    assert!(set.problems()[0].message.starts_with("permission denied\n"));

    replace(&mut set, &[("a", Ok(GOOD)), ("b", Ok(OTHER))], 5);
    assert_eq!(set.problems(), []);
    assert_eq!(names(&set), ["default/web-n", "default/other-n"]);
}

#[test]
fn a_file_that_was_never_good_gives_a_problem_only() {
    let mut set = ManifestSet::new("n", PodSource::File, PodGates::default());
    replace(&mut set, &[("a", Ok("kind: Deployment"))], 1);
    assert_eq!(names(&set), Vec::<String>::new());
    assert!(set.problems()[0].message.ends_with("\nnothing runs from it until it is mended"));
}

#[test]
fn a_removed_file_takes_its_pod_and_its_problem_along() {
    let mut set = ManifestSet::new("n", PodSource::File, PodGates::default());
    replace(&mut set, &[("a", Ok(GOOD)), ("b", Ok("x"))], 1);
    replace(&mut set, &[], 2);
    assert_eq!((names(&set), set.problems()), (vec![], vec![]));
}

#[test]
fn unchanged_bytes_are_not_read_again() {
    let mut set = ManifestSet::new("n", PodSource::File, PodGates::default());
    let with_unknown = GOOD.replace("kind: Pod", "kind: Pod, kinf: 1");
    assert_eq!(
        replace(&mut set, &[("a", Ok(&with_unknown))], 1),
        ["a: line 1: kinf: unknown field, it is ignored"]
    );
    let first = set.pods();
    assert_eq!(replace(&mut set, &[("a", Ok(&with_unknown))], 2), Vec::<String>::new());
    assert!(Arc::ptr_eq(&first[0], &set.pods()[0]));
}

#[test]
fn what_a_manifest_may_hold_depends_on_the_source() {
    let list = format!("{{apiVersion: v1, kind: PodList, items: [{GOOD}, {OTHER}]}}");
    let mut set = ManifestSet::new("n", PodSource::Http, PodGates::default());
    replace(&mut set, &[("http://x", Ok(&list))], 1);
    assert_eq!(names(&set), ["default/web-n", "default/other-n"]);
    let mut set = ManifestSet::new("n", PodSource::File, PodGates::default());
    replace(&mut set, &[("a", Ok(&list))], 1);
    assert_eq!(names(&set), Vec::<String>::new());
    let mut set = ManifestSet::new("n", PodSource::Local, PodGates::default());
    replace(&mut set, &[("a", Ok(&format!("{GOOD}\n---\n{OTHER}")))], 1);
    assert_eq!(names(&set), ["default/web", "default/other"]);
}
