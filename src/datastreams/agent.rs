//! Sending flushes to an agent, as the Python client does: a second for an answer, three attempts, and what
//! no attempt delivers is dropped with one warning.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tracing::{error, warn};

use super::flush::{Flush, Output};
use super::payload::{LANGUAGE, VERSION};
use crate::forward::{HttpClient, HttpSettings, HttpSettingsError, printable};
use crate::tagger::container_id;

/// Where the agent is when nothing else is said.
pub const DEFAULT_AGENT_URL: &str = "http://localhost:8126";

const PATH: &str = "/v0.1/pipeline_stats";
const INFO_PATH: &str = "/info";
/// The header of an `/info` answer that stands for the tags of the client's container.
const CONTAINER_HASH: &str = "datadog-container-tags-hash";
/// Of one attempt.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The longest wait before the second attempt, and before the third. How long they are is drawn once in the life
/// of a process, so that the processes of a fleet come at different times.
const WAITS_MAX: [f64; 2] = [0.73, 1.18];

/// Why there is no output.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AgentError {
    /// Not something to connect to. Sockets of files are not supported: the HTTP client has none.
    #[error("agent URL {0:?}: not an http or https URL such as http://localhost:8126")]
    Url(String),
    /// Proxy or certificates.
    #[error(transparent)]
    Http(#[from] HttpSettingsError),
}

/// Posts each flush to an agent, or to a whippet with open doors.
///
/// An answer ends the matter, whatever it says: 404 is an agent too old for data streams, and a request that was
/// refused once would be refused again. Without an answer the same body is sent up to three times, also when
/// the agent took it and only answered late: a slow agent counts such an interval more than once.
#[derive(Debug)]
pub struct AgentOutput {
    client: HttpClient,
    base: String,
    /// Of this process's container; empty outside of one.
    container: String,
    waits: [Duration; 2],
}

impl AgentOutput {
    /// An output to the agent at `url`. Opens nothing yet.
    ///
    /// # Errors
    /// When the URL, or a proxy or certificate of `http`, cannot be read.
    pub fn new(url: &str, http: HttpSettings) -> Result<Self, AgentError> {
        let base = url.trim().trim_end_matches('/').to_owned();
        let scheme = base.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if !matches!(scheme.as_deref(), Some("http" | "https")) {
            return Err(AgentError::Url(printable(url)));
        }
        let client = HttpClient::new(HttpSettings { timeout: TIMEOUT.min(http.timeout), ..http })?;
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let container = container_id(&groups).unwrap_or_default().to_owned();
        Ok(AgentOutput { client, base, container, waits: process_waits() })
    }

    fn post(&self, body: &[u8]) -> Result<u16, String> {
        let mut headers = vec![
            ("Content-Type", "application/msgpack"),
            ("Content-Encoding", "gzip"),
            ("Datadog-Meta-Lang", LANGUAGE),
            ("Datadog-Meta-Tracer-Version", VERSION),
        ];
        let entity = format!("ci-{}", self.container);
        if !self.container.is_empty() {
            headers.push(("Datadog-Container-ID", &self.container));
            headers.push(("Datadog-Entity-ID", &entity));
        }
        let url = format!("{}{PATH}", self.base);
        let (answer, _) = self.client.post(&self.base, &url, &headers, body, TIMEOUT);
        match answer {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(answer.status),
            Ok(answer) if answer.status == 404 => {
                error!(
                    agent = self.base,
                    "the agent is too old for data streams: use 7.34 or newer"
                );
                Ok(answer.status)
            }
            Ok(answer) => {
                let (status, text) = (answer.status, printable(&answer.body));
                error!(agent = self.base, status, text, "the agent refused data streams");
                Ok(answer.status)
            }
            Err(failure) => Err(printable(&failure.detail)),
        }
    }
}

impl Output for AgentOutput {
    fn deliver(&self, flush: &Flush) -> bool {
        if flush.buckets.is_empty() {
            return true;
        }
        let body = flush.to_body();
        let mut waits = self.waits.iter();
        loop {
            match self.post(&body) {
                Ok(status) => return (200..300).contains(&status),
                Err(detail) => match waits.next() {
                    Some(wait) => thread::sleep(*wait),
                    None => {
                        warn!(
                            agent = self.base,
                            detail,
                            "data streams of one interval dropped: the agent does not answer"
                        );
                        return false;
                    }
                },
            }
        }
    }

    fn container_hash(&self) -> Option<String> {
        let url = format!("{}{INFO_PATH}", self.base);
        let answer = self.client.get_header(&self.base, &url, CONTAINER_HASH, TIMEOUT);
        answer.ok().flatten().filter(|hash| !hash.is_empty())
    }
}

/// One draw for the whole process.
fn process_waits() -> [Duration; 2] {
    static WAITS: OnceLock<[Duration; 2]> = OnceLock::new();
    *WAITS.get_or_init(|| {
        WAITS_MAX.map(|max| {
            // The standard library's hasher has random keys.
            let share = RandomState::new().hash_one(max.to_bits()) as f64 / u64::MAX as f64;
            Duration::from_secs_f64(share * max)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::datastreams::flush::Bucket;

    /// Head and body of each request.
    type Requests = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

    /// A server that answers each request with the next status; with 0 it closes the connection.
    fn agent(statuses: &[u16]) -> (String, Requests) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let requests = Requests::default();
        let (mut statuses, kept) = (Vec::from(statuses).into_iter(), Arc::clone(&requests));
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut reader = BufReader::new(connection.unwrap());
                while let Some(request) = read(&mut reader) {
                    kept.lock().unwrap().push(request);
                    let status = statuses.next().unwrap_or(0);
                    if status == 0 {
                        break;
                    }
                    let answer = format!(
                        "HTTP/1.1 {status} X\r\nDatadog-Container-Tags-Hash: abc\r\nContent-Length: 2\r\n\r\n{{}}"
                    );
                    reader.get_mut().write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        (url, requests)
    }

    fn read(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
        let (mut head, mut length, mut body) = (String::new(), 0, Vec::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(bytes) = line.to_lowercase().strip_prefix("content-length:") {
                length = bytes.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                reader.take(length).read_to_end(&mut body).ok()?;
                return Some((head, body));
            }
            head.push_str(&line);
        }
    }

    fn flush() -> Flush {
        Flush { buckets: vec![Bucket::default()], ..Flush::default() }
    }

    fn output(url: &str) -> AgentOutput {
        let mut output = AgentOutput::new(url, HttpSettings::default()).unwrap();
        output.waits = [Duration::ZERO; 2];
        output
    }

    #[test]
    fn an_answer_ends_the_matter_and_silence_is_tried_three_times() {
        for (statuses, delivered, requests) in [
            (&[200][..], true, 1),
            (&[202], true, 1),
            (&[404, 200], false, 1),
            (&[500, 200], false, 1),
            (&[429, 200], false, 1),
            (&[0, 200], true, 2),
            (&[0, 0, 200], true, 3),
            (&[0, 0, 0, 200], false, 3),
        ] {
            let (url, seen) = agent(statuses);
            assert_eq!(output(&url).deliver(&flush()), delivered, "{statuses:?}");
            let seen = seen.lock().unwrap();
            assert_eq!(seen.len(), requests, "{statuses:?}");
            assert!(seen.iter().all(|(_, body)| *body == seen[0].1), "{statuses:?}");
        }
    }

    #[test]
    fn requests_are_those_of_a_tracer() {
        let (url, seen) = agent(&[200]);
        let output = AgentOutput { container: "c1".to_owned(), ..output(&url) };
        assert!(output.deliver(&flush()));
        let (head, body) = seen.lock().unwrap()[0].clone();
        assert!(head.starts_with("POST /v0.1/pipeline_stats HTTP/1.1\r\n"), "{head}");
        let head = head.to_lowercase();
        for header in [
            "content-type: application/msgpack\r\n",
            "content-encoding: gzip\r\n",
            "datadog-meta-lang: rust\r\n",
            concat!("datadog-meta-tracer-version: ", env!("CARGO_PKG_VERSION"), "\r\n"),
            "datadog-container-id: c1\r\n",
            "datadog-entity-id: ci-c1\r\n",
        ] {
            assert!(head.contains(header), "{header}: {head}");
        }
        let mut whole = Vec::new();
        flate2::read::GzDecoder::new(&*body).read_to_end(&mut whole).unwrap();
        assert_eq!(whole, flush().to_msgpack());
    }

    #[test]
    fn an_agent_that_does_not_answer_in_a_second_is_tried_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut output = output(&url);
        // Connections come about and nothing answers.
        output.client = HttpClient::new(HttpSettings {
            timeout: Duration::from_millis(50),
            ..HttpSettings::default()
        })
        .unwrap();
        assert!(!output.deliver(&flush()));
        assert!(output.deliver(&Flush::default()), "nothing is not sent");
        listener.set_nonblocking(true).unwrap();
        assert_eq!(std::iter::from_fn(|| listener.accept().ok()).count(), 3);
    }

    #[test]
    fn the_hash_of_the_container_is_read_from_the_agent() {
        let (url, seen) = agent(&[200]);
        assert_eq!(output(&url).container_hash().as_deref(), Some("abc"));
        assert!(seen.lock().unwrap()[0].0.starts_with("GET /info HTTP/1.1\r\n"));
        let (url, _) = agent(&[]);
        assert_eq!(output(&url).container_hash(), None);
    }

    #[test]
    fn waits_are_drawn_once_and_within_their_bounds() {
        let waits = process_waits();
        assert_eq!(waits, process_waits());
        for (wait, max) in waits.iter().zip(WAITS_MAX) {
            assert!(wait.as_secs_f64() <= max, "{wait:?}");
        }
        let wrong = AgentOutput::new("unix:///run/apm.sock", HttpSettings::default()).unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "agent URL \"unix:///run/apm.sock\": not an http or https URL such as http://localhost:8126"
        );
    }
}
