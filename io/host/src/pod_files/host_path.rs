//! The checks of `hostPath.type`, with upstream's texts (CONTRACT 6.8). Symlinks are followed, as upstream does: the path
//! is the pod author's and leads where the container will see it.

use std::fs::{DirBuilder, FileType, Metadata, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use core_volumes::HostPathKind;
use ports::FileError;

use crate::error::AtPath;

/// Checks the path, and makes what is missing where the type says so.
pub(super) fn check(path: &Path, kind: HostPathKind) -> Result<(), FileError> {
    match kind {
        HostPathKind::Unchecked => Ok(()),
        HostPathKind::DirectoryOrCreate if is_missing(path) => {
            DirBuilder::new().recursive(true).mode(0o755).create(path).at("create directory", path)
        }
        HostPathKind::FileOrCreate if is_missing(path) => OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o644)
            .open(path)
            .at("create file", path)
            .map(drop),
        HostPathKind::Directory | HostPathKind::DirectoryOrCreate => {
            expect(path, "directory", FileType::is_dir)
        }
        HostPathKind::File | HostPathKind::FileOrCreate => expect(path, "file", FileType::is_file),
        HostPathKind::Socket => expect(path, "socket file", FileType::is_socket),
        HostPathKind::CharDevice => expect(path, "character device", FileType::is_char_device),
        HostPathKind::BlockDevice => expect(path, "block device", FileType::is_block_device),
    }
}

fn is_missing(path: &Path) -> bool {
    std::fs::metadata(path).is_err()
}

fn expect(path: &Path, expected: &str, fits: impl Fn(&FileType) -> bool) -> Result<(), FileError> {
    let shown = path.display();
    let unknown = |cause: String| {
        FileError::HostPathType(format!(
            "hostPath type check failed, {shown} is not a {expected}, unable to determine its type: {cause}"
        ))
    };
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => unknown(format!("path {:?} does not exist", path.display().to_string())),
        _ => unknown(error.to_string()),
    })?;
    if fits(&metadata.file_type()) {
        return Ok(());
    }
    let Some(actual) = type_name(&metadata) else {
        return Err(unknown(
            "only recognise file, directory, socket, block device and character device".to_owned(),
        ));
    };
    let words = format!("hostPath type check failed: {shown} is not a {expected}, it's a {actual}");
    Err(FileError::HostPathType(words))
}

/// The API's name of a file's type.
fn type_name(metadata: &Metadata) -> Option<&'static str> {
    let file_type = metadata.file_type();
    let names = [
        (file_type.is_dir(), "Directory"),
        (file_type.is_file(), "File"),
        (file_type.is_socket(), "Socket"),
        (file_type.is_char_device(), "CharDevice"),
        (file_type.is_block_device(), "BlockDevice"),
    ];
    names.into_iter().find(|(is, _)| *is).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn each_type_accepts_its_kind_and_names_what_else_it_found() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("dir");
        let file = temp.path().join("file");
        let socket = temp.path().join("socket");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(&file, "").unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let null = Path::new("/dev/null");
        let cases: &[(&Path, HostPathKind, Option<&str>)] = &[
            (&dir, HostPathKind::Directory, None),
            (&dir, HostPathKind::DirectoryOrCreate, None),
            (&file, HostPathKind::File, None),
            (&file, HostPathKind::FileOrCreate, None),
            (&socket, HostPathKind::Socket, None),
            (null, HostPathKind::CharDevice, None),
            (Path::new("/no/such"), HostPathKind::Unchecked, None),
            (&file, HostPathKind::Directory, Some("is not a directory, it's a File")),
            (&file, HostPathKind::DirectoryOrCreate, Some("is not a directory, it's a File")),
            (&dir, HostPathKind::File, Some("is not a file, it's a Directory")),
            (&dir, HostPathKind::FileOrCreate, Some("is not a file, it's a Directory")),
            (&file, HostPathKind::Socket, Some("is not a socket file, it's a File")),
            (&socket, HostPathKind::CharDevice, Some("is not a character device, it's a Socket")),
            (null, HostPathKind::BlockDevice, Some("is not a block device, it's a CharDevice")),
        ];
        for (path, kind, problem) in cases {
            let expected =
                problem.map(|text| format!("hostPath type check failed: {} {text}", path.display()));
            let found = check(path, *kind).err().map(|error| error.to_string());
            assert_eq!(found, expected, "{} {kind:?}", path.display());
        }
        let missing = check(Path::new("/no/such"), HostPathKind::Directory).unwrap_err().to_string();
        let text = "hostPath type check failed, /no/such is not a directory, unable to determine its type: path \"/no/such\" does not exist";
        assert_eq!(missing, text);
    }

    #[test]
    fn what_is_missing_is_made_where_the_type_says_so() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/b");
        check(&dir, HostPathKind::DirectoryOrCreate).unwrap();
        assert!(dir.is_dir());
        let file = dir.join("file");
        check(&file, HostPathKind::FileOrCreate).unwrap();
        assert!(file.is_file());
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7133, 0, "at most 0644");
        let no_parent = temp.path().join("x/file");
        assert!(
            check(&no_parent, HostPathKind::FileOrCreate).is_err(),
            "only the file is made, as upstream does"
        );
    }
}
