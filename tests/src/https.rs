//! A client for port 10250, which takes whatever certificate the server shows, and certificates for its users.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
};

/// How long connecting, and each read or write, may usually take.
const LIMIT: Duration = Duration::from_secs(10);

/// Who a client says it is.
#[derive(Debug)]
pub struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// An authority that signs client certificates.
#[derive(Debug)]
pub struct Authority {
    file: PathBuf,
    params: CertificateParams,
    key: KeyPair,
}

impl Authority {
    /// Makes an authority and writes its certificate to `<dir>/client-ca.crt`.
    #[track_caller]
    pub fn new(dir: &Path) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "clients");
        let file = dir.join("client-ca.crt");
        fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { file, params, key }
    }

    /// The file for `clientCAFile`.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// A certificate for `user`.
    #[track_caller]
    pub fn sign(&self, user: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Identity { certificate: certificate.der().to_vec(), key: key.serialize_der() }
    }
}

/// GETs `path` from port `port` of loopback over TLS; returns status and body.
#[track_caller]
pub fn get(port: u16, path: &str, identity: Option<&Identity>) -> (u16, String) {
    ask(port, "GET", path, "", identity)
}

/// POSTs nothing to `path`; returns status and body.
#[track_caller]
pub fn post(port: u16, path: &str, identity: Option<&Identity>) -> (u16, String) {
    ask(port, "POST", path, "", identity)
}

/// Sends a request with a body; returns status and body.
#[track_caller]
pub fn ask(port: u16, method: &str, path: &str, body: &str, identity: Option<&Identity>) -> (u16, String) {
    let config = config(identity);
    let connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let limit = lab::wait::patient(LIMIT);
    let socket = TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), limit).unwrap();
    socket.set_read_timeout(Some(limit)).unwrap();
    socket.set_write_timeout(Some(limit)).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    // HTTP/1.0 keeps the body free of chunks.
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        // Closing without TLS's goodbye is no fault once there is an answer.
        assert!(!bytes.is_empty(), "{path}: {error}");
    }
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or_else(|| panic!("{path}: no status in {head:?}")), body.to_owned())
}

/// TLS for a client that takes any server certificate and shows its own.
#[track_caller]
pub(crate) fn config(identity: Option<&Identity>) -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakeAny(provider)));
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = vec![CertificateDer::from(identity.certificate.clone())];
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.clone()));
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

/// Takes any server certificate, but checks that the server holds its key.
#[derive(Debug)]
struct TakeAny(Arc<CryptoProvider>);

impl ServerCertVerifier for TakeAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
