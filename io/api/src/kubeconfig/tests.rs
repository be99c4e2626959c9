//! Kubeconfigs that can be used, and those that cannot: what is said of them, and what is not.

use rcgen::{CertificateParams, KeyPair};
use std::fs;

use super::*;

struct Files {
    dir: tempfile::TempDir,
    certificate: String,
    key: String,
}

fn files() -> Files {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["n1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let files = Files { dir, certificate: certificate.pem(), key: key.serialize_pem() };
    fs::write(files.dir.path().join("ca.crt"), &files.certificate).unwrap();
    fs::write(files.dir.path().join("client.pem"), format!("{}{}", files.certificate, files.key)).unwrap();
    files
}

fn load(files: &Files, cluster: &str, user: &str) -> Result<Kubeconfig, String> {
    let path = files.dir.path().join("kubelet.conf");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{cluster: k, user: u}}\n\
         clusters:\n- name: k\n  cluster: {cluster}\nusers:\n- name: u\n  user: {user}\n"
    );
    fs::write(&path, text).unwrap();
    Kubeconfig::load(&path).map_err(|error| error.to_string())
}

#[test]
fn files_are_looked_for_beside_the_kubeconfig_and_data_wins() {
    let files = files();
    let cluster = "{server: 'https://[::1]:6443/base/', certificate-authority: ca.crt}";
    let both = "{client-certificate: client.pem, client-key: client.pem}";
    let loaded = load(&files, cluster, both).unwrap();
    assert_eq!((loaded.server.host.as_str(), loaded.server.port), ("::1", 6443));
    assert_eq!((loaded.server.prefix.as_str(), loaded.server.authority()), ("/base", "[::1]:6443"));

    let data = format!(
        "{{client-certificate-data: {}, client-key-data: {}, client-certificate: /nowhere}}",
        STANDARD.encode(&files.certificate),
        STANDARD.encode(&files.key)
    );
    load(&files, cluster, &data).unwrap();
    fs::write(files.dir.path().join("token"), "t0ken\n").unwrap();
    let loaded =
        load(&files, "{server: https://a, insecure-skip-tls-verify: true}", "{tokenFile: token}").unwrap();
    assert!(matches!(loaded.credentials.token, Token::File(path) if path.ends_with("token")));
}

#[test]
fn what_cannot_be_used_is_named_and_secrets_are_not_shown() {
    let files = files();
    let cluster = "{server: 'https://a', certificate-authority: ca.crt}";
    let cases = [
        (cluster, "{exec: {command: x}}", "exec cannot be used: credential plugins are not supported"),
        (cluster, "{username: u, password: s3cret}", "username cannot be used"),
        (cluster, "{client-certificate: client.pem}", "it has a client-certificate but no client-key"),
        (
            cluster,
            "{client-key-data: s3cret!, client-certificate: client.pem}",
            "client-key-data is no base64",
        ),
        (cluster, "{tokenFile: none}", "/none: No such file or directory"),
        (cluster, "{token: [s3cret]}", "the field users[0].user.token has the wrong type"),
        (
            "{server: 'http://a'}",
            "{token: s3cret}",
            "server \"http://a\" cannot be used: it must begin with https://",
        ),
        ("{server: 'https://u:s3cret@a'}", "{}", "it holds a user name or password"),
        ("{server: 'https://a', proxy-url: 'http://p'}", "{}", "proxy-url cannot be used"),
        (
            "{server: 'https://a', certificate-authority-data: aGk=}",
            "{}",
            "certificate-authority: it holds no usable",
        ),
    ];
    for (cluster, user, want) in cases {
        let error = load(&files, cluster, user).unwrap_err();
        assert!(error.contains(want) && error.contains("kubelet.conf"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
    let path = files.dir.path().join("kubelet.conf");
    fs::write(&path, "current-context: x\n").unwrap();
    let error = Kubeconfig::load(&path).unwrap_err().to_string();
    assert!(error.ends_with("it has no context with the name \"x\""), "{error}");
    let error = Kubeconfig::load(&files.dir.path().join("gone")).unwrap_err().to_string();
    assert!(error.contains("gone: No such file"), "{error}");
    let secret = load(&files, cluster, "{token: s3cret}").unwrap();
    assert!(!format!("{secret:?}").contains("s3cret"));
}

#[test]
fn a_written_kubeconfig_leads_to_the_same_server_with_another_identity() {
    use std::os::unix::fs::PermissionsExt as _;
    let files = files();
    let cluster = "{server: 'https://[::1]:6443/base', certificate-authority: ca.crt}";
    let bootstrap = load(&files, cluster, "{token: t0ken}").unwrap();
    assert!(bootstrap.identity.identity().is_none());
    let written = files.dir.path().join("new/kubelet.kubeconfig");
    bootstrap.write_for(&written, &files.dir.path().join("client.pem")).unwrap();
    assert_eq!(fs::metadata(&written).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&written).unwrap().contains("t0ken"));
    let loaded = Kubeconfig::load(&written).unwrap();
    assert_eq!(loaded.server, bootstrap.server);
    assert_eq!(loaded.cluster, bootstrap.cluster);
    let IdentitySource::Files { certificate, key, .. } = loaded.identity else { panic!("no files") };
    assert_eq!((&certificate, &key), (&files.dir.path().join("client.pem"), &certificate));
}
