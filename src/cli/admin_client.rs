//! A client of the running server's admin address.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use super::config_args::ConfigArgs;
use crate::config::{self, Mode};
use crate::http::{Address, Connection};
use crate::text::{printable_json, printable_lines};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a response may stall.
const SILENCE_MAX: Duration = Duration::from_secs(70);

/// The admin address of the server with this configuration.
pub(super) struct AdminClient(String);

impl AdminClient {
    /// Reads the address from the configuration the server uses.
    pub fn of(settings: &ConfigArgs) -> anyhow::Result<Self> {
        let loaded = config::load(settings.sources(Mode::Run))?;
        match loaded.config.admin_address {
            Some(address) => Ok(AdminClient(address)),
            None => bail!("admin_address is off in this configuration; set it to query the server"),
        }
    }

    /// The body of a successful response.
    pub fn get(&self, target: &str) -> anyhow::Result<String> {
        let mut reader = self.open(target)?;
        let mut body = Vec::new();
        reader.read_to_end(&mut body).context("reading the response")?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// As [`AdminClient::get`], parsed as JSON.
    pub fn json<T: DeserializeOwned>(&self, target: &str) -> anyhow::Result<T> {
        serde_json::from_str(&self.get(target)?).context("reading the response")
    }

    /// The body of a successful response, as a stream. Reading fails if the response is cut off.
    pub fn open(&self, target: &str) -> anyhow::Result<impl BufRead + use<>> {
        let address = &self.0;
        let none = || {
            format!(
                "no whippet answers at {address}; is it running? (use its configuration \
                 with -c, or --set admin_address=…)"
            )
        };
        let settings = Agent::config_builder().http_status_as_error(false).proxy(None).build();
        let connector = AdminConnector(Address::parse(address).with_context(none)?);
        let agent = Agent::with_parts(settings, connector, DefaultResolver::default());
        // The connector knows the way; the host is one that needs no resolving.
        let response = match agent.get(format!("http://127.0.0.1{target}")).call() {
            Ok(response) => response,
            Err(ureq::Error::Protocol(_)) => {
                bail!("the server at {address} is not whippet; check admin_address")
            }
            Err(error) => return Err(error).with_context(none),
        };
        let good = response.status() == 200;
        let mut reader = BufReader::new(response.into_body().into_reader());
        if good {
            return Ok(reader);
        }
        let mut body = String::new();
        reader.read_to_string(&mut body).context("reading the response")?;
        bail!("{}", body.trim_end())
    }
}

/// Connects to the admin address whatever the URL says, because a URL cannot name a Unix socket.
#[derive(Debug)]
struct AdminConnector(Address);

impl Connector for AdminConnector {
    type Out = AdminTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<AdminTransport>, ureq::Error> {
        let connection = self.0.connect(CONNECT_TIMEOUT)?;
        connection.set_read_timeout(Some(SILENCE_MAX))?;
        let settings = details.config;
        let buffers = LazyBuffers::new(settings.input_buffer_size(), settings.output_buffer_size());
        Ok(Some(AdminTransport { connection, buffers }))
    }
}

#[derive(Debug)]
struct AdminTransport {
    connection: Connection,
    buffers: LazyBuffers,
}

impl Transport for AdminTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        Ok(self.connection.write_all(&self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let count = self.connection.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    /// The server closes the connection after each response.
    fn is_open(&mut self) -> bool {
        false
    }
}

/// Writes lines to standard output, without characters that mislead a terminal. A reader that went
/// away is an error, which ends the program quietly.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    write(&printable_lines(text))
}

/// As [`print`], after a control sequence of ours.
pub(super) fn print_after(sequence: &str, text: &str) -> anyhow::Result<()> {
    write(&(sequence.to_owned() + &printable_lines(text)))
}

/// As [`print`], for JSON.
pub(super) fn print_json(json: &str) -> anyhow::Result<()> {
    write(&printable_json(json))
}

fn write(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    Ok(out.write_all(text.as_bytes()).and_then(|()| out.flush())?)
}
