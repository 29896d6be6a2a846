//! A kubelet behind TLS: answers `/pods` with a given text, and remembers the requests.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use whippet::tagger::KubeletSettings;

/// The token it lets in.
pub const TOKEN: &str = "eyJhbGciOi.kubelet-token.signature";

/// For as long as the test program runs.
#[derive(Clone)]
pub struct Kubelet {
    pub port: u16,
    certificate_pem: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    body: String,
    token: String,
    requests: usize,
}

impl Kubelet {
    /// On a free port of loopback, with a certificate for `localhost`.
    pub fn start(body: &str) -> Self {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
            .expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of the provider")
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
            .expect("a fitting key");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let state = State { body: body.to_owned(), token: TOKEN.to_owned(), requests: 0 };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, state) = (Arc::clone(&config), Arc::clone(&shared));
                // A client that goes away ends its connection; that is not the test's concern.
                thread::spawn(move || serve(stream, config, &state));
            }
        });
        Kubelet { port, certificate_pem: certified.cert.pem(), state }
    }

    /// From now on it answers this.
    pub fn answer(&self, body: &str) {
        self.state().body = body.to_owned();
    }

    /// From now on only this token is let in.
    pub fn demand(&self, token: &str) {
        self.state().token = token.to_owned();
    }

    /// How often it was asked.
    pub fn requests(&self) -> usize {
        self.state().requests
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes token and certificate into `folder` and says how to connect.
    pub fn settings(&self, folder: &Path) -> KubeletSettings {
        let (token_path, ca_path) = (folder.join("token"), self.certificate(folder));
        std::fs::write(&token_path, format!("{TOKEN}\n")).expect("a writable folder");
        KubeletSettings {
            host: "localhost".to_owned(),
            port: self.port,
            tls_verify: true,
            token_path: Some(token_path),
            ca_path: Some(ca_path),
        }
    }

    fn certificate(&self, folder: &Path) -> PathBuf {
        let path = folder.join("ca.crt");
        std::fs::write(&path, &self.certificate_pem).expect("a writable folder");
        path
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, state: &Mutex<State>) -> io::Result<()> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(connection, stream);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            tls.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let answer = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.requests += 1;
            let let_in = format!("authorization: bearer {}\r\n", state.token).to_lowercase();
            match (
                head.starts_with("GET /pods HTTP/1.1\r\n"),
                head.to_lowercase().contains(&let_in),
            ) {
                (true, true) => response("200 OK", &state.body),
                (true, false) => response("401 Unauthorized", "Unauthorized"),
                (false, _) => response("404 Not Found", ""),
            }
        };
        tls.write_all(answer.as_bytes())?;
        tls.flush()?;
    }
}

fn response(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
