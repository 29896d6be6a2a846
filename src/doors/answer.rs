//! What a door answers.

use std::borrow::Cow;

use super::Reason;

/// A request that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Cow<'static, str>,
}

impl Answer {
    /// JSON, already written.
    pub fn json(status: u16, body: impl Into<Cow<'static, str>>) -> Self {
        Answer { status, content_type: "application/json", body: body.into() }
    }

    /// `200 {}`, which every client takes for success.
    pub fn ok() -> Self {
        Self::json(200, "{}")
    }
}

/// A request that was not taken. Nothing of it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub reason: Reason,
    pub status: u16,
    /// What was expected and where; never what was sent.
    pub message: String,
}

impl Refusal {
    /// A body that cannot be read: 400.
    pub fn decode(message: impl Into<String>) -> Self {
        Refusal { reason: Reason::Decode, status: 400, message: message.into() }
    }

    /// A request that was answered before: counted, and answered with success once more.
    pub fn duplicate() -> Self {
        Refusal { reason: Reason::Duplicate, status: 200, message: String::new() }
    }

    /// The answer: `{"errors":["…"]}`, or `{}` where the client has nothing to mend.
    pub fn answer(&self) -> Answer {
        if self.status == 200 {
            return Answer::ok();
        }
        let body = serde_json::json!({ "errors": [self.message] }).to_string();
        Answer::json(self.status, body)
    }
}
