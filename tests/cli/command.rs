//! The program as a person types it.

use std::io::{self, Write};
use std::net::UdpSocket;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::program::{self, Program};

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program with nothing of ours in its environment.
pub fn whippet(args: &[&str]) -> Command {
    let mut command = program::whippet();
    command.args(args);
    command
}

pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

pub fn ran(output: Output) -> Ran {
    Ran {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

pub fn run(args: &[&str]) -> Ran {
    ran(whippet(args).output().unwrap())
}

pub fn run_with_stdin(args: &[&str], stdin: &[u8]) -> Ran {
    let mut command = whippet(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    ran(child.wait_with_output().unwrap())
}

/// Where `send --to` reaches that server.
pub fn url_of(server: &Program) -> String {
    format!("udp://{}", server.udp_address())
}

/// A UDP socket of the test and the URL of it.
pub fn udp() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let url = format!("udp://{}", socket.local_addr().unwrap());
    (socket, url)
}

/// A signal to the test's own process is not a failure.
pub fn received(mut recv: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match recv() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
