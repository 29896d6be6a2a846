//! What may stand before an intake: TLS, and an HTTP proxy that understands CONNECT.

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// How long one direction is listened to before the other gets its turn.
const TURN: Duration = Duration::from_millis(5);

/// Ends TLS for `localhost` with a certificate of its own and passes the plain bytes on.
pub struct TlsFront {
    address: SocketAddr,
    /// The certificate, PEM, for who wants to trust it.
    pub certificate_pem: String,
}

impl TlsFront {
    /// Stands before `upstream` (`127.0.0.1:port`) and speaks these versions of TLS.
    pub fn start(upstream: &str, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
            .expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions of the provider")
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
            .expect("a fitting key");
        let config = Arc::new(config);
        let upstream = upstream.to_owned();
        let address = listen(move |stream| {
            let connection =
                ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            pass_on(StreamOwned::new(connection, stream), TcpStream::connect(&upstream)?)
        });
        TlsFront { address, certificate_pem: certified.cert.pem() }
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

/// Alternates between the two directions until one side closes.
fn pass_on(
    mut tls: StreamOwned<ServerConnection, TcpStream>,
    mut plain: TcpStream,
) -> io::Result<()> {
    tls.sock.set_read_timeout(Some(TURN))?;
    plain.set_read_timeout(Some(TURN))?;
    while move_some(&mut tls, &mut plain)? && move_some(&mut plain, &mut tls)? {}
    Ok(())
}

/// Moves what is there; false at the end of `from`.
fn move_some(from: &mut impl Read, to: &mut impl Write) -> io::Result<bool> {
    let mut buffer = [0; 16 << 10];
    match from.read(&mut buffer) {
        Ok(0) => Ok(false),
        Ok(count) => to.write_all(&buffer[..count]).and_then(|()| to.flush()).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

/// An HTTP proxy that tunnels everything and remembers what it was asked.
pub struct ConnectProxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl ConnectProxy {
    /// Listens on a free port.
    pub fn start() -> Self {
        let proxy = ConnectProxy::start_slow();
        proxy.answer();
        proxy
    }

    /// Listens on a free port, and lets who connects wait for an answer.
    pub fn start_slow() -> Self {
        let (heads, gate) = (Arc::default(), Arc::default());
        let (seen, opens) = (Arc::clone(&heads), Arc::clone(&gate));
        let address = listen(move |client| tunnel(client, &seen, &opens));
        ConnectProxy { address, heads, gate }
    }

    /// Answers everyone, from now on.
    pub fn answer(&self) {
        *self.gate.0.lock().expect("no panic inside") = true;
        self.gate.1.notify_all();
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The heads of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no panic inside").clone()
    }
}

fn tunnel(
    mut client: TcpStream,
    heads: &Mutex<Vec<String>>,
    (is_open, opens): &(Mutex<bool>, Condvar),
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    heads.lock().expect("no panic inside").push(head);
    let is_open = is_open.lock().expect("no panic inside");
    drop(opens.wait_while(is_open, |is_open| !*is_open).expect("no panic inside"));
    let mut upstream = TcpStream::connect(target)?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from, mut to) = (client.try_clone()?, upstream.try_clone()?);
    thread::spawn(move || io::copy(&mut from, &mut to));
    io::copy(&mut upstream, &mut client).map(|_| ())
}

/// Serves each connection on a thread of its own, for as long as the test program runs.
fn listen(serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
    let address = listener.local_addr().expect("the address bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            // A peer that goes away ends its connection; that is not the test's concern.
            thread::spawn(move || serve(stream));
        }
    });
    address
}
