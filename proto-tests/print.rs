//! The compact form of an outcome, in bytes; see `corpus/README.md`.

use whippet::protocol::{
    AlertType, Cardinality, Event, ExternalData, Ignored, LocalData, Message, Metric, OriginFields,
    ParseError, Priority, ServiceCheck, Status, Values, unescape,
};

pub fn line(read: Result<Message<'_>, ParseError>) -> Vec<u8> {
    match read {
        Ok(Message::Metric(metric)) => self::metric(&metric),
        Ok(Message::Event(event)) => self::event(&event),
        Ok(Message::ServiceCheck(check)) => self::check(&check),
        Err(error) => format!("refused {}@{}", error.kind.reason(), error.offset).into_bytes(),
    }
}

fn metric(metric: &Metric<'_>) -> Vec<u8> {
    let mut out = Out::new(metric.kind.word());
    out.bytes(b" ").bytes(metric.name);
    match metric.values {
        Values::One(number) => out.text(&format!(" {number}")),
        Values::Packed(_) => {
            let numbers: Vec<String> = metric.values.numbers().map(|n| n.to_string()).collect();
            out.text(&format!(" [{}]", numbers.join(" ")))
        }
        Values::Member(member) => out.boxed(" member=", member),
    };
    if metric.rate != 1.0 {
        out.text(&format!(" rate={}", metric.rate));
    }
    out.boxed_unless_empty(" tags=", metric.tags);
    out.seconds(metric.timestamp).origin(&metric.origin);
    out.0
}

fn event(event: &Event<'_>) -> Vec<u8> {
    let mut out = Out::new("event");
    out.boxed(" ", &unescape(event.title)).boxed(" ", &unescape(event.text));
    out.seconds(event.timestamp);
    out.boxed_unless_empty(" host=", event.host.unwrap_or_default());
    out.boxed_unless_empty(" key=", event.aggregation_key);
    if event.priority != Priority::Normal {
        out.text(" priority=").text(event.priority.word());
    }
    out.boxed_unless_empty(" source=", event.source_type);
    if event.alert_type != AlertType::Info {
        out.text(" alert=").text(event.alert_type.word());
    }
    out.boxed_unless_empty(" tags=", event.tags).origin(&event.origin).ignored(event.ignored);
    out.0
}

fn check(check: &ServiceCheck<'_>) -> Vec<u8> {
    let mut out = Out::new("check");
    out.bytes(b" ").bytes(check.name);
    out.text(match check.status {
        Status::Ok => " OK",
        Status::Warning => " WARNING",
        Status::Critical => " CRITICAL",
        Status::Unknown => " UNKNOWN",
    });
    out.seconds(check.timestamp);
    out.boxed_unless_empty(" host=", check.host.unwrap_or_default());
    out.boxed_unless_empty(" message=", check.message);
    out.boxed_unless_empty(" tags=", check.tags).origin(&check.origin).ignored(check.ignored);
    out.0
}

struct Out(Vec<u8>);

impl Out {
    fn new(first: &str) -> Self {
        Out(first.as_bytes().to_vec())
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn boxed(&mut self, label: &str, bytes: &[u8]) -> &mut Self {
        self.text(label).bytes(b"[").bytes(bytes).bytes(b"]")
    }

    fn boxed_unless_empty(&mut self, label: &str, bytes: &[u8]) -> &mut Self {
        if bytes.is_empty() { self } else { self.boxed(label, bytes) }
    }

    fn seconds(&mut self, timestamp: Option<i64>) -> &mut Self {
        match timestamp {
            Some(seconds) => self.text(&format!(" timestamp={seconds}")),
            None => self,
        }
    }

    fn origin(&mut self, origin: &OriginFields<'_>) -> &mut Self {
        let local = LocalData::read(origin.local_data.unwrap_or_default());
        let external = ExternalData::read(origin.external_data.unwrap_or_default());
        self.labelled(" container=", local.container_id);
        if let Some(inode) = local.inode {
            self.text(&format!(" inode={inode}"));
        }
        self.flag(" bad-inode", local.bad_inode);
        self.flag(" init", external.init).flag(" bad-init", external.bad_init);
        self.labelled(" container_name=", external.container_name);
        self.labelled(" pod=", external.pod_uid);
        if let Some(word) = origin.cardinality {
            let word = Cardinality::read(word).map_or("default", Cardinality::word);
            self.text(" cardinality=").text(word);
        }
        self
    }

    fn ignored(&mut self, ignored: Ignored) -> &mut Self {
        let fields = [("d", ignored.timestamp), ("p", ignored.priority), ("t", ignored.alert_type)];
        let warned: Vec<&str> =
            fields.into_iter().filter(|(_, warned)| *warned).map(|(field, _)| field).collect();
        if warned.is_empty() { self } else { self.text(" warned=").text(&warned.join(",")) }
    }

    fn labelled(&mut self, label: &str, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            Some(bytes) => self.text(label).bytes(bytes),
            None => self,
        }
    }

    fn flag(&mut self, label: &str, set: bool) -> &mut Self {
        if set { self.text(label) } else { self }
    }
}
