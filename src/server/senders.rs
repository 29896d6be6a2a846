//! Who sends what: packets, bytes, lines and faults per IP address or process.
//!
//! Clever: each lane has a small direct-mapped table in front of the real one, so that a datagram of
//! a known sender costs one multiplication, one comparison and three additions (about twenty
//! instructions) and no hash of a map. What is displaced from it is added to the real table, which
//! holds [`SENDERS_MAX`] entries of at most about a kilobyte; further senders are counted together.
//! When touching this file: a slot holds only what the table does not know yet.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use ahash::RandomState;
use serde_json::{Value, json};

use crate::net::{ListenerDescription, Sender};
use crate::output::printable;
use crate::protocol::{self, Message, Options, ParseError};

/// Senders held per lane.
const SENDERS_MAX: usize = 1_024;
/// A sender not seen for so long makes room for another, in seconds.
const IDLE_SECONDS: u64 = 600;
/// Slots of the table in front; a power of two.
const SLOTS: usize = 256;
/// Refused lines kept per sender.
const BAD_LINES: usize = 3;
/// Bytes kept of each.
const BAD_LINE_BYTES: usize = 256;
/// What client libraries call their own counters.
const CLIENT_PREFIX: &[u8] = b"datadog.dogstatsd.client.";

/// A sender in three words, so that comparing is cheap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Id {
    kind: Kind,
    words: [u64; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
enum Kind {
    /// The number of a listener whose senders nobody names.
    Listener,
    /// An IP address.
    Address,
    /// Process and user.
    Process,
    /// Everybody who found no room.
    Others,
}

impl Id {
    const OTHERS: Id = Id { kind: Kind::Others, words: [0, 0] };

    #[inline]
    fn of(from: &Sender<'_>, listener: u16) -> Self {
        match from {
            Sender::Internet(name) => Id { kind: Kind::Address, words: name.ip_words() },
            Sender::Process(process) => {
                let words = [u64::from(process.pid.cast_unsigned()), u64::from(process.uid)];
                Id { kind: Kind::Process, words }
            }
            Sender::Unknown => Id { kind: Kind::Listener, words: [0, u64::from(listener)] },
        }
    }

    #[inline]
    fn slot(self) -> usize {
        // The multiplier of Fibonacci hashing: 2^64 divided by the golden ratio.
        let mixed = (self.words[0] ^ self.words[1]).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> (u64::BITS - SLOTS.trailing_zeros())) as usize
    }
}

#[derive(Clone, Copy)]
struct Slot {
    id: Id,
    packets: u64,
    bytes: u64,
    lines: u64,
}

const EMPTY: Slot = Slot { id: Id::OTHERS, packets: 0, bytes: 0, lines: 0 };

/// One lane's table.
pub(super) struct Senders {
    slots: Box<[Slot; SLOTS]>,
    known: HashMap<Id, Account, RandomState>,
    others: Account,
    /// Unix seconds of the last publication.
    published: u64,
}

/// What one sender sent.
#[derive(Clone, Debug, Default)]
struct Account {
    packets: u64,
    bytes: u64,
    lines: u64,
    refused: u64,
    /// Contexts it was the first to name.
    contexts_new: u64,
    /// Lines of new contexts past a cap.
    past_cap: u64,
    /// Unix seconds, as fresh as the last publication.
    last_seen: u64,
    bad: Vec<BadLine>,
    client: Option<Box<Client>>,
}

#[derive(Clone, Debug)]
struct BadLine {
    line: Box<[u8]>,
    error: ParseError,
}

/// What client libraries say of themselves.
#[derive(Clone, Copy, Debug, Default)]
struct Client {
    reports: u64,
    metrics: u64,
    packets_sent: u64,
    packets_dropped: u64,
    bytes_sent: u64,
    bytes_dropped: u64,
    /// Packets we had received at the first report.
    received_at_first: u64,
    /// Packets sent according to the first report, which covers time before it.
    sent_at_first: u64,
    /// Packets we had received at the last report.
    received_at_last: u64,
}

impl Account {
    /// Packets, lines and bytes.
    fn figures(&self) -> [u64; 3] {
        [self.packets, self.lines, self.bytes]
    }

    fn add(&mut self, other: &Account) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.lines += other.lines;
        self.refused += other.refused;
        self.contexts_new += other.contexts_new;
        self.past_cap += other.past_cap;
        self.last_seen = self.last_seen.max(other.last_seen);
        let room = BAD_LINES.saturating_sub(self.bad.len());
        self.bad.extend(other.bad.iter().take(room).cloned());
        if let Some(theirs) = &other.client {
            self.client.get_or_insert_default().add(theirs);
        }
    }
}

impl Client {
    fn add(&mut self, other: &Client) {
        self.reports += other.reports;
        self.metrics += other.metrics;
        self.packets_sent += other.packets_sent;
        self.packets_dropped += other.packets_dropped;
        self.bytes_sent += other.bytes_sent;
        self.bytes_dropped += other.bytes_dropped;
        self.received_at_first += other.received_at_first;
        self.sent_at_first += other.sent_at_first;
        self.received_at_last += other.received_at_last;
    }

    /// Packets that clients sent between their first and last report and that did not get here.
    fn missing(&self) -> Option<u64> {
        let sent = self.packets_sent.saturating_sub(self.sent_at_first);
        let received = self.received_at_last.saturating_sub(self.received_at_first);
        (self.reports > 1).then(|| sent.saturating_sub(received))
    }
}

impl Senders {
    pub fn new() -> Self {
        Senders {
            slots: Box::new([EMPTY; SLOTS]),
            known: HashMap::default(),
            others: Account::default(),
            published: 0,
        }
    }

    /// One datagram or frame with its lines.
    #[inline]
    pub fn see(&mut self, from: &Sender<'_>, listener: u16, bytes: usize, lines: u64) {
        let id = Id::of(from, listener);
        let slot = &mut self.slots[id.slot()];
        if slot.id != id {
            self.displace(id);
        }
        let slot = &mut self.slots[id.slot()];
        slot.packets += 1;
        slot.bytes += bytes as u64;
        slot.lines += lines;
    }

    /// Another sender takes the slot.
    #[cold]
    fn displace(&mut self, id: Id) {
        let displaced = std::mem::replace(&mut self.slots[id.slot()], Slot { id, ..EMPTY });
        self.settle(displaced);
    }

    fn settle(&mut self, slot: Slot) {
        if slot.packets > 0 {
            let now = self.published;
            let account = self.account(slot.id);
            account.last_seen = now.max(account.last_seen);
            account.packets += slot.packets;
            account.bytes += slot.bytes;
            account.lines += slot.lines;
        }
    }

    fn account(&mut self, id: Id) -> &mut Account {
        let room = self.known.len() < SENDERS_MAX;
        if id != Id::OTHERS && (room || self.known.contains_key(&id)) {
            return self.known.entry(id).or_default();
        }
        &mut self.others
    }

    /// The account of a sender, everything it sent before this datagram included.
    fn current(&mut self, from: &Sender<'_>, listener: u16) -> &mut Account {
        let id = Id::of(from, listener);
        if self.slots[id.slot()].id == id {
            self.displace(id);
        }
        self.account(id)
    }

    /// A line of this sender was refused.
    #[cold]
    pub fn refused(&mut self, from: &Sender<'_>, listener: u16, error: ParseError, line: &[u8]) {
        let account = self.current(from, listener);
        account.refused += 1;
        let line = &line[..line.len().min(BAD_LINE_BYTES)];
        // A line that comes again and again leaves room for others.
        if let Some(at) = account.bad.iter().position(|bad| *bad.line == *line) {
            account.bad[at..].rotate_left(1);
            return;
        }
        if account.bad.len() == BAD_LINES {
            account.bad.remove(0);
        }
        account.bad.push(BadLine { line: line.into(), error });
    }

    /// This sender named new contexts, some of them past a cap.
    #[cold]
    pub fn named(&mut self, from: &Sender<'_>, listener: u16, contexts_new: u64, past_cap: u64) {
        let account = self.current(from, listener);
        account.contexts_new += contexts_new;
        account.past_cap += past_cap;
    }

    /// True for a line that may be a client's own counter.
    #[inline]
    pub fn is_telling(line: &[u8]) -> bool {
        line.first_chunk::<8>() == Some(b"datadog.")
    }

    /// A client tells what it sent and dropped.
    #[cold]
    pub fn told(&mut self, from: &Sender<'_>, listener: u16, line: &[u8], options: Options) {
        let Ok(Message::Metric(metric)) = protocol::read(line, options) else { return };
        let Some(what) = metric.name.strip_prefix(CLIENT_PREFIX) else { return };
        let sum: f64 = metric.values.numbers().filter(|value| *value >= 0.0).sum();
        // Saturates: whatever a client claims is a number.
        let value = sum as u64;
        let account = self.current(from, listener);
        let received = account.packets;
        let client = account.client.get_or_insert_default();
        let figure = match what {
            b"metrics" => &mut client.metrics,
            b"packets_sent" => {
                if client.reports == 0 {
                    (client.received_at_first, client.sent_at_first) = (received, value);
                }
                client.reports += 1;
                client.received_at_last = received;
                &mut client.packets_sent
            }
            b"packets_dropped" => &mut client.packets_dropped,
            b"bytes_sent" => &mut client.bytes_sent,
            b"bytes_dropped" => &mut client.bytes_dropped,
            _ => return,
        };
        *figure = figure.saturating_add(value);
    }

    /// A copy for whoever asks, everything up to `now` (unix seconds) included.
    pub fn publish(&mut self, now: u64) -> Published {
        self.published = now;
        for at in 0..SLOTS {
            let id = self.slots[at].id;
            let slot = std::mem::replace(&mut self.slots[at], Slot { id, ..EMPTY });
            self.settle(slot);
        }
        if self.known.len() >= SENDERS_MAX {
            let others = &mut self.others;
            self.known.retain(|_, account| {
                let stays = account.last_seen + IDLE_SECONDS >= now;
                if !stays {
                    others.add(account);
                    others.bad.clear();
                }
                stays
            });
        }
        let mut accounts: Vec<(Id, Account)> =
            self.known.iter().map(|(id, account)| (*id, account.clone())).collect();
        if self.others.packets > 0 {
            accounts.push((Id::OTHERS, self.others.clone()));
        }
        Published(accounts)
    }
}

/// The senders of one lane, or of all.
#[derive(Clone, Debug, Default)]
pub(super) struct Published(Vec<(Id, Account)>);

impl Published {
    /// All lanes together.
    pub fn merged<'a>(lanes: impl Iterator<Item = &'a Published>) -> Self {
        let mut sums: HashMap<Id, Account, RandomState> = HashMap::default();
        for (id, account) in lanes.flat_map(|lane| &lane.0) {
            sums.entry(*id).or_default().add(account);
        }
        let mut all: Vec<(Id, Account)> = sums.into_iter().collect();
        all.sort_by(|a, b| b.1.packets.cmp(&a.1.packets).then_with(|| a.0.words.cmp(&b.0.words)));
        Published(all)
    }

    /// The sender with the most lines of new contexts past a cap, in words.
    pub fn most_past_cap(&self, listeners: &[ListenerDescription]) -> Option<String> {
        let most = self.0.iter().max_by_key(|(_, account)| account.past_cap)?;
        (most.1.past_cap > 0).then(|| name(most.0, listeners))
    }

    /// As [`Published::rows`], with what came since `earlier`; the busiest since then first.
    pub fn rates(
        &self,
        earlier: &Published,
        seconds: f64,
        listeners: &[ListenerDescription],
        count: usize,
    ) -> Vec<Value> {
        let before: HashMap<Id, &Account, RandomState> =
            earlier.0.iter().map(|(id, account)| (*id, account)).collect();
        let mut since: Vec<(&(Id, Account), [u64; 3])> = self
            .0
            .iter()
            .map(|entry| {
                let then = before.get(&entry.0).map_or([0; 3], |then| then.figures());
                let now = entry.1.figures();
                (entry, std::array::from_fn(|at| now[at].saturating_sub(then[at])))
            })
            .collect();
        since.sort_by_key(|(_, [packets, ..])| std::cmp::Reverse(*packets));
        let rated = |((id, account), figures): &(&(Id, Account), [u64; 3])| {
            let mut row = row(*id, account, listeners);
            let names = ["packets_per_second", "lines_per_second", "bytes_per_second"];
            if let Value::Object(row) = &mut row {
                for (name, figure) in names.into_iter().zip(figures) {
                    row.insert(name.to_owned(), (*figure as f64 / seconds).into());
                }
            }
            row
        };
        since.iter().take(count).map(rated).collect()
    }

    /// Rows for people and scripts, the busiest first, at most `count`.
    pub fn rows(&self, listeners: &[ListenerDescription], count: usize) -> Vec<Value> {
        self.0.iter().take(count).map(|(id, account)| row(*id, account, listeners)).collect()
    }
}

fn address(words: [u64; 2]) -> IpAddr {
    let bits = u128::from(words[0]) << 64 | u128::from(words[1]);
    Ipv6Addr::from(bits).to_canonical()
}

fn name(id: Id, listeners: &[ListenerDescription]) -> String {
    match id.kind {
        Kind::Address => address(id.words).to_string(),
        Kind::Process => format!("pid {} uid {}", id.words[0], id.words[1]),
        Kind::Listener => {
            let at = usize::try_from(id.words[1]).unwrap_or(usize::MAX);
            listeners.get(at).map_or_else(String::new, |listener| {
                format!("anybody on {} {}", listener.transport, listener.address)
            })
        }
        Kind::Others => "(others)".to_owned(),
    }
}

/// The name of a process that still runs.
fn command(id: Id) -> Option<String> {
    let pid = (id.kind == Kind::Process).then_some(id.words[0])?;
    let name = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(printable(name.trim_ascii_end(), 64))
}

fn row(id: Id, account: &Account, listeners: &[ListenerDescription]) -> Value {
    let bad = |bad: &BadLine| {
        json!({
            "line": printable(&bad.line, BAD_LINE_BYTES),
            "reason": bad.error.kind.reason(),
            "offset": bad.error.offset,
            "shown": bad.error.render(&bad.line).to_string(),
        })
    };
    let client = account.client.as_ref().map(|client| {
        json!({
            "reports": client.reports,
            "metrics": client.metrics,
            "packets_sent": client.packets_sent,
            "packets_dropped": client.packets_dropped,
            "bytes_sent": client.bytes_sent,
            "bytes_dropped": client.bytes_dropped,
            "packets_missing": client.missing(),
        })
    });
    json!({
        "sender": name(id, listeners),
        "command": command(id),
        "packets": account.packets,
        "bytes": account.bytes,
        "lines": account.lines,
        "refused": account.refused,
        "contexts_new": account.contexts_new,
        "past_cap": account.past_cap,
        "last_seen": account.last_seen,
        "bad_lines": account.bad.iter().map(bad).collect::<Vec<_>>(),
        "client": client,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Credentials;

    fn process(pid: i32) -> Sender<'static> {
        Sender::Process(Credentials { pid, uid: 7, gid: 7 })
    }

    fn rows(senders: &mut Senders, now: u64) -> Vec<Value> {
        Published::merged([senders.publish(now)].iter()).rows(&[], usize::MAX)
    }

    #[test]
    fn everything_is_counted_whoever_shares_a_slot() {
        let mut senders = Senders::new();
        for round in 0..3 {
            // More senders than slots: they displace each other.
            for pid in 1..=1_000 {
                senders.see(&process(pid), 0, 10, 2);
            }
            assert_eq!(senders.publish(round).0.len(), 1_000);
        }
        for row in rows(&mut senders, 3) {
            assert_eq!(
                (&row["packets"], &row["bytes"], &row["lines"]),
                (&3.into(), &30.into(), &6.into())
            );
        }
    }

    #[test]
    fn senders_past_the_bound_are_counted_together_and_idle_ones_make_room() {
        let mut senders = Senders::new();
        let many = i32::try_from(SENDERS_MAX).unwrap() + 500;
        (1..=many).for_each(|pid| senders.see(&process(pid), 0, 1, 1));
        let shown = rows(&mut senders, 1);
        assert_eq!(shown.len(), SENDERS_MAX + 1);
        let others = shown.iter().find(|row| row["sender"] == "(others)").unwrap();
        assert_eq!(others["packets"], 500);
        rows(&mut senders, 2 + IDLE_SECONDS);
        senders.see(&process(many), 0, 1, 1);
        let shown = rows(&mut senders, 3 + IDLE_SECONDS);
        let packets: u64 = shown.iter().filter_map(|row| row["packets"].as_u64()).sum();
        assert_eq!(packets, u64::try_from(many).unwrap() + 1);
        assert!(shown.iter().any(|row| row["sender"] == format!("pid {many} uid 7")));
    }

    #[test]
    fn the_last_bad_lines_are_kept_with_their_reason() {
        let mut senders = Senders::new();
        for line in ["one", "two", "three", "two", "n:x|g"] {
            let error = protocol::read(line.as_bytes(), Options::default()).unwrap_err();
            senders.refused(&process(1), 0, error, line.as_bytes());
            senders.see(&process(1), 0, line.len(), 1);
        }
        let row = &rows(&mut senders, 1)[0];
        assert_eq!(row["refused"], 5);
        let bad = row["bad_lines"].as_array().unwrap();
        assert_eq!(bad.len(), 3);
        assert_eq!((&bad[0]["line"], &bad[1]["line"]), (&"three".into(), &"two".into()));
        assert_eq!(bad[0]["reason"], "missing_type");
        assert_eq!((&bad[2]["reason"], &bad[2]["offset"]), (&"bad_value".into(), &2.into()));
        assert!(bad[2]["shown"].as_str().unwrap().contains("^"));
    }

    #[test]
    fn what_clients_say_is_held_against_what_arrived() {
        let mut senders = Senders::new();
        let mut report = |received: usize, sent: u64, dropped: u64| {
            (0..received).for_each(|_| senders.see(&process(1), 0, 5, 1));
            for (what, value) in [("packets_sent", sent), ("packets_dropped", dropped)] {
                let line = format!("datadog.dogstatsd.client.{what}:{value}|c|#client:py");
                assert!(Senders::is_telling(line.as_bytes()));
                senders.told(&process(1), 0, line.as_bytes(), Options::default());
            }
        };
        // The first report covers time before we listened.
        report(10, 50, 0);
        report(20, 25, 2);
        let row = &rows(&mut senders, 1)[0];
        let client = &row["client"];
        assert_eq!((&client["packets_sent"], &client["packets_dropped"]), (&75.into(), &2.into()));
        assert_eq!((&client["packets_missing"], &client["reports"]), (&5.into(), &2.into()));
        assert_eq!(row["packets"], 30);
    }

    #[test]
    fn an_address_is_told_without_its_port() {
        let id = |words| Id { kind: Kind::Address, words };
        assert_eq!(name(id([0, 0xffff_0a00_0007]), &[]), "10.0.0.7");
        assert_eq!(name(id([0xfe80 << 48, 1]), &[]), "fe80::1");
    }
}
