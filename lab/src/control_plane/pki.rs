//! The control plane's certificate authority and keys, and kubeconfigs for the identities of tests.
//!
//! Writes: `<name>.crt` and `<name>.key` below one folder, and `<name>.kubeconfig` beside them. One authority signs
//! everything: the server, the clients, and what the controller manager signs for certificate requests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::{Value, json};

/// As whom the API server passes requests on to API servers of others; they believe nobody else about who asks.
pub(super) const AGGREGATOR: &str = "aggregator";

/// Until when certificates are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// For longer than any test runs.
    Valid,
    /// They were valid once.
    Expired,
}

/// Who a client certificate says that one is.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// User name.
    pub user: &'a str,
    /// The one group.
    pub group: &'a str,
    /// Until when.
    pub validity: Validity,
}

/// The authority and its files.
#[derive(Debug)]
pub(super) struct Pki {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    /// Makes the authority, the service account key, and the API server's own certificates.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "podwright-lab-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        write(&dir.join("ca.crt"), &params.self_signed(&key)?.pem())?;
        write(&dir.join("ca.key"), &key.serialize_pem())?;
        let pki = Self { dir: dir.to_owned(), issuer: Issuer::new(params, key) };
        let account = KeyPair::generate()?;
        write(&pki.file("service-account.key"), &account.serialize_pem())?;
        write(&pki.file("service-account.pub"), &account.public_key_pem())?;
        pki.server_certificate()?;
        pki.client_certificate(
            "kubelet-client",
            Identity {
                user: "kube-apiserver-kubelet-client",
                group: "system:masters",
                validity: Validity::Valid,
            },
        )?;
        let aggregator = Identity { user: AGGREGATOR, group: "podwright-lab", validity: Validity::Valid };
        pki.client_certificate(AGGREGATOR, aggregator)?;
        Ok(pki)
    }

    /// A file of the authority.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes a kubeconfig for `identity` at the API server `url`.
    pub(super) fn client_kubeconfig(&self, name: &str, identity: Identity<'_>, url: &str) -> Result<PathBuf> {
        let (certificate, key) = self.client_certificate(name, identity)?;
        self.kubeconfig(name, &json!({ "client-certificate": certificate, "client-key": key }), url)
    }

    /// Writes a kubeconfig with these credentials.
    pub(super) fn kubeconfig(&self, name: &str, user: &Value, url: &str) -> Result<PathBuf> {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "lab",
                "cluster": { "server": url, "certificate-authority": self.file("ca.crt") },
            }],
            "users": [{ "name": name, "user": user }],
            "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": name } }],
            "current-context": "lab",
        });
        let file = self.file(&format!("{name}.kubeconfig"));
        write(&file, &serde_json::to_string_pretty(&config)?)?;
        Ok(file)
    }

    fn server_certificate(&self) -> Result<()> {
        let names = ["127.0.0.1", "::1", "localhost", "kubernetes", "kubernetes.default.svc", "10.96.0.1"];
        let mut params = CertificateParams::new(names.map(str::to_owned))?;
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign("apiserver", params)?;
        Ok(())
    }

    fn client_certificate(&self, name: &str, identity: Identity<'_>) -> Result<(PathBuf, PathBuf)> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, identity.user);
        params.distinguished_name.push(DnType::OrganizationName, identity.group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if identity.validity == Validity::Expired {
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        }
        self.sign(name, params)
    }

    fn sign(&self, name: &str, mut params: CertificateParams) -> Result<(PathBuf, PathBuf)> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let files = (self.file(&format!("{name}.crt")), self.file(&format!("{name}.key")));
        write(&files.0, &certificate.pem())?;
        write(&files.1, &key.serialize_pem())?;
        Ok(files)
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("{}", file.display()))
}
