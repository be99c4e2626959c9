//! The serving certificate: read from given files, or self-signed and kept in the certificate directory (CONTRACT 7.2).
//!
//! Given files are read again when they change. A self-signed pair that cannot be read or has expired is made anew. The
//! key is 0600 from its first byte on.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use core_types::WallTime;
use ports::Clock;
use ports::certificates::CertificatePair;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use super::reload::{Reload, Reloaded};
use super::{CertificateSource, tls};
use crate::ServeError;

/// How long a self-signed certificate is good for, in days; upstream's value.
const SELF_SIGNED_DAYS: u64 = 365;

/// A certificate chain and its key, own certificate first.
pub(super) type Certificate = CertifiedKey;

/// The serving certificate of the moment.
pub(super) enum Serving {
    /// In files.
    Files(Reloaded<Certificate>),
    /// Signed by the API server.
    Signed {
        /// The newest pair.
        pair: watch::Receiver<Option<Arc<CertificatePair>>>,
        /// What was made of it.
        made: Mutex<Option<(Arc<CertificatePair>, Arc<Certificate>)>>,
        clock: Arc<dyn Clock>,
    },
}

impl Serving {
    /// The certificate for a connection that begins now; `None` when there is none that is good.
    pub(super) async fn current(&self) -> Option<Arc<Certificate>> {
        match self {
            Self::Files(files) => Some(files.current().await),
            Self::Signed { pair, made, clock } => {
                let pair = pair.borrow().clone();
                let pair = pair.filter(|pair| !pair.content.is_expired(clock.wall()))?;
                let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
                match &*made {
                    Some((of, certificate)) if Arc::ptr_eq(of, &pair) => Some(Arc::clone(certificate)),
                    _ => {
                        let certificate = from_pair(&pair)
                            .inspect_err(
                                |error| tracing::error!(%error, "the signed certificate cannot be used"),
                            )
                            .ok()?;
                        Some(Arc::clone(&made.insert((pair, Arc::new(certificate))).1))
                    }
                }
            }
        }
    }
}

fn from_pair(pair: &CertificatePair) -> Result<Certificate, ServeError> {
    let failed = |problem: String| ServeError::Tls { problem };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pair.chain_pem).collect();
    let chain = chain.map_err(|error| failed(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.expose())
        .map_err(|_error| failed("the private key is no PEM".to_owned()))?;
    CertifiedKey::from_der(chain, key, &tls::provider()).map_err(|error| failed(error.to_string()))
}

/// Reads or makes the serving certificate.
pub(super) fn load(source: &CertificateSource, clock: &Arc<dyn Clock>) -> Result<Serving, ServeError> {
    let (certificate, key, reload) = match source {
        CertificateSource::Signed(pair) => {
            let (pair, made) = (pair.clone(), Mutex::default());
            return Ok(Serving::Signed { pair, made, clock: Arc::clone(clock) });
        }
        CertificateSource::Files { certificate, key, reload } => (certificate.clone(), key.clone(), *reload),
        CertificateSource::SelfSigned { directory, host_name } => {
            let (certificate, key) = self_signed_pair(directory, host_name, clock.wall())?;
            (certificate, key, Reload::Never)
        }
    };
    let paths = vec![certificate.clone(), key.clone()];
    let pair = Reloaded::new(paths, reload, Arc::clone(clock), move || read(&certificate, &key))?;
    Ok(Serving::Files(pair))
}

/// Finds or makes the self-signed pair; its two files.
fn self_signed_pair(
    directory: &Path,
    host_name: &str,
    now: WallTime,
) -> Result<(PathBuf, PathBuf), ServeError> {
    let (certificate, key) = (directory.join("kubelet.crt"), directory.join("kubelet.key"));
    match read(&certificate, &key) {
        Ok(found) if !is_expired(&found, now) => return Ok((certificate, key)),
        Ok(_) => {
            tracing::info!(path = %certificate.display(), "the self-signed certificate has expired; making a new one")
        }
        Err(error) if certificate.exists() || key.exists() => {
            tracing::warn!(%error, "the self-signed certificate cannot be used; making a new one");
        }
        Err(_) => {}
    }
    make(directory, host_name, now)?;
    Ok((certificate, key))
}

fn read(certificate: &Path, key: &Path) -> Result<Certificate, ServeError> {
    let bad_certificate = |problem: String| file_error("serving certificate", certificate, problem);
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad_certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(bad_certificate("holds no certificate in PEM form".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| file_error("private key of the serving certificate", key, error.to_string()))?;
    // Fails as well when the key is not that of the certificate: half of a pair may have been replaced just now.
    CertifiedKey::from_der(chain, private, &tls::provider())
        .map_err(|error| bad_certificate(format!("with key {}: {error}", key.display())))
}

fn is_expired(certificate: &Certificate, now: WallTime) -> bool {
    let Some(own) = certificate.cert.first() else { return true };
    x509_parser::parse_x509_certificate(own)
        .map_or(true, |(_, parsed)| parsed.validity().not_after.timestamp() <= now.unix_secs())
}

fn make(directory: &Path, host_name: &str, now: WallTime) -> Result<(), ServeError> {
    let failed = |problem: String| file_error("self-signed certificate in", directory, problem);
    let (certificate, key) = self_signed(host_name, now).map_err(|error| failed(error.to_string()))?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .map_err(|error| failed(format!("cannot create the directory: {error}")))?;
    // The key first: a certificate without its key would be taken for a damaged pair, never for a good one.
    for (name, content) in [("kubelet.key", &key), ("kubelet.crt", &certificate)] {
        write_private(&directory.join(name), content)
            .map_err(|error| failed(format!("cannot write {name}: {error}")))?;
    }
    Ok(())
}

fn self_signed(host_name: &str, now: WallTime) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(vec![host_name.to_owned()])?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, format!("{host_name}@{}", now.unix_secs()));
    params.distinguished_name = name;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let ((year, month, day), (end_year, end_month, end_day)) = (date(now, 0), date(now, SELF_SIGNED_DAYS));
    params.not_before = rcgen::date_time_ymd(year, month, day);
    params.not_after = rcgen::date_time_ymd(end_year, end_month, end_day);
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// Year, month and day of the day `days` after `now`, UTC.
fn date(now: WallTime, days: u64) -> (i32, u8, u8) {
    let time = now + std::time::Duration::from_secs(days * 24 * 60 * 60);
    let date = time.to_api().0.to_zoned(jiff::tz::TimeZone::UTC).date();
    (i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
}

/// Writes a file that only its owner may read, and puts it in place as a whole.
fn write_private(path: &Path, content: &str) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

fn file_error(what: &'static str, path: &Path, problem: String) -> ServeError {
    ServeError::File { what, path: path.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn common_name(certificate: &Certificate) -> String {
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate.cert[0]).expect("certificate");
        parsed.subject().iter_common_name().next().expect("name").as_str().expect("text").to_owned()
    }

    #[test]
    fn a_self_signed_pair_is_kept_until_it_expires_or_is_damaged() {
        let directory = tempfile::tempdir().expect("directory");
        let source = CertificateSource::SelfSigned {
            directory: directory.path().join("pki"),
            host_name: "node-1".into(),
        };
        let at = |secs: i64| WallTime::from_unix_secs(1_800_000_000 + secs);
        let name = |now| {
            let CertificateSource::SelfSigned { directory, host_name } = &source else { unreachable!() };
            let (certificate, key) = self_signed_pair(directory, host_name, now).expect("made");
            common_name(&read(&certificate, &key).expect("certificate"))
        };

        let first = name(at(0));
        assert_eq!(first, "node-1@1800000000");
        assert_eq!(name(at(3600)), first);
        let key = directory.path().join("pki/kubelet.key");
        assert_eq!(fs::metadata(&key).expect("key").permissions().mode() & 0o777, 0o600);

        let year_later = name(at(366 * 24 * 60 * 60));
        assert_ne!(year_later, first);

        fs::write(&key, "garbage").expect("write");
        assert_eq!(name(at(5)), "node-1@1800000005");
    }

    #[test]
    fn given_files_are_never_replaced() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("tls.crt");
        fs::write(&path, "garbage").expect("write");
        let reload = Reload::WhenChanged;
        let source = CertificateSource::Files { certificate: path.clone(), key: path.clone(), reload };
        let clock: Arc<dyn Clock> = crate::testing::FakeAgent::new();
        let error = load(&source, &clock).err().expect("refused");
        assert!(error.to_string().starts_with(&format!("serving certificate {}", path.display())), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("read"), "garbage");
    }
}
