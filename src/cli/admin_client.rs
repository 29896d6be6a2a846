//! Asking the running server: a request to its admin address.

use std::io::{self, BufRead, BufReader, Write};
use std::time::Duration;

use anyhow::{Context, bail};

use super::config_args::ConfigArgs;
use crate::config::{self, Mode};
use crate::http::{Address, Connection};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest silence of a server that answers.
const SILENCE_MAX: Duration = Duration::from_secs(70);

/// Where the server of this configuration answers.
pub(super) struct AdminClient(String);

impl AdminClient {
    /// Reads the address from the same configuration the server reads.
    pub fn of(settings: &ConfigArgs) -> anyhow::Result<Self> {
        let loaded = config::load(settings.sources(Mode::Run))?;
        match loaded.config.admin_address {
            Some(address) => Ok(AdminClient(address)),
            None => bail!("admin_address is off in this configuration; set it to query the server"),
        }
    }

    /// The whole body of a good answer.
    pub fn get(&self, target: &str) -> anyhow::Result<String> {
        let mut reader = self.open(target)?;
        let mut body = Vec::new();
        io::Read::read_to_end(&mut reader, &mut body).context("reading the answer")?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// As [`AdminClient::get`], read as JSON.
    pub fn json(&self, target: &str) -> anyhow::Result<serde_json::Value> {
        serde_json::from_str(&self.get(target)?).context("reading the answer")
    }

    /// The body of a good answer, as it comes.
    pub fn open(&self, target: &str) -> anyhow::Result<BufReader<Connection>> {
        let address = &self.0;
        let none = || {
            format!(
                "no whippet answers at {address}; is it running? (use its configuration \
                 with -c, or --set admin_address=…)"
            )
        };
        let mut connection = Address::parse(address)
            .and_then(|address| address.connect(CONNECT_TIMEOUT))
            .with_context(none)?;
        connection.set_read_timeout(Some(SILENCE_MAX))?;
        // To a client of HTTP/1.0 a body comes as it is, without the lengths of its chunks.
        write!(connection, "GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n")
            .with_context(none)?;
        let mut reader = BufReader::new(connection);
        let mut line = String::new();
        reader.read_line(&mut line).with_context(none)?;
        let status = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
        if !line.starts_with("HTTP/1.") {
            bail!("the server at {address} is not whippet; check admin_address");
        }
        while line.trim_end() != "" {
            line.clear();
            if reader.read_line(&mut line).context("reading the answer")? == 0 {
                break;
            }
        }
        if status == "200" {
            return Ok(reader);
        }
        let mut body = String::new();
        io::Read::read_to_string(&mut reader, &mut body).context("reading the answer")?;
        bail!("{}", body.trim_end())
    }
}

/// Writes to standard output; a reader that has seen enough is no error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.context("writing"),
    }
}
