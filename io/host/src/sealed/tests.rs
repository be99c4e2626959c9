//! Sealed files in a directory of the test: who opens them, and who does not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;

const CONTENT: &[u8] = b"the-secret-content";

fn place(temp: &TempDir, key: SealKey) -> SealedPlace {
    SealedPlace { dir: temp.path().to_path_buf(), name: "file.sealed".to_owned(), key, purpose: "tests" }
}

fn beside(temp: &TempDir) -> SealedPlace {
    place(temp, SealKey::Beside("file.key".to_owned()))
}

async fn sealed(place: SealedPlace) -> HostSealedFile {
    let file = HostSealedFile::new(place);
    file.store(Secret::new(CONTENT.to_vec())).await.unwrap();
    file
}

async fn problem(file: &HostSealedFile) -> String {
    match file.load().await {
        Err(SealedError::NotOpened { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_contract_holds() {
    let temp = tempfile::tempdir().unwrap();
    ports::contract::sealed_file(&HostSealedFile::new(beside(&temp))).await;
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0, "nothing is left");
}

#[tokio::test]
async fn nothing_is_readable_and_no_two_writes_are_alike() {
    let temp = tempfile::tempdir().unwrap();
    let file = sealed(beside(&temp)).await;
    let mode = |name: &str| fs::metadata(temp.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("file.sealed"), mode("file.key")), (0o600, 0o600));
    let read = || fs::read(temp.path().join("file.sealed")).unwrap();
    let first = read();
    assert!(!first.windows(CONTENT.len()).any(|part| part == CONTENT));
    let key = fs::read(temp.path().join("file.key")).unwrap();
    file.store(Secret::new(CONTENT.to_vec())).await.unwrap();
    let second = read();
    assert_ne!(first[SEALED_BEGIN.len()..], second[SEALED_BEGIN.len()..], "another nonce");
    assert_eq!(key, fs::read(temp.path().join("file.key")).unwrap(), "the key stays");
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 2, "no temporary file stays");
}

#[tokio::test]
async fn each_changed_byte_and_each_cut_is_found() {
    let temp = tempfile::tempdir().unwrap();
    let file = sealed(beside(&temp)).await;
    let path = temp.path().join("file.sealed");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, changed).unwrap();
        problem(&file).await;
        fs::write(&path, &whole[..at]).unwrap();
        problem(&file).await;
    }
    fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    problem(&file).await;
    fs::write(&path, &whole).unwrap();
    assert_eq!(file.load().await.unwrap().unwrap().expose(), CONTENT, "and the whole one is opened");
}

#[tokio::test]
async fn another_key_another_purpose_and_no_key_do_not_open_it() {
    let temp = tempfile::tempdir().unwrap();
    sealed(beside(&temp)).await;
    let other_purpose = HostSealedFile::new(SealedPlace { purpose: "something else", ..beside(&temp) });
    assert!(problem(&other_purpose).await.contains("for something else"));
    let elsewhere = temp.path().join("other.key");
    fs::write(&elsewhere, [7; KEY_BYTES]).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o400)).unwrap();
    let other_key = HostSealedFile::new(place(&temp, SealKey::At(elsewhere)));
    assert!(problem(&other_key).await.contains("another key"));
    fs::remove_file(temp.path().join("file.key")).unwrap();
    let without = HostSealedFile::new(beside(&temp));
    assert!(problem(&without).await.contains("is not there"));
}

#[tokio::test]
async fn a_key_elsewhere_is_made_once_and_stays_when_the_file_goes() {
    let (temp, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let key = keys.path().join("key");
    let file = sealed(place(&temp, SealKey::At(key.clone()))).await;
    assert_eq!(fs::read(&key).unwrap().len(), KEY_BYTES);
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    file.remove().await.unwrap();
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    assert!(key.exists());
}

#[tokio::test]
async fn a_key_of_another_length_or_that_others_may_read_is_not_used() {
    let temp = tempfile::tempdir().unwrap();
    for (bytes, mode, wanted) in [(31, 0o600, "32 bytes"), (33, 0o600, "32 bytes"), (32, 0o604, "chmod 600")]
    {
        let key = temp.path().join("file.key");
        fs::write(&key, vec![1; bytes]).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let error = HostSealedFile::new(beside(&temp)).store(Secret::new(Vec::new())).await.unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
        assert!(!temp.path().join("file.sealed").exists());
    }
}

#[tokio::test]
async fn a_link_is_not_followed() {
    let temp = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc/passwd", temp.path().join("file.sealed")).unwrap();
    assert!(HostSealedFile::new(beside(&temp)).load().await.is_err());
}
