//! Brokers for one test, and a reader that decodes what is on them.

use super::brokers::Brokers;
use crate::support::program::{Setup, until};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use whippet::part::{Part, PartId, PartLimits, Record, Value, decode};

pub const TOPIC: &str = "whippet-global";
pub const PARTITIONS: u32 = 8;

pub struct Cluster {
    brokers: Brokers,
}

impl Cluster {
    /// Three brokers with the topic.
    pub fn start() -> Self {
        let cluster = Cluster::without_topic();
        cluster.create(TOPIC, PARTITIONS);
        cluster
    }

    pub fn without_topic() -> Self {
        Cluster { brokers: Brokers::start() }
    }

    /// `host:port,…`
    pub fn addresses(&self) -> &str {
        &self.brokers.addresses
    }

    #[track_caller]
    pub fn create(&self, topic: &str, partitions: u32) {
        self.brokers.tell(&format!("create {topic} {partitions}"));
    }

    #[track_caller]
    pub fn down(&self) {
        self.brokers.tell("down");
    }

    #[track_caller]
    pub fn up(&self) {
        self.brokers.tell("up");
    }

    /// From now on nobody has rights on that topic.
    #[track_caller]
    pub fn forbid(&self, topic: &str) {
        self.brokers.tell(&format!("forbid {topic}"));
    }

    /// Until [`Cluster::allow`] nobody has the right to make that request: `produce` or `join`.
    #[track_caller]
    pub fn refuse(&self, request: &str) {
        self.brokers.tell(&format!("refuse {request}"));
    }

    #[track_caller]
    pub fn allow(&self, request: &str) {
        self.brokers.tell(&format!("allow {request}"));
    }

    /// Appends a record, whatever it is.
    #[track_caller]
    pub fn append(&self, partition: u32, record: &[u8]) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.addresses())
            .create()
            .expect("a producer");
        let record =
            BaseRecord::<[u8], [u8]>::to(TOPIC).partition(partition as i32).payload(record);
        producer.send(record).map_err(|(error, _)| error).expect("appended");
        producer.flush(Duration::from_secs(5)).expect("acknowledged");
    }

    /// A sender of everything that begins with `g.`, at an interval of a second, with no intake.
    pub fn sender(&self) -> Setup {
        sender_to(self.addresses())
    }

    /// An owner of partitions, at the interval and topic of [`Cluster::sender`].
    pub fn owner(&self, setup: Setup) -> Setup {
        setup
            .set("interval", 1)
            .env("WHIPPET_GLOBAL_MODE", "own")
            .env("WHIPPET_GLOBAL_BROKERS", self.addresses())
            .env("WHIPPET_GLOBAL_PARTITIONS", PARTITIONS)
            .env("WHIPPET_GLOBAL_GRACE", "1")
            .env("WHIPPET_GLOBAL_LATE", "5")
            .env("WHIPPET_GLOBAL_SESSION_TIMEOUT", "6")
    }

    pub fn reader(&self, topic: &str, partitions: u32) -> Reader {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.addresses())
            .set("group.id", "a-reader-of-tests")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .create()
            .expect("a consumer");
        let mut all = TopicPartitionList::new();
        for partition in 0..partitions {
            all.add_partition_offset(topic, partition as i32, Offset::Beginning).expect("listed");
        }
        consumer.assign(&all).expect("assigned");
        Reader { consumer, parts: Vec::new(), seen: HashSet::new(), twice: 0 }
    }
}

pub fn sender_to(brokers: &str) -> Setup {
    Setup::bare()
        .set("output", "none")
        .set("interval", 1)
        .env("WHIPPET_GLOBAL_MODE", "send")
        .env("WHIPPET_GLOBAL_BROKERS", brokers)
        .env("WHIPPET_GLOBAL_PARTITIONS", PARTITIONS)
        .env("WHIPPET_GLOBAL_METRICS", "g.*")
}

/// Reads a topic from its beginning; each part counts once, by its identity.
pub struct Reader {
    consumer: BaseConsumer,
    pub parts: Vec<Part>,
    seen: HashSet<PartId>,
    pub twice: u64,
}

impl Reader {
    /// Takes in what comes within a moment.
    fn read(&mut self) {
        while let Some(read) = self.consumer.poll(Duration::from_millis(20)) {
            // Brokers that are down say so.
            let Ok(message) = read else { continue };
            let bytes = message.payload().expect("a value");
            let record = decode(bytes, &PartLimits::new(1_000)).expect("a sound part");
            let Record::Part(part) = record else { panic!("not a part") };
            assert_eq!(part.head.partition, message.partition() as u32);
            for cell in &part.cells {
                assert_eq!(cell.key.partition(part.head.partitions), part.head.partition);
            }
            if self.seen.insert(part.head.id()) { self.parts.push(part) } else { self.twice += 1 }
        }
    }

    /// Waits until so many cells were read, each once; then for no more of them.
    #[track_caller]
    pub fn wait_for_cells(&mut self, cells: u64) {
        until("cells in the log", || {
            self.read();
            (self.cells() >= cells).then_some(())
        });
        self.read();
        assert_eq!(self.cells(), cells);
    }

    /// Waits until the counters of that name sum up to it.
    #[track_caller]
    pub fn wait_for_sum(&mut self, name: &str, sum: f64) {
        until("a sum in the log", || {
            self.read();
            (self.counters().get(name).copied().unwrap_or_default() >= sum).then_some(())
        });
        self.read();
        assert_eq!(self.counters()[name], sum);
    }

    pub fn cells(&self) -> u64 {
        self.parts.iter().map(|part| part.cells.len() as u64).sum()
    }

    /// The sum of each counter, by its name.
    pub fn counters(&self) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for cell in self.parts.iter().flat_map(|part| &part.cells) {
            if let Value::Counter(sum) = &cell.value {
                let name = String::from_utf8(cell.key.name().to_vec()).expect("text");
                *sums.entry(name).or_default() += sum.value();
            }
        }
        sums
    }

    /// Every key, with tags, once.
    pub fn keys(&self) -> Vec<String> {
        let cells = self.parts.iter().flat_map(|part| &part.cells);
        let text = |cell: &whippet::part::Cell| {
            String::from_utf8(cell.key.as_bytes().to_vec()).expect("text")
        };
        let mut keys: Vec<String> = cells.map(text).collect();
        keys.sort();
        keys.dedup();
        keys
    }
}

/// It does not start, and says so.
#[track_caller]
pub fn refuses(setup: &Setup, expected: &str) {
    let ended = setup.run();
    assert_ne!(ended.code(), Some(0));
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
}

/// The equation of cells, as a sender prints it at its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Cells {
    pub encoded: u64,
    pub acked: u64,
    pub waiting: u64,
    pub spooled: u64,
    pub dropped: u64,
}

/// The last line that begins so; it must balance.
#[track_caller]
pub fn cells(log: &str) -> Cells {
    let line = log.lines().rev().find(|line| line.starts_with("cells "));
    let line = line.unwrap_or_else(|| panic!("no balance of cells:\n{log}"));
    let equation = line.split([';', '(']).next().unwrap_or_default();
    let numbers: Vec<u64> = equation
        .split(['=', '+'])
        .map(|term| term.chars().filter(char::is_ascii_digit).collect::<String>())
        .map(|digits| digits.parse().expect("a number"))
        .collect();
    let [encoded, acked, waiting, spooled, dropped] = numbers[..] else { panic!("{line}") };
    assert_eq!(encoded, acked + waiting + spooled + dropped, "{line}");
    Cells { encoded, acked, waiting, spooled, dropped }
}
