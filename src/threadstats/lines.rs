//! Hands a flush to a DogStatsD server: aggregated here, enriched and delivered there.
//!
//! A rate is sent as the count it came from, with the interval's start as its timestamp, so that the
//! server does not aggregate it again; so are gauges. Distributions carry their raw values and no
//! timestamp, which the protocol does not know for them.

use std::fmt::{self, Write};
use std::io;

use super::number::Number;
use super::reporter::{Delivery, ReportError, Reporter};
use super::series::{Event, PointValue, Series, SeriesType};

/// Writes DogStatsD lines and hands them on in datagrams: to a socket of the standard library, or to
/// the pipeline of a server in the same process.
///
/// Bytes that the protocol reserves (`|`, newlines, `:` and `#` in names, `,` in tags) become `_`. What
/// does not fit a datagram by itself is left out and counted.
///
/// ```
/// use std::net::UdpSocket;
/// use whippet::threadstats::{LineReporter, ThreadStats};
///
/// let socket = UdpSocket::bind("127.0.0.1:0")?;
/// let reporter = LineReporter::new(1432, move |datagram| {
///     socket.send_to(datagram, "127.0.0.1:8125").map(|_| ())
/// });
/// let stats = ThreadStats::builder().reporter(reporter).build();
/// # drop(stats);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// The same lines enter the server's engine without a socket, where its rules, roll-ups and encoders
/// follow:
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
///
/// use whippet::aggregate::{self, Bucket, Shard};
/// use whippet::context::Rules;
/// use whippet::flush::{self, Closed, Flusher, HistogramSettings};
/// use whippet::protocol::lines;
/// use whippet::threadstats::{LineReporter, Opts, StartOptions, ThreadStats};
///
/// let (rules, state) = (Arc::new(Rules::default()), ahash::RandomState::new());
/// let settings = aggregate::ShardSettings::default();
/// let opened = Duration::from_secs(1_000);
/// let shard = Shard::new(settings, Arc::clone(&rules), state.clone(), opened);
/// let shard = Arc::new(Mutex::new(shard));
///
/// let entry = Arc::clone(&shard);
/// let reporter = LineReporter::new(65_536, move |datagram| {
///     let mut shard = entry.lock().unwrap();
///     for line in lines(datagram) {
///         shard.counts().received += 1;
///         shard.line(line.bytes, b"");
///     }
///     Ok(())
/// });
/// let stats = ThreadStats::builder().env(|_| None).reporter(reporter).build();
/// stats.start(&StartOptions::manual())?;
/// stats.increment("orders", 3, Opts::default().at(990));
/// stats.distribution("basket", 4.5, Opts::default().at(990));
/// stats.flush(Some(f64::INFINITY))?;
///
/// // What the server's flusher thread does every ten seconds:
/// let settings = flush::FlushSettings {
///     interval: 10,
///     counter_expiry: Duration::ZERO,
///     set_members_max: 1_000,
///     histograms: HistogramSettings::default(),
/// };
/// let mut flusher = Flusher::new(settings, rules, 1, state);
/// let bucket = shard.lock().unwrap().close(Duration::from_secs(1_010), Bucket::default());
/// flusher.take(Closed { lane: 0, bucket, passed: 1_010 });
/// let flush = flusher.complete().expect("every lane has passed it");
/// let mut posted = Vec::new();
/// flusher.view(&flush).visit(&mut |row| {
///     let points = row.series.iter().flat_map(|one| one.points);
///     let values: Vec<_> = points.map(|point| (point.timestamp, point.value)).collect();
///     posted.push((row.name.to_vec(), values, row.sketch.is_some()));
/// });
/// posted.sort_by(|one, other| one.0.cmp(&other.0));
/// assert_eq!(posted[0], (b"basket".to_vec(), vec![], true));
/// assert_eq!(posted[1], (b"orders".to_vec(), vec![(990, 0.3)], false)); // 3 in 10 s, per second
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LineReporter<F> {
    send: F,
    datagram_bytes_max: usize,
    datagram: Vec<u8>,
    line: String,
}

impl<F: FnMut(&[u8]) -> io::Result<()> + Send> LineReporter<F> {
    /// Sends datagrams of at most `datagram_bytes_max` bytes (1432 suits UDP, 8192 a unix socket),
    /// lines joined by newlines.
    pub fn new(datagram_bytes_max: usize, send: F) -> Self {
        LineReporter { send, datagram_bytes_max, datagram: Vec::new(), line: String::new() }
    }

    fn series(&mut self, series: &Series) -> Result<bool, ReportError> {
        let tail = Tail::of(series);
        match &series.value {
            PointValue::Number(value) => {
                self.line.clear();
                let (value, kind) = match series.kind {
                    SeriesType::Rate => (value.as_f64() * series.interval.as_f64(), "c"),
                    _ => (value.as_f64(), "g"),
                };
                let (name, time) = (Name(&series.metric), Time(series.timestamp));
                written(write!(self.line, "{name}:{value}|{kind}{tail}{time}"))?;
                self.push_line()
            }
            PointValue::List(values) => self.distribution(&series.metric, values, &tail),
        }
    }

    /// As many values per line as fit a datagram.
    fn distribution(
        &mut self,
        name: &str,
        values: &[Number],
        tail: &Tail<'_>,
    ) -> Result<bool, ReportError> {
        let end = format!("|d{tail}");
        let (mut whole, mut value) = (true, String::new());
        self.line.clear();
        for number in values {
            value.clear();
            written(write!(value, ":{number}"))?;
            if !self.line.is_empty()
                && self.line.len() + value.len() + end.len() > self.datagram_bytes_max
            {
                self.line.push_str(&end);
                whole &= self.push_line()?;
                self.line.clear();
            }
            if self.line.is_empty() {
                written(write!(self.line, "{}", Name(name)))?;
            }
            self.line.push_str(&value);
        }
        self.line.push_str(&end);
        Ok(self.push_line()? && whole)
    }

    fn event(&mut self, event: &Event) -> Result<bool, ReportError> {
        let title = event.title.replace('\n', "\\n");
        let text = event.text.replace('\n', "\\n");
        self.line.clear();
        let line = &mut self.line;
        written(write!(line, "_e{{{},{}}}:{title}|{text}", title.len(), text.len()))?;
        if let Some(time) = event.date_happened {
            written(write!(line, "|d:{}", time.as_f64().floor()))?;
        }
        let fields = [
            ("h", &event.host),
            ("k", &event.aggregation_key),
            ("p", &event.priority),
            ("s", &event.source_type_name),
            ("t", &event.alert_type),
        ];
        for (letter, value) in fields {
            if let Some(value) = value {
                written(write!(line, "|{letter}:{}", Field(value)))?;
            }
        }
        let tags =
            Tail { tags: event.tags.as_deref().unwrap_or_default(), host: None, device: None };
        written(write!(line, "{tags}"))?;
        self.push_line()
    }

    /// Adds the line to the open datagram, sending that first if need be. False if no datagram could
    /// hold it.
    fn push_line(&mut self) -> Result<bool, ReportError> {
        if self.line.len() > self.datagram_bytes_max {
            return Ok(false);
        }
        if !self.datagram.is_empty() {
            if self.datagram.len() + 1 + self.line.len() > self.datagram_bytes_max {
                self.send_datagram()?;
            } else {
                self.datagram.push(b'\n');
            }
        }
        self.datagram.extend_from_slice(self.line.as_bytes());
        Ok(true)
    }

    fn send_datagram(&mut self) -> Result<(), ReportError> {
        if self.datagram.is_empty() {
            return Ok(());
        }
        let sent = (self.send)(&self.datagram);
        self.datagram.clear();
        Ok(sent?)
    }

    fn all<T>(
        &mut self,
        items: &[T],
        write: impl Fn(&mut Self, &T) -> Result<bool, ReportError>,
    ) -> Result<Delivery, ReportError> {
        self.datagram.clear();
        let mut rejected = 0;
        for item in items {
            rejected += usize::from(!write(self, item)?);
        }
        self.send_datagram()?;
        Ok(Delivery::rejecting(rejected))
    }
}

impl<F: FnMut(&[u8]) -> io::Result<()> + Send> Reporter for LineReporter<F> {
    fn flush_metrics(&mut self, metrics: &[Series]) -> Result<Delivery, ReportError> {
        self.all(metrics, Self::series)
    }

    fn flush_distributions(&mut self, distributions: &[Series]) -> Result<Delivery, ReportError> {
        self.all(distributions, Self::series)
    }

    fn flush_events(&mut self, events: &[Event]) -> Result<Delivery, ReportError> {
        self.all(events, Self::event)
    }
}

impl<F> fmt::Debug for LineReporter<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineReporter")
            .field("datagram_bytes_max", &self.datagram_bytes_max)
            .finish_non_exhaustive()
    }
}

/// Writing to a `String` cannot fail; the error exists for the trait's sake.
fn written(result: fmt::Result) -> Result<(), ReportError> {
    result.map_err(|error| ReportError::Other(error.to_string()))
}

fn escaped(f: &mut fmt::Formatter<'_>, text: &str, reserved: &[char]) -> fmt::Result {
    text.chars().try_for_each(|c| f.write_char(if reserved.contains(&c) { '_' } else { c }))
}

struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(f, self.0, &[':', '|', '#', '\n', '\r'])
    }
}

struct Field<'a>(&'a str);

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(f, self.0, &['|', '\n', '\r'])
    }
}

/// `|T…` where the protocol can say it: whole seconds from 1 on.
struct Time(Number);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_f64().floor();
        if seconds < 1.0 { Ok(()) } else { write!(f, "|T{seconds}") }
    }
}

/// `|#tags` with host and device among them; nothing at all without any.
struct Tail<'a> {
    tags: &'a [String],
    host: Option<&'a str>,
    device: Option<&'a str>,
}

impl<'a> Tail<'a> {
    fn of(series: &'a Series) -> Self {
        Tail {
            tags: series.tags.as_deref().unwrap_or_default(),
            host: series.host.as_deref(),
            device: series.device.as_deref(),
        }
    }
}

impl fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.tags.iter().map(|tag| ("", tag.as_str()));
        let host = self.host.map(|host| ("host:", host));
        let device = self.device.map(|device| ("device:", device));
        let mut separator = "|#";
        for (prefix, tag) in own.chain(host).chain(device) {
            f.write_str(separator)?;
            f.write_str(prefix)?;
            escaped(f, tag, &['|', ',', '\n', '\r'])?;
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::threadstats::{EventOpts, Loss, Opts, StartOptions, ThreadStats};

    /// Records, flushes everything and compares the datagrams.
    #[track_caller]
    fn sends(bytes_max: usize, record: impl FnOnce(&ThreadStats), expect: &[&str]) -> u64 {
        let (sender, datagrams) = mpsc::channel();
        let reporter = LineReporter::new(bytes_max, move |datagram| {
            sender.send(String::from_utf8(datagram.to_vec()).unwrap()).map_err(io::Error::other)
        });
        let stats = ThreadStats::builder().env(|_| None).reporter(reporter).build();
        stats
            .start(&StartOptions { device: Some("d0".to_owned()), ..StartOptions::manual() })
            .unwrap();
        record(&stats);
        stats.flush(Some(f64::INFINITY)).unwrap();
        assert_eq!(datagrams.try_iter().collect::<Vec<_>>(), expect);
        stats.losses().of(Loss::Rejected)
    }

    #[test]
    fn rates_go_as_counts_and_gauges_as_they_are_both_with_their_time() {
        let record = |stats: &ThreadStats| {
            stats.increment("a:b|c", 3, Opts::tags(&["x:1", "y,z"]).at(105.5).on("web"));
            stats.gauge("g", -0.5, Opts::default().at(-7));
        };
        sends(1432, record, &["a_b_c:3|c|#x:1,y_z,host:web,device:d0|T100\ng:-0.5|g|#device:d0"]);
    }

    #[test]
    fn long_distributions_take_several_lines() {
        let record = |stats: &ThreadStats| {
            (1..=5).for_each(|value| stats.distribution("d", value, Opts::default().at(5)));
        };
        sends(24, record, &["d:1:2:3:4:5|d|#device:d0"]);
        sends(23, record, &["d:1:2:3:4|d|#device:d0", "d:5|d|#device:d0"]);
    }

    #[test]
    fn what_no_datagram_holds_is_counted_and_the_rest_is_sent() {
        let record = |stats: &ThreadStats| {
            stats.gauge("much.too.long", 1, Opts::default().at(5));
            stats.gauge("g", 2, Opts::default().at(5));
        };
        assert_eq!(sends(20, record, &["g:2|g|#device:d0"]), 1);
    }

    #[test]
    fn events_keep_their_fields_and_newlines() {
        let record = |stats: &ThreadStats| {
            let opts = EventOpts {
                alert_type: Some("error"),
                date_happened: Some(Number::Int(7)),
                host: Some("h"),
                tags: Some(&["t"]),
                ..EventOpts::default()
            };
            stats.event("a\nb", "ü", &opts);
        };
        sends(1432, record, &["_e{4,2}:a\\nb|ü|d:7|h:h|t:error|#t"]);
    }
}
