//! A running server of the test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use super::command::whippet;

/// A running server of the test, killed when it is dropped.
pub struct Server {
    pub child: Child,
    pub port: u16,
    pub said: Box<dyn BufRead + Send>,
}

impl Server {
    /// Starts `run` on a port of the system's choice, and waits until it says which.
    pub fn start(settings: &[&str], env: &[(&str, &str)]) -> Self {
        let mut args = vec!["run"];
        for setting in
            ["dogstatsd_port=__random__", "dogstatsd_socket=", "admin_address=", "hostname=h"]
                .iter()
                .chain(settings)
        {
            args.extend(["--set", setting]);
        }
        let mut command = whippet(&args);
        command.envs(env.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = Box::new(BufReader::new(child.stderr.take().unwrap()));
        let (mut line, mut heard) = (String::new(), String::new());
        let port = loop {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended: {heard}");
            heard.push_str(&line);
            let address = line.split_once("127.0.0.1:").filter(|_| line.contains("udp "));
            if let Some((_, rest)) = address {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                break digits.parse().unwrap();
            }
        };
        Server { child, port, said }
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Stops it; exit code, standard output, and the rest of standard error.
    pub fn stop(mut self) -> (i32, String, String) {
        self.signal("-TERM");
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        self.said.read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code().unwrap(), stdout, stderr)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is gone already when the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
