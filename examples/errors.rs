//! Counts handled errors: `cargo run --example errors`. Lines go to 127.0.0.1:8125, where a whippet shows
//! them (`cargo run` in another terminal).

use std::net::UdpSocket;

use whippet::errors::{self, LineSink, ResultExt, Settings};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect("127.0.0.1:8125")?;
    // Nobody may be listening.
    let sink = LineSink::new(move |line: &[u8]| {
        println!("{}", String::from_utf8_lossy(line));
        drop(socket.send(line));
    });
    let settings = Settings { events: true, ..Settings::default() };
    let guard = errors::start(settings, sink)?;
    errors::install_panic_hook();

    for port in ["8125", "eighty", "70000"] {
        let port: u16 = port.parse().tracked().unwrap_or(8125);
        println!("port {port}");
    }
    if let Err(error) = std::fs::read_to_string("/no/such/file") {
        errors::record(&error);
    }
    drop(guard);
    Ok(())
}
