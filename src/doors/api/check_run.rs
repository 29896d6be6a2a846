//! `POST /api/v1/check_run`: one service check, or a list of them.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::events::time_or_now;
use super::parts::{Bad, each, refusal, tag_list};
use crate::aggregate::CheckRecord;
use crate::doors::json::{self, Text};
use crate::doors::{Answer, Door, Refusal, Request, Sink};
use crate::protocol::Status;

pub(super) struct CheckRun;

#[derive(Default, Deserialize)]
#[serde(default)]
struct OneCheck<'a> {
    #[serde(borrow)]
    check: Text<'a>,
    #[serde(borrow)]
    host_name: Text<'a>,
    status: Option<f64>,
    timestamp: Option<f64>,
    #[serde(borrow)]
    message: Text<'a>,
    #[serde(borrow)]
    tags: Option<&'a RawValue>,
}

impl Door for CheckRun {
    fn take(&self, request: &Request<'_>, sink: &mut dyn Sink) -> Result<Answer, Refusal> {
        let now = request.now.as_secs();
        let body = json::any_body(request.body)?;
        match body.get().as_bytes().first() {
            Some(b'[') => each("checks", Some(body), sink, |check, sink| one(check, now, sink))?,
            Some(b'{') => {
                if let Err(bad) = one(body, now, sink) {
                    sink.refuse(bad.reason);
                    return Err(refusal("", bad));
                }
            }
            _ => return Err(Refusal::decode("expected an object or a list of objects")),
        }
        Ok(super::accepted())
    }
}

fn one(check: &RawValue, now: u64, sink: &mut dyn Sink) -> Result<(), Bad> {
    let check: OneCheck<'_> =
        json::object(check).ok_or(Bad::value("", "an object with check and status"))?;
    if check.check.is_empty() {
        return Err(Bad::value("check", "a name"));
    }
    let status = match check.status {
        Some(0.0) => Status::Ok,
        Some(1.0) => Status::Warning,
        Some(2.0) => Status::Critical,
        Some(3.0) => Status::Unknown,
        _ => return Err(Bad::value("status", "0 to 3")),
    };
    let text = |text: &str| Box::from(text.as_bytes());
    sink.check(CheckRecord {
        name: text(&check.check),
        status,
        timestamp: time_or_now("timestamp", check.timestamp, now)?,
        host: text(&check.host_name),
        message: text(&check.message),
        tags: tag_list(check.tags, "")?,
    });
    Ok(())
}
