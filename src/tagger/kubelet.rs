//! Asking a kubelet for the pods of its node.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::pods::PodList;

/// The whole of one question. A busy node takes a second.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer: some 20 KiB per pod, 500 pods on the largest nodes.
const ANSWER_BYTES_MAX: u64 = 32 << 20;
/// Bytes of a token file; tokens of service accounts have about one thousand.
const TOKEN_BYTES_MAX: u64 = 16 << 10;
/// Where Kubernetes mounts what a pod needs to talk to its cluster.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where the kubelet is and how to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeletSettings {
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// HTTPS port, usually 10250.
    pub port: u16,
    /// False accepts any certificate.
    pub tls_verify: bool,
    /// The file of the bearer token; `None` is that of the service account, if there is one.
    pub token_path: Option<PathBuf>,
    /// PEM file of authorities; `None` is that of the service account, or else the system's.
    pub ca_path: Option<PathBuf>,
}

/// Why there is no list of pods. Never holds the token.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KubeletError {
    /// The token or the authorities cannot be read.
    #[error("{key}: {}: {error}", path.display())]
    File {
        /// The key that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file of authorities holds no certificate.
    #[error("kubelet_client_ca: {}: no certificate in it", .0.display())]
    NoCertificates(PathBuf),
    /// No connection, no trust, or no answer in time.
    #[error("{0}")]
    Unreachable(String),
    /// An answer other than 200.
    #[error("status {status}{}", hint(*status))]
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// More than 32 MiB.
    #[error("the list of pods is longer than {} MiB", ANSWER_BYTES_MAX >> 20)]
    TooLong,
    /// Not a list of pods.
    #[error("the answer is not a list of pods: {0}")]
    Unreadable(#[from] serde_json::Error),
}

/// The way out of a refusal.
fn hint(status: u16) -> &'static str {
    match status {
        401 => "; the token is not accepted, see kubelet_auth_token_path",
        403 => "; the service account needs `get` on `nodes/proxy`",
        _ => "",
    }
}

/// One kubelet.
pub struct Kubelet {
    settings: KubeletSettings,
    url: String,
    /// Made at the first question and again after a failure: certificates are renewed.
    agent: Option<Agent>,
}

impl fmt::Debug for Kubelet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubelet").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Kubelet {
    /// Opens no connection yet.
    #[must_use]
    pub fn new(settings: KubeletSettings) -> Self {
        let host = settings.host.trim_matches(['[', ']']);
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let url = format!("https://{host}:{}/pods", settings.port);
        Kubelet { settings, url, agent: None }
    }

    /// What is asked.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The pods of the node, now. Blocks for at most ten seconds.
    ///
    /// # Errors
    /// See [`KubeletError`].
    pub fn pods(&mut self) -> Result<PodList, KubeletError> {
        let result = self.ask();
        if result.is_err() {
            self.agent = None;
        }
        PodList::read(&result?).map_err(KubeletError::from)
    }

    fn ask(&mut self) -> Result<Vec<u8>, KubeletError> {
        // Read every time: tokens are replaced while we run.
        let token = self.token()?;
        let agent = match self.agent.take() {
            Some(agent) => agent,
            None => self.connect()?,
        };
        let mut request = agent.get(&self.url).header("Accept", "application/json");
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let unreachable = |error: ureq::Error| KubeletError::Unreachable(error.to_string());
        let response = request.call().map_err(unreachable)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(KubeletError::Refused { status });
        }
        let mut body = Vec::new();
        let mut reader = response.into_body().into_reader().take(ANSWER_BYTES_MAX + 1);
        let read = reader.read_to_end(&mut body);
        read.map_err(|error| KubeletError::Unreachable(error.to_string()))?;
        if body.len() as u64 > ANSWER_BYTES_MAX {
            return Err(KubeletError::TooLong);
        }
        self.agent = Some(agent);
        Ok(body)
    }

    fn token(&self) -> Result<Option<String>, KubeletError> {
        let read = |path: &PathBuf| read(path, TOKEN_BYTES_MAX);
        let text = match &self.settings.token_path {
            Some(path) => read(path).map(Some).map_err(|error| KubeletError::File {
                key: "kubelet_auth_token_path",
                path: path.clone(),
                error,
            })?,
            None => read(&PathBuf::from(SERVICE_ACCOUNT).join("token")).ok(),
        };
        let text = text.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        Ok(text.filter(|token| !token.is_empty()))
    }

    fn connect(&self) -> Result<Agent, KubeletError> {
        let tls = TlsConfig::builder()
            .root_certs(self.authorities()?)
            .disable_verification(!self.settings.tls_verify)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            // The kubelet is on this node; no proxy leads to it, and the token is for it alone.
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .timeout_connect(Some(TIMEOUT / 2))
            .build();
        Ok(Agent::new_with_config(config))
    }

    fn authorities(&self) -> Result<RootCerts, KubeletError> {
        if !self.settings.tls_verify {
            return Ok(RootCerts::PlatformVerifier);
        }
        let own = PathBuf::from(SERVICE_ACCOUNT).join("ca.crt");
        let path = match &self.settings.ca_path {
            Some(path) => path,
            None if own.exists() => &own,
            None => return Ok(RootCerts::PlatformVerifier),
        };
        let pem = read(path, ANSWER_BYTES_MAX).map_err(|error| KubeletError::File {
            key: "kubelet_client_ca",
            path: path.clone(),
            error,
        })?;
        let certificates: Vec<_> = parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if certificates.is_empty() {
            return Err(KubeletError::NoCertificates(path.clone()));
        }
        Ok(RootCerts::Specific(Arc::new(certificates)))
    }
}

fn read(path: &PathBuf, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(host: &str) -> KubeletSettings {
        KubeletSettings {
            host: host.to_owned(),
            port: 10_250,
            tls_verify: true,
            token_path: None,
            ca_path: None,
        }
    }

    #[test]
    fn an_address_of_version_6_stands_in_brackets() {
        for (host, expect) in [
            ("node-1", "https://node-1:10250/pods"),
            ("10.0.0.7", "https://10.0.0.7:10250/pods"),
            ("fd00::7", "https://[fd00::7]:10250/pods"),
            ("[fd00::7]", "https://[fd00::7]:10250/pods"),
        ] {
            assert_eq!(Kubelet::new(settings(host)).url(), expect);
        }
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_their_key() {
        let folder = tempfile::tempdir().unwrap();
        let (missing, empty) = (folder.path().join("missing"), folder.path().join("empty"));
        std::fs::write(&empty, "nothing").unwrap();
        let error = |settings: KubeletSettings| {
            Kubelet::new(settings).pods().expect_err("unusable").to_string()
        };
        let text = error(KubeletSettings { token_path: Some(missing.clone()), ..settings("x") });
        assert!(
            text.starts_with("kubelet_auth_token_path: ") && text.contains("missing"),
            "{text}"
        );
        let text = error(KubeletSettings { ca_path: Some(missing), ..settings("x") });
        assert!(text.starts_with("kubelet_client_ca: "), "{text}");
        let text = error(KubeletSettings { ca_path: Some(empty), ..settings("x") });
        assert!(text.ends_with("no certificate in it"), "{text}");
    }
}
