//! Memory of the agent's own process that a burst of work has left behind.
//!
//! Reads `/proc/self/maps`. Guarantees: nothing changes for who runs: free heap goes back to the system, and code and constants of the
//! program are unmapped; what of it is used again comes back from the page cache or the file.

use std::fs;
use std::io;
use std::path::Path;

const MAPS: &str = "/proc/self/maps";
const PROGRAM: &str = "/proc/self/exe";

/// Gives back what is not in use. Cheap; meant for the beginning of a rest.
///
/// # Errors
/// The process's own mappings cannot be read; the heap was given back then all the same.
pub fn give_back() -> io::Result<()> {
    trim_heap();
    let program = fs::read_link(PROGRAM)?;
    for (start, length) in as_in_file(&fs::read_to_string(MAPS)?, &program) {
        let_go(start, length);
    }
    Ok(())
}

/// Addresses and lengths of the mappings that hold `program`'s code, and of what it only reads at the beginning of its file: constants
/// and tables for unwinding. Others are left alone: relocated data is in no file.
fn as_in_file<'a>(maps: &'a str, program: &'a Path) -> impl Iterator<Item = (usize, usize)> + 'a {
    maps.lines().filter_map(move |line| {
        let mut fields = line.split_whitespace();
        let (range, permissions) = (fields.next()?, fields.next()?);
        let offset = fields.next()?;
        let path = fields.nth(2)?;
        let (start, end) = range.split_once('-')?;
        let address = |text: &str| usize::from_str_radix(text, 16).ok();
        let is_as_in_file = permissions == "r-xp" || (permissions == "r--p" && address(offset)? == 0);
        (is_as_in_file && Path::new(path) == program)
            .then_some((address(start)?, address(end)?.checked_sub(address(start)?)?))
    })
}

#[allow(unsafe_code)]
fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim gives free memory back to the system and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[allow(unsafe_code)]
fn let_go(start: usize, length: usize) {
    // SAFETY: the range is a private, never written mapping of a file: pages that are let go of are read from it again when they are
    // touched. A range that is not mapped any more gives an error, which changes nothing.
    unsafe {
        libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_as_in_the_programs_file_is_let_go() {
        let maps = "\
            800-1000 r--p 00000000 fe:01 12 /usr/bin/kubelet\n\
            1000-3000 r-xp 00010000 fe:01 12 /usr/bin/kubelet\n\
            3000-4000 r--p 00030000 fe:01 12 /usr/bin/kubelet\n\
            4000-5000 rw-p 00040000 fe:01 12 /usr/bin/kubelet\n\
            7000-8000 r-xp 00000000 fe:01 13 /lib/x86_64-linux-gnu/libc.so.6\n\
            8000-9000 rw-p 00000000 00:00 0 \n\
            9000-a000 r-xp 00000000 00:00 0 [vdso]\n";
        let found: Vec<_> = as_in_file(maps, Path::new("/usr/bin/kubelet")).collect();
        assert_eq!(found, [(0x800, 0x800), (0x1000, 0x2000)]);
    }

    #[test]
    fn the_process_goes_on_with_less() {
        let resident = || {
            let statm = fs::read_to_string("/proc/self/statm").unwrap();
            statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
        };
        let heap: Vec<Vec<u8>> = (0..10_000).map(|number| vec![1; 1_000 + number % 7]).collect();
        assert_eq!(heap.iter().filter(|block| block[0] == 1).count(), 10_000);
        drop(heap);
        let before = resident();
        give_back().unwrap();
        assert!(resident() < before, "{} pages after {before}", resident());
    }
}
