//! Keys, requests and certificates as PEM. No error holds a part of a key.

use core_certificates::pod::KeyType;
use core_certificates::{Content, Template};
use core_types::{Secret, WallTime};
use ports::PodKeyPair;
use ports::certificates::{CertificatePair, NewKey};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, RsaKeySize, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;

/// A new ECDSA P-256 key, and the request for what the template says.
pub(crate) fn new_key(template: &Template) -> Result<NewKey, String> {
    let told = |error: rcgen::Error| error.to_string();
    let key = KeyPair::generate().map_err(told)?;
    let request =
        params(template)?.serialize_request(&key).and_then(|request| request.pem()).map_err(told)?;
    Ok(NewKey { key_pem: Secret::new(key.serialize_pem().into_bytes()), request_pem: request.into_bytes() })
}

/// A new key of this type, and a request that says nothing but who has it.
pub(crate) fn pod_key(key_type: KeyType) -> Result<PodKeyPair, String> {
    let told = |error: rcgen::Error| error.to_string();
    let key = match key_type {
        KeyType::Rsa3072 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_3072),
        KeyType::Rsa4096 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096),
        KeyType::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyType::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyType::EcdsaP521 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512),
        KeyType::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
    };
    let key = key.map_err(told)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(told)?;
    Ok(PodKeyPair {
        key_pem: Secret::new(key.serialize_pem().into_bytes()),
        request_der: request.der().to_vec(),
    })
}

/// What the template says, as rcgen takes it.
pub(crate) fn params(template: &Template) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    for organization in &template.organizations {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, &template.common_name);
    params.distinguished_name = name;
    for dns_name in &template.dns_names {
        let text = dns_name.clone().try_into().map_err(|error: rcgen::Error| error.to_string())?;
        params.subject_alt_names.push(SanType::DnsName(text));
    }
    params.subject_alt_names.extend(template.ips.iter().map(|ip| SanType::IpAddress(*ip)));
    Ok(params)
}

/// A certificate and its key. Both may stand in one text; of each only its own part is kept.
pub(crate) fn pair(chain_pem: Vec<u8>, key_pem: Secret<Vec<u8>>) -> Result<CertificatePair, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain_pem).collect();
    let chain = chain.map_err(|_error| "it holds no usable PEM certificate".to_owned())?;
    let Some(own) = chain.first() else { return Err("it holds no PEM certificate".to_owned()) };
    let content = content(own)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.expose())
        .map_err(|_error| "it holds no usable PEM private key".to_owned())?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider)
        .map_err(|error| format!("certificate and key do not go together: {error}"))?;
    Ok(CertificatePair {
        chain_pem: blocks(&chain_pem, |label| label == "CERTIFICATE"),
        key_pem: Secret::new(blocks(key_pem.expose(), |label| label.ends_with("PRIVATE KEY"))),
        content,
    })
}

/// The earliest end of the certificates.
pub(crate) fn expiry(chain_pem: &[u8]) -> Result<WallTime, String> {
    life(chain_pem).map(|(_, end)| end)
}

/// The latest begin and the earliest end of the certificates.
pub(crate) fn life(chain_pem: &[u8]) -> Result<(WallTime, WallTime), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain_pem).collect();
    let chain = chain.map_err(|_error| "it holds no usable PEM certificate".to_owned())?;
    let lives: Result<Vec<_>, _> =
        chain.iter().map(|one| content(one).map(|content| (content.not_before, content.not_after))).collect();
    let lives = lives?
        .into_iter()
        .reduce(|(begin, end), (other_begin, other_end)| (begin.max(other_begin), end.min(other_end)));
    lives.ok_or_else(|| "it holds no PEM certificate".to_owned())
}

/// The PEM blocks with these labels, as they stand.
fn blocks(text: &[u8], wanted: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut inside = None;
    for line in String::from_utf8_lossy(text).lines() {
        if let Some(label) =
            line.trim().strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----"))
        {
            inside = Some(wanted(label));
        }
        if inside == Some(true) {
            out.extend_from_slice(line.trim().as_bytes());
            out.push(b'\n');
        }
        if line.trim().starts_with("-----END ") {
            inside = None;
        }
    }
    out
}

fn content(certificate: &CertificateDer<'_>) -> Result<Content, String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| format!("the certificate cannot be read: {error}"))?;
    let subject = parsed.subject();
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let dns_name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    let ip = |name: &GeneralName<'_>| match name {
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(Into::into),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(Into::into),
        },
        _ => None,
    };
    let common_name = subject.iter_common_name().last().and_then(|name| name.as_str().ok());
    Ok(Content {
        common_name: common_name.unwrap_or_default().to_owned(),
        organizations: subject
            .iter_organization()
            .filter_map(|name| name.as_str().ok().map(str::to_owned))
            .collect(),
        dns_names: names.iter().filter_map(dns_name).collect(),
        ips: names.iter().filter_map(ip).collect(),
        not_before: WallTime::from_unix_secs(parsed.validity().not_before.timestamp()),
        not_after: WallTime::from_unix_secs(parsed.validity().not_after.timestamp()),
    })
}
