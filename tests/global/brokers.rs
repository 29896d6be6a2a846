//! The mock cluster of librdkafka in a process of its own, told what to do line by line. Not in this program: to
//! take its brokers down and up again it binds their ports anew, and aborts when that fails, as it does while a
//! program that another test starts still shares the listening sockets.

use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

/// Begins each answer; the test program that the brokers live in prints lines of its own.
const DONE: &str = "brokers: ";
const NAME: &str = "global::brokers::the_brokers_of_other_tests";
/// Requests in a row that are refused, more than any test waits for.
const REFUSALS: usize = 10_000;

/// Three brokers, for as long as it lives.
pub struct Brokers {
    child: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    pub addresses: String,
}

impl Brokers {
    #[track_caller]
    pub fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", NAME, "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program once more");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut brokers =
            Brokers { child, pipes: Mutex::new((stdin, stdout)), addresses: String::new() };
        brokers.addresses = brokers.tell("where");
        brokers
    }

    /// Does it; what it answers.
    #[track_caller]
    pub fn tell(&self, command: &str) -> String {
        let mut pipes = self.pipes.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        writeln!(pipes.0, "{command}").expect("brokers that listen");
        let mut line = String::new();
        loop {
            line.clear();
            let read = pipes.1.read_line(&mut line).expect("text");
            assert_ne!(read, 0, "the brokers ended at {command:?}");
            // The first one stands behind what the test program prints before it runs a test.
            if let Some((_, answer)) = line.split_once(DONE) {
                return answer.trim_end().to_owned();
            }
        }
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        // One that is gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn obey(brokers: &MockCluster<'static, rdkafka::producer::DefaultProducerContext>, command: &str) {
    let words: Vec<&str> = command.split(' ').collect();
    let api = |name: &str| match name {
        "produce" => RDKafkaApiKey::Produce,
        "join" => RDKafkaApiKey::JoinGroup,
        other => panic!("no request {other}"),
    };
    match words[..] {
        ["where"] => {}
        ["create", topic, partitions] => {
            let partitions = partitions.parse().expect("a number");
            brokers.create_topic(topic, partitions, 3).expect("a topic");
        }
        ["down"] => brokers.broker_down(-1).expect("brokers of ours"),
        ["up"] => brokers.broker_up(-1).expect("brokers of ours"),
        ["forbid", topic] => {
            let code = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
            brokers.topic_error(topic, code).expect("a topic of ours");
        }
        ["refuse", request] => {
            let code = match request {
                "join" => RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
                _ => RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            };
            brokers.request_errors(api(request), &[code; REFUSALS]);
        }
        ["allow", request] => brokers.clear_request_errors(api(request)),
        _ => panic!("{command:?} means nothing"),
    }
}

#[test]
#[ignore = "the brokers of other tests, which start them"]
fn the_brokers_of_other_tests() {
    let mut brokers = None;
    // Ends with the test that holds the other end.
    for command in std::io::stdin().lines().map_while(Result::ok) {
        let brokers = brokers.get_or_insert_with(|| MockCluster::new(3).expect("brokers"));
        obey(brokers, &command);
        println!("{DONE}{}", brokers.bootstrap_servers());
    }
}
