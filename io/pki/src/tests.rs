//! Pairs in temporary certificate directories.

use std::os::unix::fs::PermissionsExt;

use core_certificates::{NamesAlone, NodeAddress};
use core_types::MonoTime;
use rcgen::{CertificateParams, Issuer, KeyPair};
use x509_parser::prelude::FromDer as _;

use super::*;

struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> MonoTime {
        MonoTime::ZERO
    }

    fn wall(&self) -> WallTime {
        WallTime::from_unix_secs(1_770_000_000)
    }
}

/// Signs a certificate of the template for the key.
fn sign(template: &Template, new: &NewKey) -> Vec<u8> {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = Issuer::new(ca, KeyPair::generate().unwrap());
    let key = KeyPair::from_pem(std::str::from_utf8(new.key_pem.expose()).unwrap()).unwrap();
    pem::params(template).unwrap().signed_by(&key, &issuer).unwrap().pem().into_bytes()
}

#[tokio::test]
async fn a_request_says_what_the_template_says() {
    use x509_parser::prelude::FromDer as _;
    let temp = tempfile::tempdir().unwrap();
    let new = files(temp.path(), Fallback::Directory).new_key(&Template::client("n1")).await.unwrap();
    let (_, block) = x509_parser::pem::parse_x509_pem(&new.request_pem).unwrap();
    assert_eq!(block.label, "CERTIFICATE REQUEST");
    let (_, request) =
        x509_parser::certification_request::X509CertificationRequest::from_der(&block.contents).unwrap();
    let subject = request.certification_request_info.subject.to_string();
    assert_eq!(subject, "O=system:nodes, CN=system:node:n1");
    assert!(fs::read_dir(temp.path().join("pki")).is_err(), "nothing is written before it is signed");
}

fn files(directory: &Path, fallback: Fallback) -> HostCertificates {
    HostCertificates::new(directory.join("pki"), Purpose::Serving, fallback, Arc::new(StillClock))
}

#[tokio::test]
async fn a_signed_pair_is_in_use_and_comes_back() {
    let temp = tempfile::tempdir().unwrap();
    let files = files(temp.path(), Fallback::Directory);
    assert_eq!(files.current().await, Ok(None));
    let addresses = [NodeAddress::Ip("10.0.0.1".into()), NodeAddress::Hostname("node-1".into())];
    let template = Template::serving("n1", &addresses, NamesAlone::NotEnough).unwrap();
    let new = files.new_key(&template).await.unwrap();
    let kept = files.keep(sign(&template, &new), new.key_pem.clone()).await.unwrap();
    assert!(kept.content.satisfies(&template), "{:?}", kept.content);
    assert_eq!(files.current().await, Ok(Some(kept.clone())));

    let current = temp.path().join("pki/kubelet-server-current.pem");
    let file = fs::read_link(&current).unwrap();
    assert_eq!(file, temp.path().join("pki/kubelet-server-2026-02-02-02-40-00.pem"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.find("CERTIFICATE").unwrap() < text.find("PRIVATE KEY").unwrap());
    assert!(!format!("{kept:?} {new:?}").contains("PRIVATE"));

    let other = files.new_key(&template).await.unwrap();
    let wrong = files.keep(sign(&template, &other), new.key_pem.clone()).await.unwrap_err();
    assert!(wrong.problem.starts_with("certificate and key do not go together"), "{wrong}");
    assert_eq!(files.current().await, Ok(Some(kept.clone())), "the old pair stays");

    // The last step of a rotation was cut off.
    fs::rename(&current, temp.path().join("pki/kubelet-server-updated.pem")).unwrap();
    assert_eq!(files.current().await, Ok(Some(kept)));
}

#[tokio::test]
async fn given_files_serve_until_something_is_signed_and_a_file_is_no_link() {
    let temp = tempfile::tempdir().unwrap();
    let given = (temp.path().join("tls.crt"), temp.path().join("tls.key"));
    let fallback = Fallback::Files { certificate: given.0.clone(), key: given.1.clone() };
    let files = files(temp.path(), fallback);
    let template = Template::client("n1");
    let new = files.new_key(&template).await.unwrap();
    fs::write(&given.0, sign(&template, &new)).unwrap();
    fs::write(&given.1, new.key_pem.expose()).unwrap();
    assert!(files.current().await.unwrap().unwrap().content.satisfies(&template));
    fs::create_dir(temp.path().join("pki")).unwrap();
    fs::write(files.current_path(), "garbage").unwrap();
    assert!(files.current().await.is_err());
    let refused = files.keep(sign(&template, &new), new.key_pem).await.unwrap_err();
    assert!(refused.problem.contains("to be a symlink but it is a file"), "{refused}");
}

#[tokio::test]
async fn each_type_of_key_of_a_pod_is_made_with_an_empty_request() {
    for key_type in
        [KeyType::Rsa3072, KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::EcdsaP521, KeyType::Ed25519]
    {
        let PodKeyPair { key_pem, request_der } = HostPodKeys.new_key(key_type).await.unwrap();
        assert!(key_pem.expose().starts_with(b"-----BEGIN PRIVATE KEY-----"), "{key_type:?}");
        let (_, request) =
            x509_parser::certification_request::X509CertificationRequest::from_der(&request_der).unwrap();
        let info = &request.certification_request_info;
        assert_eq!(
            (info.subject.iter().count(), request.requested_extensions().is_some()),
            (0, false),
            "{key_type:?}"
        );
    }
}
