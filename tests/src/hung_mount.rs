//! A file system that hangs: whoever asks for its size waits until it goes.
//!
//! It speaks as much of the kernel's FUSE protocol (`linux/fuse.h`) as a directory needs that is looked at and nothing else. Whoever
//! made it must not ask more of it: a process that waits for itself cannot even be killed.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

const INIT: u32 = 26;
const GETATTR: u32 = 3;
/// Kernels that know it take the other for an answer that it is not known here.
const STATX: u32 = 52;
const ENOSYS: i32 = 38;
/// Version of the protocol that is spoken: `FUSE_KERNEL_VERSION` and a minor one that all kernels in use know.
const VERSION: [u32; 2] = [7, 31];
/// Bytes of a request that come before what it is about.
const HEADER_BYTES: usize = 40;
/// Room for a request; the kernel takes no reader with less than it may have to say.
const BUFFER_BYTES: usize = 128 << 10;
const DIRECTORY: u32 = 0o040_755;

/// Mounted while it lives.
#[derive(Debug)]
pub struct HungMount {
    path: PathBuf,
    answers: Option<JoinHandle<()>>,
}

impl HungMount {
    /// Puts it over a directory; `None` on a kernel without FUSE.
    ///
    /// # Panics
    /// When the kernel has FUSE and does not mount it.
    #[must_use]
    pub fn over(path: &Path) -> Option<Self> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").ok()?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let options = std::ffi::CString::new(options).expect("no NUL in it");
        mount("hung", path, "fuse", MountFlags::NODEV | MountFlags::NOSUID, options.as_c_str())
            .expect("mounted");
        let answers = std::thread::spawn(move || answer(device));
        Some(Self { path: path.to_path_buf(), answers: Some(answers) })
    }
}

impl Drop for HungMount {
    fn drop(&mut self) {
        // Whoever waits for it is let go, and the thread with them.
        let _ = unmount(&self.path, UnmountFlags::FORCE);
        let _ = unmount(&self.path, UnmountFlags::DETACH);
        if let Some(answers) = self.answers.take() {
            let _ = answers.join();
        }
    }
}

/// Answers until the mount goes. Whatever is not known here is never answered.
fn answer(mut kernel: File) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(read) = kernel.read(&mut buffer) {
        let Some(request) = buffer.get(..read).filter(|request| request.len() >= HEADER_BYTES) else {
            return;
        };
        let number =
            |at: usize| u32::from_ne_bytes([request[at], request[at + 1], request[at + 2], request[at + 3]]);
        let (error, about) = match number(4) {
            INIT => (0, init()),
            GETATTR => (0, attributes()),
            STATX => (-ENOSYS, Vec::new()),
            _ => continue,
        };
        let length = u32::try_from(16 + about.len()).expect("short");
        let mut reply = Vec::from(length.to_ne_bytes());
        reply.extend(error.to_ne_bytes());
        reply.extend(&request[8..16]);
        reply.extend(about);
        if kernel.write_all(&reply).is_err() {
            return;
        }
    }
}

/// `fuse_init_out`.
fn init() -> Vec<u8> {
    let mut out: Vec<u8> = VERSION.iter().flat_map(|number| number.to_ne_bytes()).collect();
    out.extend([0; 4 + 4]);
    out.extend([16_u16, 12].iter().flat_map(|number| number.to_ne_bytes()));
    out.extend(4096_u32.to_ne_bytes());
    out.resize(64, 0);
    out
}

/// `fuse_attr_out` of a directory, good for an hour.
fn attributes() -> Vec<u8> {
    let mut out = Vec::from(3600_u64.to_ne_bytes());
    out.extend([0; 4 + 4]);
    // inode, size, blocks, three times
    out.extend([1_u64, 0, 0, 0, 0, 0].iter().flat_map(|number| number.to_ne_bytes()));
    // nanoseconds of the times, then mode, links, owner, group, device, size of a block
    out.extend([0, 0, 0, DIRECTORY, 2, 0, 0, 0, 4096, 0].iter().flat_map(|number| number.to_ne_bytes()));
    out
}
