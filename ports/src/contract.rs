//! What every implementation of a port does, as checks that run on the real one and on a fake, so that the fake cannot
//! drift from what it stands for. For tests only.
//!
//! Each function takes an empty subject, checks by the port alone, and leaves nothing of its own behind. It panics with
//! the broken rule.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use core_cm::cgroup::{CgroupPath, CgroupValues};
use core_logs::Plan;
use core_types::{PodKey, PodUid, Secret};
use core_volumes::{HostPathKind, PayloadFile, VolumePayload, VolumePlugin, VolumeSetup};

use crate::log_files::LogLook;
use crate::pod_files::{LogTail, SubPathRequest};
use crate::pull_records::{PullContent, PullFile};
use crate::{
    Cgroups, Checkpoints, ContainerLogFiles, EventJournal, FileError, PodFiles, PullRecords, SealedFile,
};

/// Rules of [`Cgroups`].
pub async fn cgroups(subject: &dyn Cgroups) {
    let path = |names: &[&str]| CgroupPath(names.iter().map(|&name| name.to_owned()).collect());
    let class = path(&["kubepods", "burstable"]);
    let pod = path(&["kubepods", "burstable", "poda-1"]);
    let values = CgroupValues { cpu_shares: Some(1024), ..CgroupValues::default() };

    assert!(!subject.exists(&pod).await.expect("exists"), "nothing is there at first");
    subject.destroy(&pod).await.expect("destroying what is not there is success");

    subject.ensure(&pod, &values).await.expect("ensure makes the cgroup with its parents");
    subject.ensure(&pod, &values).await.expect("ensure is safe to repeat");
    assert!(subject.exists(&pod).await.expect("exists"), "what was ensured exists");
    assert!(subject.exists(&class).await.expect("exists"), "its parents exist");
    let guaranteed = path(&["kubepods", "podb-2"]);
    subject.ensure(&guaranteed, &CgroupValues::default()).await.expect("ensure");
    let mut listed = subject.list_pods().await.expect("list_pods");
    listed.sort();
    let expected = vec![(PodUid::from("a-1"), pod.clone()), (PodUid::from("b-2"), guaranteed.clone())];
    assert_eq!(listed, expected, "pods of every QoS class are listed by UID");

    let limits = subject.limits(&pod).await.expect("limits");
    // Version 2 has weights, which do not hold every number of shares.
    let shares = limits.cpu_shares;
    assert!((998..=1024).contains(&shares), "what was set comes back, not {shares}");
    assert_eq!(limits.memory_limit_bytes, None, "what was not set has no limit");
    let larger = CgroupValues { memory_limit_bytes: Some(64 << 20), ..CgroupValues::default() };
    subject.ensure(&pod, &larger).await.expect("ensure sets what is given");
    let limits = subject.limits(&pod).await.expect("limits");
    let seen = (limits.cpu_shares, limits.cpu_quota_us, limits.memory_limit_bytes);
    assert_eq!(seen, (shares, None, Some(64 << 20)), "and leaves the rest");
    assert!(subject.memory_usage_bytes(&pod).await.expect("memory_usage_bytes") < 64 << 20);
    assert!(subject.limits(&path(&["kubepods", "podc-3"])).await.is_err(), "what is not there has none");

    subject.destroy(&pod).await.expect("destroy");
    assert!(!subject.exists(&pod).await.expect("exists"), "what was destroyed is gone");
    assert!(subject.exists(&guaranteed).await.expect("exists"), "and nothing else");
    subject.destroy(&path(&["kubepods"])).await.expect("destroy removes what is below");
    assert!(!subject.exists(&guaranteed).await.expect("exists"), "what is below is gone");
    assert!(subject.list_pods().await.expect("list_pods").is_empty(), "no pod is left");

    for names in [&[][..], &[".."], &["kubepods", "../x"], &[""]] {
        assert!(subject.destroy(&path(names)).await.is_err(), "{names:?} is refused");
    }
}

/// Rules of [`EventJournal`].
pub async fn event_journal(subject: &dyn EventJournal) {
    assert!(subject.load().await.expect("load").is_empty(), "nothing is there at first");
    assert_eq!(subject.append(b"one\n").await.expect("append"), 4);
    assert_eq!(subject.append(b"two\n").await.expect("append"), 8, "the size of the file comes back");
    assert_eq!(subject.load().await.expect("load"), ["one\ntwo\n"]);
    subject.begin_anew(b"three\n").await.expect("begin_anew");
    assert_eq!(subject.append(b"four\n").await.expect("append"), 11);
    assert_eq!(subject.load().await.expect("load"), ["one\ntwo\n", "three\nfour\n"], "older first");
    let kept = subject.keep_broken().await.expect("keep_broken");
    assert_eq!(subject.keep_broken().await.expect("keep_broken is safe to repeat"), kept);
    subject.begin_anew(b"").await.expect("begin_anew");
    assert_eq!(subject.load().await.expect("load"), ["three\nfour\n", ""], "only two files are kept");
}

/// Rules of [`Checkpoints`]. Leaves `some_state` and the file that it was set aside as.
pub async fn checkpoints(subject: &dyn Checkpoints) {
    assert!(subject.load("some_state").await.expect("load").is_none(), "nothing is there at first");
    for content in [&b"first"[..], b"", b"second"] {
        subject.store("some_state", content).await.expect("store");
        assert_eq!(subject.load("some_state").await.expect("load").as_deref(), Some(content));
    }
    let aside = subject.set_aside("some_state").await.expect("set_aside");
    assert!(aside.to_string_lossy().contains("some_state"), "it can still be found");
    assert!(subject.load("some_state").await.expect("load").is_none(), "and is out of the way");
    assert!(subject.set_aside("some_state").await.is_err(), "there is nothing to set aside");
    subject.store("some_state", b"third").await.expect("store");
    for name in ["", "..", "a/b"] {
        assert!(subject.store(name, b"x").await.is_err(), "{name:?} is no plain name");
    }
}

/// Rules of [`SealedFile`]. Leaves nothing.
pub async fn sealed_file(subject: &dyn SealedFile) {
    let content = |text: &[u8]| Secret::new(text.to_vec());
    assert!(subject.load().await.expect("load").is_none(), "nothing is there at first");
    subject.remove().await.expect("nothing to remove is no error");
    for text in [&b"first"[..], b"", b"second"] {
        subject.store(content(text)).await.expect("store");
        assert_eq!(subject.load().await.expect("load"), Some(content(text)));
    }
    subject.set_aside().await.expect("set_aside");
    assert!(subject.load().await.expect("load").is_none(), "it is out of the way");
    assert!(subject.set_aside().await.is_err(), "there is nothing to set aside");
    subject.store(content(b"third")).await.expect("store");
    subject.remove().await.expect("remove");
    assert!(subject.load().await.expect("load").is_none(), "it is gone");
}

/// Rules of [`ContainerLogFiles`]. `log` is the path of a log with some bytes in it and nothing beside it.
pub async fn container_log_files(subject: &dyn ContainerLogFiles, log: &str) {
    let name = log.rsplit('/').next().expect("the log has a name");
    let (first, second) = (format!("{name}.1"), format!("{name}.2"));
    let look = |log: &str| LogLook { log: log.to_owned(), tells_write: false };
    let size = subject.sizes(&[look(log)]).await.expect("sizes").remove(0);
    let size = size.expect("a size").expect("the log is there");
    assert!(size > 0, "it has some bytes");

    assert_eq!(moved(subject, log, &[], &first).await.expect("moved aside"), [name], "the names it found");
    let gone = subject.sizes(&[look(log), LogLook { tells_write: true, ..look(log) }]).await.expect("sizes");
    assert!(gone.len() == 2 && gone.into_iter().all(|size| size.expect("a size").is_none()), "it is gone");
    assert!(moved(subject, log, &[], &second).await.is_err(), "what is not there cannot be moved");
    subject.move_back(log, &first).await.expect("moved back");
    assert!(subject.move_back(log, &first).await.is_err(), "what is not there cannot be moved back");
    assert!(moved(subject, log, &[], name).await.is_err(), "no file is replaced");

    moved(subject, log, &[], &first).await.expect("moved aside");
    subject.compress(log, &first).await.expect("compress");
    subject.compress(log, &first).await.expect("compressing what is gone is success");
    let compressed = format!("{first}.gz");
    subject.move_back(log, &compressed).await.expect("the compressed file has the name now");
    let removed = [compressed, second.clone()];
    assert_eq!(moved(subject, log, &removed, &first).await.expect("moved aside"), [name], "the only file");
    subject.move_back(log, &first).await.expect("removing what is gone is success");

    for bad in ["/etc/passwd", "relative.log", ""] {
        let sizes = subject.sizes(&[look(bad), LogLook { tells_write: true, ..look(bad) }]).await;
        assert!(sizes.expect("sizes").iter().all(Result::is_err), "{bad:?} is refused");
        assert!(moved(subject, bad, &[], &second).await.is_err(), "{bad:?} is refused");
        assert!(subject.move_back(bad, &second).await.is_err(), "{bad:?} is refused");
    }
    for bad in ["", "..", "a/b"] {
        assert!(moved(subject, log, &[], bad).await.is_err(), "{bad:?} is refused");
        assert!(moved(subject, log, &[bad.to_owned()], &second).await.is_err(), "{bad:?} is refused");
        assert!(subject.move_back(log, bad).await.is_err(), "{bad:?} is refused");
        assert!(subject.compress(log, bad).await.is_err(), "{bad:?} is refused");
    }
    moved(subject, log, std::slice::from_ref(&first), &second).await.expect("nothing refused has changed it");
}

/// Moves a log aside; returns the names of files that were there.
async fn moved(
    subject: &dyn ContainerLogFiles,
    log: &str,
    remove: &[String],
    rename_to: &str,
) -> Result<Vec<String>, FileError> {
    let found = Arc::new(Mutex::new(Vec::new()));
    let (seen, remove, rename_to) = (Arc::clone(&found), remove.to_vec(), rename_to.to_owned());
    let plan = move |names: &[String]| {
        *seen.lock().expect("no test panics here") = names.to_vec();
        Plan { remove, rename_to, compress: Vec::new() }
    };
    subject.move_aside(log, Box::new(plan)).await?;
    Ok(std::mem::take(&mut *found.lock().expect("no test panics here")))
}

/// Rules of [`PodFiles`].
pub async fn pod_files(subject: &dyn PodFiles) {
    let uid = PodUid::from("11111111-aaaa");
    pod_dirs(subject, &uid).await;
    pod_volumes(subject, &uid).await;
    pod_logs(subject, &uid).await;
    subject.tear_down_volumes(&uid).await.expect("tear_down_volumes");
    subject.tear_down_volumes(&uid).await.expect("tear_down_volumes is safe to repeat");
    subject.remove_pod_dir(&uid).await.expect("remove_pod_dir");
    subject.remove_pod_dir(&uid).await.expect("removing what is gone is success");
    assert!(subject.list_pod_dirs().await.expect("list_pod_dirs").is_empty(), "the pod is gone");
    for bad in ["", "..", "a/b"] {
        assert!(subject.ensure_pod_dirs(&PodUid::from(bad)).await.is_err(), "UID {bad:?} is refused");
        assert!(subject.remove_pod_dir(&PodUid::from(bad)).await.is_err(), "UID {bad:?} is refused");
    }
}

async fn pod_dirs(subject: &dyn PodFiles, uid: &PodUid) {
    assert!(subject.list_pod_dirs().await.expect("list_pod_dirs").is_empty(), "nothing is there at first");
    subject.ensure_pod_dirs(uid).await.expect("ensure_pod_dirs");
    subject.ensure_pod_dirs(uid).await.expect("ensure_pod_dirs is safe to repeat");
    assert_eq!(subject.list_pod_dirs().await.expect("list_pod_dirs"), std::slice::from_ref(uid));

    let first = subject.write_etc_hosts(uid, "127.0.0.1 a\n").await.expect("write_etc_hosts");
    let second = subject.write_etc_hosts(uid, "127.0.0.1 b\n").await.expect("write_etc_hosts");
    assert_eq!(first, second, "the hosts file keeps its path: containers have it mounted");

    let one = subject.create_termination_log(uid, "app").await.expect("create_termination_log");
    let two = subject.create_termination_log(uid, "app").await.expect("create_termination_log");
    assert_ne!(one, two, "each instance of a container has its own");
    let path = one.to_str().expect("the path is text");
    let read = subject.read_termination_log(uid, path, 4096).await.expect("read_termination_log");
    assert_eq!(read, Some(Vec::new()), "a new one is empty");
    let missing = format!("{path}-missing");
    assert_eq!(subject.read_termination_log(uid, &missing, 4096).await.expect("read_termination_log"), None);
    assert!(
        subject.read_termination_log(uid, "/etc/passwd", 4096).await.is_err(),
        "only files of the pod are read"
    );
    assert!(subject.create_termination_log(uid, "../x").await.is_err(), "a name with a slash is refused");

    let read = || subject.read_user_namespace(uid, 6);
    assert_eq!(read().await.expect("read_user_namespace"), None, "nothing is there at first");
    for content in [&b"first"[..], b"second one"] {
        subject.write_user_namespace(uid, content).await.expect("write_user_namespace");
        let found = read().await.expect("read_user_namespace");
        assert_eq!(
            found.as_deref(),
            Some(&content[..content.len().min(6)]),
            "no more than asked for is read"
        );
    }
    subject.remove_user_namespace(uid).await.expect("remove_user_namespace");
    subject.remove_user_namespace(uid).await.expect("removing what is gone is success");
    assert_eq!(read().await.expect("read_user_namespace"), None, "it is gone");
    let unknown = PodUid::from("22222222-bbbb");
    assert_eq!(subject.read_user_namespace(&unknown, 6).await.expect("read_user_namespace"), None);
    subject.remove_user_namespace(&unknown).await.expect("a pod without a directory has none");
}

async fn pod_volumes(subject: &dyn PodFiles, uid: &PodUid) {
    let volume =
        VolumeSetup::EmptyDir { name: "data".to_owned(), plugin: VolumePlugin::EmptyDir, fs_group: None };
    let path = subject.set_up_volume(uid, &volume).await.expect("set_up_volume");
    assert_eq!(subject.set_up_volume(uid, &volume).await.expect("set_up_volume is safe to repeat"), path);
    let payload = VolumePayload {
        plugin: VolumePlugin::EmptyDir,
        files: BTreeMap::from([(
            "d/file".to_owned(),
            PayloadFile { content: Secret::new(b"x".to_vec()), mode: 0o644, owner: None },
        )]),
        fs_group: None,
    };
    let is_written =
        async || subject.is_written(uid, "data", VolumePlugin::EmptyDir).await.expect("is_written");
    assert!(!is_written().await, "nothing is written yet");
    subject.write_volume(uid, "data", &payload).await.expect("write_volume");
    assert!(is_written().await, "it was written");
    subject.write_volume(uid, "data", &payload).await.expect("write_volume is safe to repeat");
    assert!(subject.write_volume(uid, "missing", &payload).await.is_err(), "a volume that is not set up");
    let missing = subject.read_volume_file(uid, &path, "d/missing", 9).await.expect("read_volume_file");
    assert_eq!(missing, None, "what is not there is no error");
    let outside = subject.read_volume_file(uid, &path, "../../x", 9).await;
    assert!(outside.is_err(), "a path out of the volume");
    let outside = BTreeMap::from([(
        "../x".to_owned(),
        PayloadFile { content: Secret::default(), mode: 0o644, owner: None },
    )]);
    let outside = VolumePayload { files: outside, ..payload };
    assert!(subject.write_volume(uid, "data", &outside).await.is_err(), "a path out of the volume");
    let request = SubPathRequest {
        volume: "data".to_owned(),
        volume_path: path,
        container: "app".to_owned(),
        index: 0,
        sub_path: "../../etc".to_owned(),
    };
    let error =
        subject.prepare_sub_path(uid, &request).await.expect_err("a sub path out of the volume is refused");
    assert!(error.to_string().contains("not within volume path"), "upstream's words: {error}");
    let host_path = VolumeSetup::HostPath {
        name: "host".to_owned(),
        path: "/no/such/file".into(),
        kind: HostPathKind::Unchecked,
    };
    let host =
        subject.set_up_volume(uid, &host_path).await.expect("an unchecked host path is taken as it is");
    assert_eq!(host.to_str(), Some("/no/such/file"));
}

async fn pod_logs(subject: &dyn PodFiles, uid: &PodUid) {
    let key = PodKey::new("ns", "web");
    for _ in 0..2 {
        let highest = subject.ensure_log_dir(&key, uid, "app").await.expect("ensure_log_dir");
        assert_eq!(highest, None, "no log was written yet");
    }
    subject.remove_container_logs(&key, uid, "app", &[]).await.expect("remove_container_logs without logs");
    let outside = subject.read_log_tail("/etc/passwd", LogTail { lines: 1, bytes: 1 }).await;
    assert!(outside.is_err(), "only logs of pods are read");
    assert_eq!(subject.read_host_file("/no/such/file", 10).await.expect("read_host_file"), None);
    subject.remove_pod_logs(&key, uid).await.expect("remove_pod_logs");
    subject.remove_pod_logs(&key, uid).await.expect("removing what is gone is success");
}

/// Rules of [`PullRecords`].
pub async fn pull_records(subject: &dyn PullRecords) {
    use crate::pull_records::PullFileKind::{Intent, Record};
    const NAME: &str = "sha256-a";
    let of = |content| vec![PullFile { name: NAME.to_owned(), content }];
    let file = |content: &'static str| of(PullContent::Bytes(bytes::Bytes::from(content)));

    assert_eq!(subject.list(Intent).await.expect("list"), [], "nothing is there at first");
    for content in ["one", "two"] {
        subject.store(Intent, NAME, content.as_bytes()).await.expect("store makes or replaces a file");
    }
    subject.store(Record, NAME, b"record").await.expect("store");
    assert_eq!(subject.list(Intent).await.expect("list"), file("two"));
    assert_eq!(subject.list(Record).await.expect("list"), file("record"), "the kinds are apart");
    subject.remove(Intent, NAME).await.expect("remove");
    subject.remove(Intent, NAME).await.expect("removing what is not there is success");
    assert_eq!(subject.list(Intent).await.expect("list"), []);
    subject.set_aside(Record, NAME).await.expect("set aside");
    assert_eq!(subject.list(Record).await.expect("list"), of(PullContent::SetAside));
    subject.store(Record, NAME, b"again").await.expect("its name is free");
    let mut both = subject.list(Record).await.expect("list");
    both.sort();
    assert_eq!(both, [file("again"), of(PullContent::SetAside)].concat());
    for name in ["../x", "", "a/b"] {
        subject.store(Record, name, b"x").await.expect_err("only plain names");
    }
}
