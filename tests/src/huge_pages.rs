//! Huge pages that a test has the kernel set aside.
//!
//! Writes: `/proc/sys/vm/nr_hugepages`, and what it held when the test is over.

use std::fs;

/// Huge pages of 2 MiB that the machine sets aside while this lives.
pub struct HugePages {
    before: String,
}

impl HugePages {
    const COUNT: &str = "/proc/sys/vm/nr_hugepages";
    const FREE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";

    /// `None` when the kernel has not so many.
    #[must_use]
    pub fn reserve(pages: u64) -> Option<Self> {
        let before = fs::read_to_string(Self::COUNT).ok()?;
        let this = Self { before };
        fs::write(Self::COUNT, pages.to_string()).ok()?;
        (number(Self::COUNT)? >= pages).then_some(this)
    }

    /// How many nobody uses.
    #[must_use]
    pub fn free(&self) -> u64 {
        number(Self::FREE).unwrap_or_else(|| panic!("{} holds a number", Self::FREE))
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        // A machine that cannot give them back keeps them until it starts anew.
        let _ = fs::write(Self::COUNT, &self.before);
    }
}

fn number(file: &str) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}
