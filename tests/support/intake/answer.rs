//! What a request is answered with: whole, late, cut or never.

use std::time::Duration;

/// What a request is answered with.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    pub(super) delay: Duration,
    pub(super) ending: Ending,
    pub(super) stores: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Whole,
    Hang,
    CutBefore,
    CutWithin,
    CloseAfter,
}

impl Answer {
    /// A whole answer; success stores the payload.
    pub fn status(status: u16) -> Self {
        Answer {
            status,
            headers: Vec::new(),
            body: format!("{{\"status\":{status}}}"),
            delay: Duration::ZERO,
            ending: Ending::Whole,
            stores: (200..300).contains(&status),
        }
    }

    /// Never answers, until the intake is dropped.
    pub fn hang() -> Self {
        Answer { ending: Ending::Hang, stores: false, ..Answer::status(202) }
    }

    /// Reads the request, then closes without a byte.
    pub fn cut() -> Self {
        Answer { ending: Ending::CutBefore, stores: false, ..Answer::status(202) }
    }

    /// Sends half of the answer, then closes.
    pub fn cut_within() -> Self {
        Answer { ending: Ending::CutWithin, stores: false, ..Answer::status(202) }
    }

    /// Answers whole, promises to keep the connection, and closes it all the same.
    pub fn close_after() -> Self {
        Answer { ending: Ending::CloseAfter, ..Answer::status(202) }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Answers later.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Stores the payload although the sender will not learn of it.
    pub fn but_stored(mut self) -> Self {
        self.stores = true;
        self
    }
}

impl Answer {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("Content-Type: application/json\r\n");
        head.push_str(&format!("Content-Length: {}\r\n\r\n{}", self.body.len(), self.body));
        head.into_bytes()
    }
}
