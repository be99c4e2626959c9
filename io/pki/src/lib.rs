//! The node's certificates and keys as files of the certificate directory, in upstream's layout (CONTRACT 7.1):
//!
//! ```text
//! <cert-dir>/kubelet-client-2026-02-01-15-04-05.pem   certificates, then the key; 0600
//! <cert-dir>/kubelet-client-current.pem           ->  the one in use
//! ```
//! So either kubelet goes on with what the other left. A pair is written as a whole and put in use by one rename; a key is
//! in no file before its certificate is signed, and never readable by others.

mod pem;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use core_certificates::pod::KeyType;
use core_certificates::{Purpose, Template};
use core_types::{Secret, WallTime};
use ports::certificates::{CertificateError, CertificatePair, NewKey};
use ports::{CertificateFiles, Clock, PodKeyPair, PodKeys};

/// Largest certificate or key file that is read; a real one has a few KiB.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Longest time for a file operation: the directory may lie on a file system that hangs.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The earliest end of the certificates of a PEM text.
///
/// # Errors
/// What is wrong with it.
pub fn expiry(chain_pem: &[u8]) -> Result<WallTime, String> {
    pem::expiry(chain_pem)
}

/// Begin and end of the life of the certificates in a file; `None` when there is no such file.
///
/// # Errors
/// Why they cannot be read.
pub fn life(path: &Path) -> Result<Option<(WallTime, WallTime)>, String> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    let chain = read_bounded(path).map_err(|error| error.problem)?;
    pem::life(&chain).map(Some)
}

/// Files that are used as long as nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// None but `<prefix>.crt` and `<prefix>.key` in the directory, as in upstream.
    Directory,
    /// These.
    Files {
        /// Certificates.
        certificate: PathBuf,
        /// Key.
        key: PathBuf,
    },
}

/// The files of one certificate.
#[derive(Clone)]
pub struct HostCertificates {
    place: Arc<Place>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Place {
    directory: PathBuf,
    prefix: &'static str,
    fallback: Fallback,
}

impl HostCertificates {
    /// Files of this purpose in `--cert-dir`. Nothing is read or made yet.
    pub fn new(directory: PathBuf, purpose: Purpose, fallback: Fallback, clock: Arc<dyn Clock>) -> Self {
        Self { place: Arc::new(Place { directory, prefix: purpose.prefix(), fallback }), clock }
    }

    /// Where the pair in use is.
    pub fn current_path(&self) -> PathBuf {
        self.place.named("current")
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Place) -> Result<T, CertificateError> + Send + 'static,
    ) -> Result<T, CertificateError> {
        let place = Arc::clone(&self.place);
        let failed = |problem: &str| CertificateError {
            operation: "use the certificate directory",
            path: self.place.directory.display().to_string(),
            problem: problem.to_owned(),
        };
        match tokio::time::timeout(TIMEOUT, tokio::task::spawn_blocking(move || work(&place))).await {
            Ok(Ok(result)) => result,
            Ok(Err(_ended)) => Err(failed("the operation was cut short")),
            Err(_elapsed) => Err(failed("the file system gives no answer")),
        }
    }
}

#[async_trait]
impl CertificateFiles for HostCertificates {
    async fn current(&self) -> Result<Option<CertificatePair>, CertificateError> {
        self.blocking(Place::current).await
    }

    async fn new_key(&self, template: &Template) -> Result<NewKey, CertificateError> {
        pem::new_key(template).map_err(|problem| CertificateError {
            operation: "make a key for",
            path: template.common_name.clone(),
            problem,
        })
    }

    async fn keep(
        &self,
        chain_pem: Vec<u8>,
        key_pem: Secret<Vec<u8>>,
    ) -> Result<CertificatePair, CertificateError> {
        let now = self.clock.wall();
        self.blocking(move |place| place.keep(chain_pem, key_pem, now)).await
    }
}

impl Place {
    fn named(&self, what: &str) -> PathBuf {
        self.directory.join(format!("{}-{what}.pem", self.prefix))
    }

    fn current(&self) -> Result<Option<CertificatePair>, CertificateError> {
        let current = self.named("current");
        self.finish_interrupted(&current)?;
        if current.exists() {
            return read_pair(&current, &current).map(Some);
        }
        let (certificate, key) = match &self.fallback {
            Fallback::Files { certificate, key } if certificate.exists() && key.exists() => {
                (certificate.clone(), key.clone())
            }
            _ => {
                let file = |end: &str| self.directory.join(format!("{}.{end}", self.prefix));
                (file("crt"), file("key"))
            }
        };
        match certificate.exists() && key.exists() {
            true => read_pair(&certificate, &key).map(Some),
            false => Ok(None),
        }
    }

    /// A rename that was cut off is done now.
    fn finish_interrupted(&self, current: &Path) -> Result<(), CertificateError> {
        let updated = self.named("updated");
        match fs::read_link(&updated) {
            Ok(_) if !current.exists() => fs::rename(&updated, current).at("rename", &updated),
            _ => Ok(()),
        }
    }

    fn keep(
        &self,
        chain_pem: Vec<u8>,
        key_pem: Secret<Vec<u8>>,
        now: WallTime,
    ) -> Result<CertificatePair, CertificateError> {
        let stamp = now.to_api().0.strftime("%Y-%m-%d-%H-%M-%S").to_string();
        let file = std::path::absolute(self.named(&stamp)).at("use", &self.directory)?;
        let pair = pem::pair(chain_pem, key_pem).map_err(|problem| error("keep", &file, problem))?;
        let current = self.named("current");
        if fs::symlink_metadata(&current).is_ok_and(|found| !found.is_symlink()) {
            let problem = format!("expected {:?} to be a symlink but it is a file", current.display());
            return Err(error("replace", &current, problem));
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&self.directory)
            .at("create", &self.directory)?;
        let mut content = pair.chain_pem.clone();
        content.extend_from_slice(pair.key_pem.expose());
        write_private(&file, &content).at("write", &file)?;
        let updated = self.named("updated");
        match fs::remove_file(&updated) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", &updated)?,
            _ => {}
        }
        symlink(&file, &updated).at("link", &updated)?;
        fs::rename(&updated, &current).at("rename", &updated)?;
        Ok(pair)
    }
}

/// Writes a file that only its owner may read, and puts it in place as a whole.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

fn read_pair(certificate: &Path, key: &Path) -> Result<CertificatePair, CertificateError> {
    let (chain, key) = (read_bounded(certificate)?, read_bounded(key)?);
    pem::pair(chain, Secret::new(key)).map_err(|problem| error("read", certificate, problem))
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, CertificateError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = fs::File::open(path).at("read", path)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).at("read", path)?;
    match bytes.len() as u64 > MAX_FILE_BYTES {
        true => Err(error("read", path, format!("larger than {MAX_FILE_BYTES} bytes"))),
        false => Ok(bytes),
    }
}

fn error(operation: &'static str, path: &Path, problem: String) -> CertificateError {
    CertificateError { operation, path: path.display().to_string(), problem }
}

/// Names the file of an I/O error.
trait AtPath<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, CertificateError>;
}

impl<T> AtPath<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, CertificateError> {
        self.map_err(|cause| error(operation, path, cause.to_string()))
    }
}

/// Makes keys of pods.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostPodKeys;

#[async_trait]
impl PodKeys for HostPodKeys {
    async fn new_key(&self, key_type: KeyType) -> Result<PodKeyPair, String> {
        // A large RSA key takes a second or more.
        let made = tokio::task::spawn_blocking(move || pem::pod_key(key_type)).await;
        made.unwrap_or_else(|_ended| Err("the making of a key was cut short".to_owned()))
    }
}

#[cfg(test)]
mod tests;
