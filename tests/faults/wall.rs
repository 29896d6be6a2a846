//! A proxy before an intake: misbehaves below HTTP until it lets everything through.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What a connection meets.
#[derive(Clone, Debug)]
pub enum Manner {
    /// The intake behind.
    Pass,
    /// Accepted and closed at once.
    Slam,
    /// Accepted; our side of the talk is closed, theirs is read for ever.
    HalfClose,
    /// An answer in bytes so slow that it never ends.
    Trickle,
    /// Something that is not HTTP.
    Garbage,
    /// A whole answer with this status that quotes the request's head, key and all.
    Echo(u16),
}

/// The wall.
pub struct Wall {
    address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
}

impl Wall {
    /// Stands before `upstream` (`127.0.0.1:port`).
    pub fn before(upstream: &str, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let address = listener.local_addr().expect("the address bound");
        let manner = Arc::new(Mutex::new(manner));
        let (now, upstream) = (Arc::clone(&manner), upstream.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (manner, upstream) =
                    (now.lock().expect("no panic inside").clone(), upstream.clone());
                // A peer that goes away ends its connection; that is not the test's concern.
                thread::spawn(move || serve(client, &manner, &upstream));
            }
        });
        Wall { address, manner }
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From the next connection on.
    pub fn now(&self, manner: Manner) {
        *self.manner.lock().expect("no panic inside") = manner;
    }
}

fn serve(mut client: TcpStream, manner: &Manner, upstream: &str) -> io::Result<()> {
    match manner {
        Manner::Pass => {
            let mut server = TcpStream::connect(upstream)?;
            let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                to.shutdown(Shutdown::Write)
            });
            io::copy(&mut server, &mut client)?;
            client.shutdown(Shutdown::Both)
        }
        Manner::Slam => Ok(()),
        Manner::HalfClose => {
            client.shutdown(Shutdown::Write)?;
            io::copy(&mut client, &mut io::sink()).map(drop)
        }
        Manner::Trickle => {
            read_head(&mut client)?;
            for byte in b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000\r\n\r\n".iter().cycle() {
                client.write_all(&[*byte])?;
                thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        }
        Manner::Garbage => {
            read_head(&mut client)?;
            client.write_all(b"\x16\x03\x01 220 mail.example ESMTP\r\n\r\n")
        }
        Manner::Echo(status) => {
            let head = read_head(&mut client)?;
            let length = head.len();
            write!(client, "HTTP/1.1 {status} No\r\nContent-Length: {length}\r\n")?;
            client.write_all(b"Connection: close\r\n\r\n")?;
            client.write_all(&head)?;
            // The rest is read, so that closing does not reset what was answered.
            client.shutdown(Shutdown::Write)?;
            io::copy(&mut client, &mut io::sink()).map(drop)
        }
    }
}

fn read_head(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}
