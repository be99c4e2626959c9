//! Reads the files that make up the configuration (CONTRACT 1.4): the file of `--config`, and below `--config-dir` those
//! whose names end in `.conf`.
//!
//! Directories are walked down in the lexical order of their paths; a symlink is read as the file it leads to, and never
//! walked into, as upstream does. Every file is bounded. Which file wins is decided in `core-config`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use core_config::{InputFile, is_drop_in};

/// Bound of one file. The whole configuration with every field set has less than 20 KiB.
const MAX_BYTES: u64 = 10 << 20;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// The file of `--config`.
    pub(crate) config: Option<InputFile>,
    /// Drop-ins in lexical order.
    pub(crate) drop_ins: Vec<InputFile>,
    /// Files below `--config-dir` that are no drop-ins by their names.
    pub(crate) skipped: Vec<PathBuf>,
}

/// Why a file of the configuration was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    /// The system refused.
    #[error("{flag}: {operation} {}", path.display())]
    Io {
        /// The flag that led here.
        flag: &'static str,
        /// `read` or `list`.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// More than [`MAX_BYTES`].
    #[error("{flag}: {} is larger than {} MiB, that is no kubelet configuration", path.display(), MAX_BYTES >> 20)]
    TooLarge {
        /// The flag that led here.
        flag: &'static str,
        /// The file.
        path: PathBuf,
    },
}

/// Reads both.
pub(crate) fn read(config: Option<&Path>, config_dir: Option<&Path>) -> Result<Files, FilesError> {
    let mut files = Files::default();
    if let Some(path) = config {
        files.config = Some(read_file("--config", path)?);
    }
    if let Some(directory) = config_dir {
        read_directory(directory, &mut files)?;
    }
    Ok(files)
}

fn read_directory(root: &Path, files: &mut Files) -> Result<(), FilesError> {
    const FLAG: &str = "--config-dir";
    let list = |directory: &Path| {
        let failed =
            |source| FilesError::Io { flag: FLAG, operation: "list", path: directory.to_path_buf(), source };
        let entries = fs::read_dir(directory).map_err(failed)?;
        let mut entries = entries.collect::<io::Result<Vec<_>>>().map_err(failed)?;
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
        Ok(entries)
    };
    // The last entry is the next one, so every list is put on top in reverse.
    let mut left = list(root)?;
    while let Some(entry) = left.pop() {
        let path = entry.path();
        let kind = entry.file_type().map_err(|source| FilesError::Io {
            flag: FLAG,
            operation: "read",
            path: path.clone(),
            source,
        })?;
        if kind.is_dir() {
            left.extend(list(&path)?);
        } else if is_drop_in(&path) {
            files.drop_ins.push(read_file(FLAG, &path)?);
        } else {
            files.skipped.push(path);
        }
    }
    Ok(())
}

fn read_file(flag: &'static str, path: &Path) -> Result<InputFile, FilesError> {
    let failed = |source| FilesError::Io { flag, operation: "read", path: path.to_path_buf(), source };
    let absolute = std::path::absolute(path).map_err(failed)?;
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(FilesError::TooLarge { flag, path: path.to_path_buf() });
    }
    Ok(InputFile { path: absolute, bytes })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::causes;

    fn write(directory: &Path, name: &str, content: &[u8]) {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn drop_ins_come_in_lexical_order_and_others_are_skipped() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["20.conf", "10/b.conf", "10/a.conf", "10-x.conf", "note.txt"] {
            write(temp.path(), name, name.as_bytes());
        }
        let outside = tempfile::tempdir().unwrap();
        write(outside.path(), "hidden.conf", b"never read");
        symlink(outside.path(), temp.path().join("linked")).unwrap();
        symlink(outside.path().join("hidden.conf"), temp.path().join("30.conf")).unwrap();

        let files = read(None, Some(temp.path())).unwrap();
        let name = |path: &Path| path.strip_prefix(temp.path()).unwrap().to_str().unwrap().to_owned();
        let read: Vec<_> = files.drop_ins.iter().map(|file| name(&file.path)).collect();
        assert_eq!(read, ["10/a.conf", "10/b.conf", "10-x.conf", "20.conf", "30.conf"]);
        assert_eq!(files.drop_ins[4].bytes, b"never read");
        let skipped: Vec<_> = files.skipped.iter().map(|path| name(path)).collect();
        assert_eq!(skipped, ["linked", "note.txt"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let missing = temp.path().join("no");
        let error = causes::text(&read(Some(&missing), None).unwrap_err());
        assert_eq!(
            error,
            format!("--config: read {}: No such file or directory (os error 2)", missing.display())
        );
        let error = causes::text(&read(None, Some(&missing)).unwrap_err());
        assert!(error.starts_with(&format!("--config-dir: list {}: No such", missing.display())), "{error}");

        symlink(temp.path(), temp.path().join("loop.conf")).unwrap();
        let error = causes::text(&read(None, Some(temp.path())).unwrap_err());
        assert!(error.contains("loop.conf: Is a directory"), "{error}");
    }

    #[test]
    fn files_are_bounded() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("config.yaml");
        let file = File::create(&path).unwrap();
        file.set_len(MAX_BYTES).unwrap();
        assert_eq!(read(Some(&path), None).unwrap().config.unwrap().bytes.len() as u64, MAX_BYTES);
        file.set_len(MAX_BYTES + 1).unwrap();
        assert!(matches!(read(Some(&path), None), Err(FilesError::TooLarge { .. })));
        assert!(matches!(read(Some(Path::new("/dev/zero")), None), Err(FilesError::TooLarge { .. })));
    }
}
