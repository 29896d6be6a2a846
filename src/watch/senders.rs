//! Who sends what: packets, bytes, lines and faults per IP address or process.
//!
//! Clever: each lane has small direct-mapped tables in front of the real one, so that a datagram of
//! a known sender costs one multiplication, one comparison and three additions and no hash of a
//! map: some two dozen instructions (`tools/senders.py` counts them). Slots are found by an IPv4
//! address as it stands in memory, which needs no decoding. What is displaced from it is added to the real table, which
//! holds [`SENDERS_MAX`] entries of at most about a kilobyte; further senders are counted together.
//! When touching this file: a slot holds only what the table does not know yet.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::context::CLIENT_TELEMETRY;
use crate::net::{Credentials, ListenerDescription, Sender};
use crate::protocol::{self, Message, Options, ParseError};
use ahash::RandomState;

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

/// A sender in three words, so that comparing is cheap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SenderId {
    kind: Kind,
    words: [u64; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
enum Kind {
    /// The number of a listener whose senders are unnamed.
    Listener,
    /// An IP address.
    Address,
    /// Process and user.
    Process,
    /// Everybody who found no room.
    Others,
}

impl SenderId {
    const OTHERS: SenderId = SenderId { kind: Kind::Others, words: [0, 0] };

    fn of(from: &Sender<'_>, listener: u16) -> Self {
        match from {
            Sender::Internet(name) => SenderId { kind: Kind::Address, words: name.ip_words() },
            Sender::Process(process) => {
                let words = [u64::from(process.pid.cast_unsigned()), u64::from(process.uid)];
                SenderId { kind: Kind::Process, words }
            }
            Sender::Unknown => SenderId { kind: Kind::Listener, words: [0, u64::from(listener)] },
        }
    }

    /// The number of a process.
    pub fn pid(self) -> Option<i32> {
        i32::try_from(self.words[0]).ok().filter(|_| self.kind == Kind::Process)
    }
}

/// The tables in front: one per kind of sender, so that a slot need not say whose it is. Two words
/// that tell its sender from all others of its kind stand in each; where one is enough, only the
/// first is looked at. They lie here and not behind a pointer, which would be one more load.
struct Front {
    /// By address; senders with many sockets are still one.
    ipv4: [Slot; SLOTS],
    ipv6: [Slot; SLOTS],
    processes: [Slot; SLOTS],
    /// Unnamed senders, by listener.
    listeners: [Slot; SLOTS],
}

/// Eight words, so that finding one is a shift.
#[derive(Clone, Copy)]
#[repr(C)]
struct Slot {
    words: [u64; 2],
    /// Apart from the counters that grow with it, or the compiler makes one wide addition of two,
    /// in twice as many instructions.
    packets: u64,
    id: SenderId,
    bytes: u64,
    lines: u64,
}

/// No sender has these words: no process has this number, no address is this one.
const EMPTY: Slot =
    Slot { words: [u64::MAX; 2], packets: 0, id: SenderId::OTHERS, bytes: 0, lines: 0 };

/// The multiplier of Fibonacci hashing: 2^32 divided by the golden ratio.
const GOLDEN: u32 = 0x9E37_79B9;

#[inline(always)]
fn slot_of(bits: u32) -> usize {
    (bits.wrapping_mul(GOLDEN) >> (u32::BITS - SLOTS.trailing_zeros())) as usize
}

#[inline(always)]
fn slot_of_ipv6(words: [u64; 2]) -> usize {
    // The end of an address differs first; where it stands in the word, the order of bytes decides.
    let end = if cfg!(target_endian = "little") { words[1] >> 32 } else { words[1] };
    slot_of(end as u32)
}

/// Number and user of a process.
#[inline(always)]
fn process_word(process: &Credentials) -> u64 {
    u64::from(process.pid.cast_unsigned()) | u64::from(process.uid) << 32
}

/// One lane's table.
pub(crate) struct Senders {
    front: Front,
    known: HashMap<SenderId, Account, RandomState>,
    others: Account,
    /// Unix seconds of the last publication.
    published: u64,
}

/// What one sender sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub packets: u64,
    pub bytes: u64,
    pub lines: u64,
    pub refused: u64,
    /// Contexts it was the first to name.
    pub contexts_new: u64,
    /// Lines of new contexts past a cap.
    pub past_cap: u64,
    /// Unix seconds, as fresh as the last publication.
    pub last_seen: u64,
    pub bad: Vec<BadLine>,
    pub client: Option<Box<Client>>,
    /// Of a process, once it is known.
    pub container: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
pub(crate) struct BadLine {
    pub line: Box<[u8]>,
    pub error: ParseError,
}

/// What client libraries say of themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Client {
    pub reports: u64,
    pub metrics: u64,
    pub packets_sent: u64,
    pub packets_dropped: u64,
    pub bytes_sent: u64,
    pub bytes_dropped: u64,
    /// Packets we had received at the first report.
    received_at_first: u64,
    /// Packets sent according to the first report, which covers time before it.
    sent_at_first: u64,
    /// Packets we had received at the last report.
    received_at_last: u64,
}

impl Account {
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
        if self.container.is_none() {
            self.container.clone_from(&other.container);
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
    pub fn missing(&self) -> Option<u64> {
        let sent = self.packets_sent.saturating_sub(self.sent_at_first);
        let received = self.received_at_last.saturating_sub(self.received_at_first);
        (self.reports > 1).then(|| sent.saturating_sub(received))
    }
}

impl Slot {
    #[inline]
    fn add(&mut self, bytes: usize, lines: u64) {
        self.packets += 1;
        self.bytes += bytes as u64;
        self.lines += lines;
    }
}

impl Senders {
    pub fn new() -> Self {
        Senders {
            front: Front {
                ipv4: [EMPTY; SLOTS],
                ipv6: [EMPTY; SLOTS],
                processes: [EMPTY; SLOTS],
                listeners: [EMPTY; SLOTS],
            },
            known: HashMap::default(),
            others: Account::default(),
            published: 0,
        }
    }

    /// One datagram or frame with its lines.
    #[inline(always)]
    pub fn see(&mut self, from: &Sender<'_>, listener: u16, bytes: usize, lines: u64) {
        let front = &mut self.front;
        let (slot, known) = match from {
            Sender::Internet(name) => match name.ipv4_bits() {
                Some(bits) => {
                    let slot = &mut front.ipv4[slot_of(bits)];
                    let known = slot.words[0] == u64::from(bits);
                    (slot, known)
                }
                None => {
                    let words = name.ipv6_bits();
                    let slot = &mut front.ipv6[slot_of_ipv6(words)];
                    let known = slot.words == words;
                    (slot, known)
                }
            },
            Sender::Process(process) => {
                let slot = &mut front.processes[slot_of(process.pid.cast_unsigned())];
                let known = slot.words[0] == process_word(process);
                (slot, known)
            }
            Sender::Unknown => {
                let slot = &mut front.listeners[usize::from(listener) % SLOTS];
                let known = slot.words[0] == u64::from(listener);
                (slot, known)
            }
        };
        if known {
            slot.add(bytes, lines);
        } else {
            self.see_other(from, listener, bytes, lines);
        }
    }

    /// Another sender than the one in the slot.
    #[cold]
    #[inline(never)]
    fn see_other(&mut self, from: &Sender<'_>, listener: u16, bytes: usize, lines: u64) {
        let front = &mut self.front;
        let (slot, words) = match from {
            Sender::Internet(name) => match name.ipv4_bits() {
                Some(bits) => (&mut front.ipv4[slot_of(bits)], [bits.into(), 0]),
                None => {
                    let words = name.ipv6_bits();
                    (&mut front.ipv6[slot_of_ipv6(words)], words)
                }
            },
            Sender::Process(process) => {
                let slot = &mut front.processes[slot_of(process.pid.cast_unsigned())];
                (slot, [process_word(process), 0])
            }
            Sender::Unknown => {
                (&mut front.listeners[usize::from(listener) % SLOTS], [listener.into(), 0])
            }
        };
        let mut mine = Slot { words, id: SenderId::of(from, listener), ..EMPTY };
        mine.add(bytes, lines);
        let displaced = std::mem::replace(slot, mine);
        self.settle(displaced);
    }

    /// Adds what a slot held to its account.
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

    fn account(&mut self, id: SenderId) -> &mut Account {
        let room = self.known.len() < SENDERS_MAX;
        if id != SenderId::OTHERS && (room || self.known.contains_key(&id)) {
            return self.known.entry(id).or_default();
        }
        &mut self.others
    }

    /// Adds what the slots hold to the accounts.
    fn settle_all(&mut self) {
        let Front { ipv4, ipv6, processes, listeners } = &mut self.front;
        let mut held = Vec::new();
        for slot in [ipv4, ipv6, processes, listeners].into_iter().flatten() {
            if slot.packets > 0 {
                let Slot { words, id, .. } = *slot;
                held.push(std::mem::replace(slot, Slot { words, id, ..EMPTY }));
            }
        }
        held.into_iter().for_each(|slot| self.settle(slot));
    }

    /// A line of this sender was refused.
    #[cold]
    pub fn refused(&mut self, from: &Sender<'_>, listener: u16, error: ParseError, line: &[u8]) {
        let account = self.account(SenderId::of(from, listener));
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
        let account = self.account(SenderId::of(from, listener));
        account.contexts_new += contexts_new;
        account.past_cap += past_cap;
    }

    /// A client reports what it sent and dropped.
    #[cold]
    pub fn client_telemetry(
        &mut self,
        from: &Sender<'_>,
        listener: u16,
        line: &[u8],
        options: Options,
    ) {
        let Ok(Message::Metric(metric)) = protocol::read(line, options) else { return };
        let Some(what) = metric.name.strip_prefix(CLIENT_TELEMETRY) else { return };
        let sum: f64 = metric.values.numbers().filter(|value| *value >= 0.0).sum();
        // Saturates: whatever a client claims is a number.
        let value = sum as u64;
        // One address may fill several slots.
        self.settle_all();
        let account = self.account(SenderId::of(from, listener));
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

    /// A copy for the admin pages, everything up to `now` (unix seconds) included. `container_of`
    /// names the container of a process from memory.
    pub fn publish<'a>(
        &mut self,
        now: u64,
        container_of: impl Fn(i32) -> Option<&'a [u8]>,
    ) -> Published {
        self.published = now;
        self.settle_all();
        let nameless = |(id, account): &(&SenderId, &mut Account)| {
            id.kind == Kind::Process && account.container.is_none()
        };
        for (id, account) in self.known.iter_mut().filter(nameless) {
            let container = id.pid().and_then(&container_of);
            account.container = container.map(|id| String::from_utf8_lossy(id).into());
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
        let mut accounts: Vec<(SenderId, Account)> =
            self.known.iter().map(|(id, account)| (*id, account.clone())).collect();
        if self.others.packets > 0 {
            accounts.push((SenderId::OTHERS, self.others.clone()));
        }
        Published(accounts)
    }
}

/// The senders of one lane, or of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published(Vec<(SenderId, Account)>);

impl Published {
    /// All lanes together.
    pub fn merged<'a>(lanes: impl Iterator<Item = &'a Published>) -> Self {
        let mut sums: HashMap<SenderId, Account, RandomState> = HashMap::default();
        for (id, account) in lanes.flat_map(|lane| &lane.0) {
            sums.entry(*id).or_default().add(account);
        }
        let mut all: Vec<(SenderId, Account)> = sums.into_iter().collect();
        all.sort_by(|a, b| b.1.packets.cmp(&a.1.packets).then_with(|| a.0.words.cmp(&b.0.words)));
        Published(all)
    }

    /// The sender with the most lines of new contexts past a cap, in words.
    pub fn most_past_cap(&self, listeners: &[ListenerDescription]) -> Option<String> {
        let most = self.0.iter().max_by_key(|(_, account)| account.past_cap)?;
        let (id, account) = most;
        let container = account.container.as_ref().map(|id| format!(" in container {id}"));
        (account.past_cap > 0).then(|| id.name(listeners) + &container.unwrap_or_default())
    }

    /// Every sender with its account, the busiest first.
    pub fn iter(&self) -> std::slice::Iter<'_, (SenderId, Account)> {
        self.0.iter()
    }
}

fn address(words: [u64; 2]) -> IpAddr {
    let bits = u128::from(words[0]) << 64 | u128::from(words[1]);
    Ipv6Addr::from(bits).to_canonical()
}

impl SenderId {
    /// `10.0.0.7`, `pid 12 uid 0`, or the listener of senders without a name.
    pub fn name(self, listeners: &[ListenerDescription]) -> String {
        match self.kind {
            Kind::Address => address(self.words).to_string(),
            Kind::Process => format!("pid {} uid {}", self.words[0], self.words[1]),
            Kind::Listener => {
                let at = usize::try_from(self.words[1]).unwrap_or(usize::MAX);
                listeners.get(at).map_or_else(String::new, |listener| {
                    format!("anyone on {} {}", listener.transport, listener.address)
                })
            }
            Kind::Others => "(others)".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::SocketName;

    fn process(pid: i32) -> Sender<'static> {
        Sender::Process(Credentials { pid, uid: 7, gid: 7 })
    }

    /// Names and accounts, the busiest first.
    fn rows(senders: &mut Senders, now: u64) -> Vec<(String, Account)> {
        let all = Published::merged([senders.publish(now, |_| None)].iter());
        all.iter().map(|(id, account)| (id.name(&[]), account.clone())).collect()
    }

    #[test]
    fn everything_is_counted_also_when_senders_share_a_slot() {
        let mut senders = Senders::new();
        for round in 0..3 {
            // More senders than slots: they displace each other.
            for pid in 1..=1_000 {
                senders.see(&process(pid), 0, 10, 2);
            }
            assert_eq!(senders.publish(round, |_| None).0.len(), 1_000);
        }
        for (_, account) in rows(&mut senders, 3) {
            assert_eq!((account.packets, account.bytes, account.lines), (3, 30, 6));
        }
    }

    #[test]
    fn every_kind_of_sender_has_its_own_place() {
        let names: Vec<SocketName> =
            ["10.0.0.7:1", "10.0.0.7:2", "[::1]:1", "[::ffff:10.0.0.7]:1", "[fe80::1]:1"]
                .map(|address| SocketName::of(address.parse().unwrap()))
                .into();
        let mut senders = Senders::new();
        for _ in 0..2 {
            names.iter().for_each(|name| senders.see(&Sender::Internet(name), 0, 1, 1));
            [0, 1].iter().for_each(|at| senders.see(&Sender::Unknown, *at, 1, 1));
            senders.see(&process(7), 0, 1, 1);
        }
        let mut counted: Vec<(String, u64)> = rows(&mut senders, 1)
            .into_iter()
            .map(|(name, account)| (name, account.packets))
            .collect();
        counted.sort();
        let expect =
            [("", 2), ("", 2), ("10.0.0.7", 6), ("::1", 2), ("fe80::1", 2), ("pid 7 uid 7", 2)];
        assert_eq!(counted, expect.map(|(name, packets)| (name.to_owned(), packets)));
    }

    #[test]
    fn senders_past_the_bound_are_counted_together_and_idle_ones_make_room() {
        let mut senders = Senders::new();
        let many = i32::try_from(SENDERS_MAX).unwrap() + 500;
        (1..=many).for_each(|pid| senders.see(&process(pid), 0, 1, 1));
        let shown = rows(&mut senders, 1);
        assert_eq!(shown.len(), SENDERS_MAX + 1);
        let others = shown.iter().find(|(name, _)| name == "(others)").unwrap();
        assert_eq!(others.1.packets, 500);
        rows(&mut senders, 2 + IDLE_SECONDS);
        senders.see(&process(many), 0, 1, 1);
        let shown = rows(&mut senders, 3 + IDLE_SECONDS);
        let packets: u64 = shown.iter().map(|(_, account)| account.packets).sum();
        assert_eq!(packets, u64::try_from(many).unwrap() + 1);
        assert!(shown.iter().any(|(name, _)| *name == format!("pid {many} uid 7")));
    }

    #[test]
    fn the_last_bad_lines_are_kept_with_their_reason() {
        let mut senders = Senders::new();
        for line in ["one", "two", "three", "two", "n:x|g"] {
            let error = protocol::read(line.as_bytes(), Options::default()).unwrap_err();
            senders.refused(&process(1), 0, error, line.as_bytes());
            senders.see(&process(1), 0, line.len(), 1);
        }
        let (_, account) = &rows(&mut senders, 1)[0];
        assert_eq!(account.refused, 5);
        let bad = |at: usize| {
            let bad: &BadLine = &account.bad[at];
            (&*bad.line, bad.error.kind.reason(), bad.error.offset)
        };
        assert_eq!(account.bad.len(), 3);
        assert_eq!((bad(0).0, bad(0).1, bad(1).0), (&b"three"[..], "missing_type", &b"two"[..]));
        assert_eq!((bad(2).1, bad(2).2), ("bad_value", 2));
    }

    #[test]
    fn a_process_keeps_the_container_it_was_seen_in() {
        let mut senders = Senders::new();
        senders.see(&process(1), 0, 1, 1);
        senders.see(&process(2), 0, 1, 1);
        senders.publish(1, |pid| (pid == 1).then_some(b"abc"));
        // Its entry may be gone from the memory of processes by now.
        senders.see(&process(1), 0, 1, 1);
        let shown = rows(&mut senders, 2);
        assert_eq!(shown[0].1.container.as_deref(), Some("abc"));
        assert_eq!(shown[1].1.container, None);
    }

    #[test]
    fn what_clients_say_is_held_against_what_arrived() {
        let mut senders = Senders::new();
        let mut report = |received: usize, sent: u64, dropped: u64| {
            (0..received).for_each(|_| senders.see(&process(1), 0, 5, 1));
            for (what, value) in [("packets_sent", sent), ("packets_dropped", dropped)] {
                let line = format!("datadog.dogstatsd.client.{what}:{value}|c|#client:py");
                senders.client_telemetry(&process(1), 0, line.as_bytes(), Options::default());
            }
        };
        // The first report covers time before we listened.
        report(10, 50, 0);
        report(20, 25, 2);
        let (_, account) = &rows(&mut senders, 1)[0];
        let client = account.client.as_deref().unwrap();
        assert_eq!((client.packets_sent, client.packets_dropped), (75, 2));
        assert_eq!((client.missing(), client.reports), (Some(5), 2));
        assert_eq!(account.packets, 30);
    }

    #[test]
    fn an_address_is_shown_without_its_port() {
        let id = |words| SenderId { kind: Kind::Address, words };
        assert_eq!(id([0, 0xffff_0a00_0007]).name(&[]), "10.0.0.7");
        assert_eq!(id([0xfe80 << 48, 1]).name(&[]), "fe80::1");
    }
}
