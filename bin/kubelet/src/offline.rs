//! The sealed file of a start without the API server: where it is, and that nothing of it stays when it is not wanted.

use std::path::Path;
use std::sync::Arc;

use agent::OfflineOutside;
use core_config::Options;
use core_types::local::{OFFLINE_FILE, OWN_DIR};
use io_host::{HostSealedFile, SealKey, SealedPlace};
use ports::SealedFile as _;

/// In [`OWN_DIR`], unless `--offline-start-key` names another place.
const KEY: &str = "offline.key";
/// What the file is sealed for.
const PURPOSE: &str = "start without the API server";

/// What a start without the API server at `server` needs; `None` when it is switched off or there is no server. Then what was
/// kept is removed.
pub(crate) async fn outside(
    options: &Options,
    root: &Path,
    server: Option<String>,
) -> Option<OfflineOutside> {
    let key = match &options.own.offline_start_key {
        Some(path) => SealKey::At(path.clone()),
        None => SealKey::Beside(KEY.to_owned()),
    };
    let place = SealedPlace { dir: root.join(OWN_DIR), name: OFFLINE_FILE.to_owned(), key, purpose: PURPOSE };
    let file = HostSealedFile::new(place);
    if let Some(server) = server.filter(|_| options.own.offline_start) {
        return Some(OfflineOutside { file: Arc::new(file), server });
    }
    if let Err(error) = file.remove().await {
        tracing::error!(%error, "what was kept for a start without the API server cannot be removed; remove it by hand");
    }
    None
}
