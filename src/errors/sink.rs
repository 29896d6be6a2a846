//! Where counts and events go: any front door that takes a counter.

use crate::threadstats::{EventOpts, Opts, ThreadStats};

/// Takes what a tracker reports, from the tracker's thread.
pub trait Sink: Send + Sync {
    /// So many errors more, since the last call with these tags.
    fn count(&self, name: &str, count: u64, tags: &[&str]);
    /// The first occurrence of an error in a sample interval. `key` is the same for all events of one
    /// fingerprint.
    fn event(&self, title: &str, text: &str, key: &str, tags: &[&str]);
}

impl Sink for ThreadStats {
    fn count(&self, name: &str, count: u64, tags: &[&str]) {
        self.increment(name, i64::try_from(count).unwrap_or(i64::MAX), Opts::tags(tags));
    }

    fn event(&self, title: &str, text: &str, key: &str, tags: &[&str]) {
        let options = EventOpts {
            alert_type: Some("warning"),
            aggregation_key: Some(key),
            tags: Some(tags),
            ..EventOpts::default()
        };
        ThreadStats::event(self, title, text, &options);
    }
}

/// DogStatsD lines without a line feed, one a call: for a socket, or the server in this process.
///
/// ```
/// use std::net::UdpSocket;
/// use whippet::errors::LineSink;
///
/// let socket = UdpSocket::bind("127.0.0.1:0")?;
/// # let server = UdpSocket::bind("127.0.0.1:0")?;
/// # let address = server.local_addr()?;
/// socket.connect(address)?;
/// let sink = LineSink::new(move |line: &[u8]| drop(socket.send(line)));
/// # use whippet::errors::Sink;
/// # sink.count("handled_errors", 2, &["module:shop"]);
/// # let mut datagram = [0; 100];
/// # let length = server.recv(&mut datagram)?;
/// # assert_eq!(&datagram[..length], b"handled_errors:2|c|#module:shop");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct LineSink<F>(F);

impl<F: Fn(&[u8]) + Send + Sync> LineSink<F> {
    /// A sink that calls `send` with each line, which must not wait.
    pub fn new(send: F) -> Self {
        LineSink(send)
    }
}

impl<F> std::fmt::Debug for LineSink<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LineSink")
    }
}

impl<F: Fn(&[u8]) + Send + Sync> Sink for LineSink<F> {
    fn count(&self, name: &str, count: u64, tags: &[&str]) {
        (self.0)(format!("{name}:{count}|c{}", tag_field(tags)).as_bytes());
    }

    fn event(&self, title: &str, text: &str, key: &str, tags: &[&str]) {
        // Line feeds are written as two characters, and only inside the text.
        let (title, text) = (title.replace(['\n', '\r'], " "), text.replace('\n', "\\n"));
        let text = text.replace('\r', "");
        let line = format!(
            "_e{{{},{}}}:{title}|{text}|k:{key}|t:warning{}",
            title.len(),
            text.len(),
            tag_field(tags)
        );
        (self.0)(line.as_bytes());
    }
}

fn tag_field(tags: &[&str]) -> String {
    if tags.is_empty() { String::new() } else { format!("|#{}", tags.join(",")) }
}
