//! `/proc/self/mountinfo`: what is mounted where.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use ports::FileError;

use crate::error::AtPath;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// `major:minor` of the file system.
    pub device: String,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// Optional fields, e.g. `shared:1`.
    pub propagation: Vec<String>,
    /// File system type.
    pub fs_type: String,
    /// Source, often a device.
    pub source: PathBuf,
    /// Options of the file system itself, e.g. the controllers of a cgroup v1 hierarchy.
    pub super_options: Vec<String>,
}

/// The mounts of this process's mount namespace, in the order they were made.
pub fn read() -> Result<Vec<Mount>, FileError> {
    let path = Path::new("/proc/self/mountinfo");
    Ok(parse(&std::fs::read(path).at("read", path)?))
}

/// Parses the text; lines that are not understood are left out.
pub fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|&byte| byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let device = utf8(fields.nth(2)?);
    let mount_point = fields.nth(1)?;
    fields.next()?;
    let propagation = fields.by_ref().take_while(|&field| field != b"-").map(utf8).collect();
    let fs_type = utf8(fields.next()?);
    let source = fields.next()?;
    let super_options = utf8(fields.next()?).split(',').map(str::to_owned).collect();
    Some(Mount {
        device,
        mount_point: unescape(mount_point),
        propagation,
        fs_type,
        source: unescape(source),
        super_options,
    })
}

fn utf8(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

/// The kernel writes space, tab, newline and backslash as `\ooo`.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let code =
            after.get(..3).filter(|code| byte == b'\\' && code.iter().all(|c| (b'0'..=b'7').contains(c)));
        match code {
            Some(code) => {
                let value = code.iter().fold(0u32, |value, digit| value * 8 + u32::from(digit - b'0'));
                out.push(u8::try_from(value).unwrap_or(b'?'));
                rest = &after[3..];
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_field_by_field() {
        let text = b"36 35 98:0 /mnt1 /mnt/a\\040b\\134c rw,noatime shared:7 master:1 - cgroup /dev/x rw,cpu,cpuacct\nbroken\n";
        assert_eq!(
            parse(text),
            [Mount {
                device: "98:0".into(),
                mount_point: "/mnt/a b\\c".into(),
                propagation: vec!["shared:7".into(), "master:1".into()],
                fs_type: "cgroup".into(),
                source: "/dev/x".into(),
                super_options: vec!["rw".into(), "cpu".into(), "cpuacct".into()],
            }]
        );
    }

    #[test]
    fn this_machine_has_proc_mounted() {
        assert!(
            read()
                .unwrap()
                .iter()
                .any(|mount| mount.mount_point == Path::new("/proc") && mount.fs_type == "proc")
        );
    }
}
