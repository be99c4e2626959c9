//! A kubeconfig file: where the API server is and who one is there (CONTRACT 1.7, 7.1).
//!
//! Reads the file and every file that it names; paths in it start at its own folder, and data in it wins over a path, as in client-go.
//! What it asks for and this client does not do (credential plugins, proxies, user names with passwords, impersonation) is refused
//! with the field named. No error shows a token, a key or any other part of the content.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core_types::Secret;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::credentials::{ClientIdentity, Credentials, CredentialsError, ServerTrust, Token};
use crate::server::{Server, ServerError};

/// Largest kubeconfig, certificate, key or token file that is read; a real one has a few KiB.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A kubeconfig that can be used.
#[derive(Debug)]
pub struct Kubeconfig {
    /// Where the API server is.
    pub server: Server,
    /// Whom to trust, and who one is.
    pub credentials: Credentials,
    /// Whom to trust.
    pub trust: ServerTrust,
    /// Where the client certificate is.
    pub identity: IdentitySource,
    /// What another kubeconfig for the same server must say.
    pub cluster: ClusterEntry,
}

/// Where a kubeconfig has its client certificate.
#[derive(Clone, Debug)]
pub enum IdentitySource {
    /// It has none.
    Missing,
    /// In itself.
    Inline(ClientIdentity),
    /// In files.
    Files {
        /// Certificates.
        certificate: PathBuf,
        /// Key.
        key: PathBuf,
        /// What they hold.
        identity: ClientIdentity,
    },
}

impl IdentitySource {
    /// The certificate and key.
    pub fn identity(&self) -> Option<&ClientIdentity> {
        match self {
            Self::Missing => None,
            Self::Inline(identity) | Self::Files { identity, .. } => Some(identity),
        }
    }
}

/// The server's entry of a kubeconfig, with paths as they are from anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterEntry {
    server: String,
    tls_server_name: String,
    insecure_skip_tls_verify: bool,
    certificate_authority: String,
    certificate_authority_data: String,
}

/// Why a kubeconfig cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// A file cannot be read.
    #[error("kubeconfig {}: read {}: {source}", kubeconfig.display(), path.display())]
    Read {
        /// The kubeconfig.
        kubeconfig: PathBuf,
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("kubeconfig {}: it cannot be written: {source}", path.display())]
    Write {
        /// The kubeconfig.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The content is not what it should be.
    #[error("kubeconfig {}: {problem}", kubeconfig.display())]
    Content {
        /// The kubeconfig.
        kubeconfig: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The server's URL cannot be used.
    #[error("kubeconfig {}: {source}", kubeconfig.display())]
    Server {
        /// The kubeconfig.
        kubeconfig: PathBuf,
        /// Cause.
        source: ServerError,
    },
    /// Certificates or keys cannot be used.
    #[error("kubeconfig {}: {source}", kubeconfig.display())]
    Credentials {
        /// The kubeconfig.
        kubeconfig: PathBuf,
        /// Cause.
        source: CredentialsError,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Document {
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
    contexts: Vec<NamedContext>,
    current_context: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    tls_server_name: String,
    insecure_skip_tls_verify: bool,
    certificate_authority: String,
    certificate_authority_data: String,
    proxy_url: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    #[serde(deserialize_with = "hidden")]
    client_key_data: Secret<String>,
    #[serde(deserialize_with = "hidden")]
    token: Secret<String>,
    #[serde(rename = "tokenFile")]
    token_file: String,
    username: String,
    exec: Option<Value>,
    auth_provider: Option<Value>,
    #[serde(rename = "as")]
    impersonated: String,
}

fn hidden<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret<String>, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

impl Kubeconfig {
    /// Reads the file and what it names.
    ///
    /// # Errors
    /// When a file cannot be read, or the current context does not lead to a server and an identity that this client can use.
    pub fn load(path: &Path) -> Result<Self, KubeconfigError> {
        let reader = Reader { kubeconfig: path };
        let document = reader.document()?;
        let context = reader.named("context", &document.current_context, &document.contexts, |named| {
            (&named.name, &named.context)
        })?;
        let cluster = reader
            .named("cluster", &context.cluster, &document.clusters, |named| (&named.name, &named.cluster))?;
        let user =
            reader.named("user", &context.user, &document.users, |named| (&named.name, &named.user))?;
        reader.refuse(cluster, user)?;
        let server = Server::new(&cluster.server, &cluster.tls_server_name)
            .map_err(|source| KubeconfigError::Server { kubeconfig: path.to_owned(), source })?;
        let (trust, identity) = (reader.trust(cluster)?, reader.identity(user)?);
        let credentials = Credentials::new(&trust, identity.identity(), reader.token(user)?)
            .map_err(|source| KubeconfigError::Credentials { kubeconfig: path.to_owned(), source })?;
        Ok(Self { server, credentials, trust, identity, cluster: reader.entry(cluster) })
    }

    /// Writes a kubeconfig for the same server whose client certificate and key are in one file, as upstream's bootstrap
    /// does. Only its owner may read it; it is put in place as a whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_for(&self, path: &Path, identity: &Path) -> Result<(), KubeconfigError> {
        let ClusterEntry { server, tls_server_name, insecure_skip_tls_verify, .. } = &self.cluster;
        let mut cluster = json!({ "server": server });
        let mut set = |field: &str, value: Value, used: bool| {
            if used {
                cluster[field] = value;
            }
        };
        let ClusterEntry { certificate_authority: file, certificate_authority_data: data, .. } =
            &self.cluster;
        set("tls-server-name", json!(tls_server_name), !tls_server_name.is_empty());
        set("insecure-skip-tls-verify", json!(true), *insecure_skip_tls_verify);
        set("certificate-authority", json!(file), !file.is_empty());
        set("certificate-authority-data", json!(data), file.is_empty() && !data.is_empty());
        let identity = identity.display().to_string();
        // JSON is YAML too.
        let document = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "default-cluster", "cluster": cluster }],
            "users": [{ "name": "default-auth", "user": { "client-certificate": identity, "client-key": identity } }],
            "contexts": [{ "name": "default-context",
                "context": { "cluster": "default-cluster", "namespace": "default", "user": "default-auth" } }],
            "current-context": "default-context",
        });
        write_private(path, format!("{document:#}\n").as_bytes())
            .map_err(|source| KubeconfigError::Write { path: path.to_owned(), source })
    }
}

/// Writes a file that only its owner may read, and puts it in place as a whole.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let _ = fs::remove_file(&temporary);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

struct Reader<'a> {
    kubeconfig: &'a Path,
}

impl Reader<'_> {
    fn content(&self, problem: impl Into<String>) -> KubeconfigError {
        KubeconfigError::Content { kubeconfig: self.kubeconfig.to_owned(), problem: problem.into() }
    }

    fn document(&self) -> Result<Document, KubeconfigError> {
        let bytes = self.file(self.kubeconfig)?;
        // The texts of both errors could hold a piece of the file: only the place is told.
        let value = core_yaml::decode(&bytes, core_yaml::Limits::default())
            .map_err(|_error| self.content("it is no YAML or JSON"))?;
        let (document, _unknown) = core_yaml::from_value::<Document>(value)
            .map_err(|error| self.content(format!("the field {} has the wrong type", error.path)))?;
        Ok(document)
    }

    fn named<'d, N, T>(
        &self,
        what: &str,
        wanted: &str,
        all: &'d [N],
        parts: impl Fn(&'d N) -> (&'d String, &'d T),
    ) -> Result<&'d T, KubeconfigError> {
        if wanted.is_empty() {
            let field = if what == "context" { "current-context" } else { what };
            return Err(self.content(format!("{field} is not set")));
        }
        let found = all.iter().map(parts).find(|(name, _)| name.as_str() == wanted);
        found
            .map(|(_, value)| value)
            .ok_or_else(|| self.content(format!("it has no {what} with the name {wanted:?}")))
    }

    fn refuse(&self, cluster: &Cluster, user: &User) -> Result<(), KubeconfigError> {
        let refused = [
            (!cluster.proxy_url.is_empty(), "proxy-url", "proxies are not supported: connect directly"),
            (
                user.exec.is_some(),
                "exec",
                "credential plugins are not supported: use a certificate or a token file",
            ),
            (user.auth_provider.is_some(), "auth-provider", "it was removed from Kubernetes"),
            (
                !user.username.is_empty(),
                "username",
                "the API server takes no passwords: use a certificate or a token",
            ),
            (!user.impersonated.is_empty(), "as", "a node acts as itself"),
        ];
        match refused.into_iter().find(|(used, ..)| *used) {
            Some((_, field, why)) => Err(self.content(format!("{field} cannot be used: {why}"))),
            None => Ok(()),
        }
    }

    fn trust(&self, cluster: &Cluster) -> Result<ServerTrust, KubeconfigError> {
        if cluster.insecure_skip_tls_verify {
            return Ok(ServerTrust::Anyone);
        }
        let data = &cluster.certificate_authority_data;
        Ok(match self.data_or_file("certificate-authority", data, &cluster.certificate_authority)? {
            Some(pem) => ServerTrust::Authorities(pem),
            None => ServerTrust::System,
        })
    }

    fn entry(&self, cluster: &Cluster) -> ClusterEntry {
        let file = match cluster.certificate_authority.as_str() {
            _ if !cluster.certificate_authority_data.is_empty() => String::new(),
            "" => String::new(),
            file => {
                let file = self.resolve(file);
                std::path::absolute(&file).unwrap_or(file).display().to_string()
            }
        };
        ClusterEntry {
            server: cluster.server.clone(),
            tls_server_name: cluster.tls_server_name.clone(),
            insecure_skip_tls_verify: cluster.insecure_skip_tls_verify,
            certificate_authority: file,
            certificate_authority_data: cluster.certificate_authority_data.clone(),
        }
    }

    fn identity(&self, user: &User) -> Result<IdentitySource, KubeconfigError> {
        let certificate =
            self.data_or_file("client-certificate", &user.client_certificate_data, &user.client_certificate)?;
        let key = self.data_or_file("client-key", user.client_key_data.expose(), &user.client_key)?;
        match (certificate, key) {
            (Some(certificate_pem), Some(key_pem)) => {
                let identity = ClientIdentity { certificate_pem, key_pem };
                let inline =
                    !user.client_certificate_data.is_empty() || !user.client_key_data.expose().is_empty();
                Ok(match inline {
                    true => IdentitySource::Inline(identity),
                    false => IdentitySource::Files {
                        certificate: self.resolve(&user.client_certificate),
                        key: self.resolve(&user.client_key),
                        identity,
                    },
                })
            }
            (None, None) => Ok(IdentitySource::Missing),
            (Some(_), None) => Err(self.content("it has a client-certificate but no client-key")),
            (None, Some(_)) => Err(self.content("it has a client-key but no client-certificate")),
        }
    }

    fn token(&self, user: &User) -> Result<Token, KubeconfigError> {
        if !user.token_file.is_empty() {
            let path = self.resolve(&user.token_file);
            self.file(&path)?;
            return Ok(Token::File(path));
        }
        Ok(if user.token.expose().is_empty() { Token::None } else { Token::Fixed(user.token.clone()) })
    }

    fn data_or_file(&self, field: &str, data: &str, path: &str) -> Result<Option<Vec<u8>>, KubeconfigError> {
        if !data.is_empty() {
            let decoded = STANDARD.decode(data.trim());
            return decoded.map(Some).map_err(|_error| self.content(format!("{field}-data is no base64")));
        }
        if path.is_empty() { Ok(None) } else { self.file(&self.resolve(path)).map(Some) }
    }

    /// Paths in a kubeconfig start at its own folder.
    fn resolve(&self, path: &str) -> PathBuf {
        self.kubeconfig.parent().unwrap_or(Path::new("")).join(path)
    }

    fn file(&self, path: &Path) -> Result<Vec<u8>, KubeconfigError> {
        read_bounded(path).map_err(|source| KubeconfigError::Read {
            kubeconfig: self.kubeconfig.to_owned(),
            path: path.to_owned(),
            source,
        })
    }
}

/// Reads a file of at most [`MAX_FILE_BYTES`].
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("larger than {} MiB", MAX_FILE_BYTES >> 20)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
