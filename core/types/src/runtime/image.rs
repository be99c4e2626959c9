//! Images and what is needed to pull them.

use std::fmt;

use crate::WallTime;

/// One image of the runtime's store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// ID.
    pub id: String,
    /// Tags that name it.
    pub repo_tags: Vec<String>,
    /// Digests that name it.
    pub repo_digests: Vec<String>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Numeric user of the image's config.
    pub uid: Option<i64>,
    /// User name of the image's config, when it is not numeric.
    pub username: String,
    /// Must not be removed.
    pub pinned: bool,
}

/// Credentials for one pull. `Debug` shows nothing of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ImageAuth {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
    /// Base64 of `user:password`.
    pub auth: String,
    /// Registry the credentials are for.
    pub server_address: String,
    /// OAuth identity token.
    pub identity_token: String,
    /// Bearer token.
    pub registry_token: String,
}

impl fmt::Debug for ImageAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ImageAuth(hidden)")
    }
}

/// Use of one file system that holds images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFilesystem {
    /// When it was measured.
    pub timestamp: WallTime,
    /// Mount point or directory.
    pub mountpoint: String,
    /// Bytes used by images.
    pub used_bytes: u64,
    /// Inodes used by images.
    pub inodes_used: u64,
}
