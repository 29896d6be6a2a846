//! Parts as lines, for people: what `whippet tap` shows of values that no line carried.

use std::io::Write as _;

use super::{Part, Value};

/// A part as a line that reads like DogStatsD.
pub(super) struct LineOf {
    /// `name:3|c|#service:shop|T1700000000`; a sketch shows its count, sum and extremes for a value.
    pub text: Vec<u8>,
    /// Its tags, joined by commas.
    pub tags: Vec<u8>,
}

impl LineOf {
    pub fn part(part: &Part<'_>) -> Self {
        let mut tags: Vec<&[u8]> = part.tags.iter().collect();
        let host = [b"host:", part.host].concat();
        if !part.host.is_empty() {
            tags.push(&host);
        }
        let tags = tags.join(&b","[..]);
        let mut text = part.name.to_vec();
        let kind = write_value(&mut text, part.value);
        text.extend_from_slice(kind.as_bytes());
        if !tags.is_empty() {
            text.extend_from_slice(b"|#");
            text.extend_from_slice(&tags);
        }
        // Memory takes every byte.
        let _ = write!(text, "|T{}", part.second);
        LineOf { text, tags }
    }
}

/// Writes the value and returns what stands for its kind.
fn write_value(text: &mut Vec<u8>, value: Value<'_>) -> &'static str {
    match value {
        Value::Count(value) => {
            let _ = write!(text, ":{value}");
            "|c"
        }
        Value::Gauge(value) | Value::Highest(value) => {
            let _ = write!(text, ":{value}");
            "|g"
        }
        Value::Samples(values) => {
            values.iter().for_each(|value| drop(write!(text, ":{value}")));
            "|d"
        }
        Value::Sketch(sketch) => {
            let (count, sum) = (sketch.count(), sketch.sum());
            let (min, max) = (sketch.min(), sketch.max());
            let _ = write!(text, ":[{count} values, sum {sum}, {min} to {max}]");
            "|d"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doors::TagList;
    use crate::sketch::Sketch;

    #[track_caller]
    fn reads(value: Value<'_>, host: &str, tags: &[&str], expect: &str) {
        let mut list = TagList::default();
        tags.iter().for_each(|tag| list.push(tag.as_bytes()));
        let part = Part { name: b"n", tags: &list, host: host.as_bytes(), second: 7, value };
        assert_eq!(String::from_utf8(LineOf::part(&part).text).unwrap(), expect);
    }

    #[test]
    fn a_part_reads_like_a_line() {
        reads(Value::Count(3.0), "", &["service:shop", "env:x"], "n:3|c|#service:shop,env:x|T7");
        reads(Value::Gauge(0.5), "", &[], "n:0.5|g|T7");
        reads(Value::Samples(&[1.0, 2.5]), "web", &["a"], "n:1:2.5|d|#a,host:web|T7");
        let mut sketch = Sketch::default();
        sketch.insert(1.0, 1.0);
        sketch.insert(3.0, 1.0);
        reads(Value::Sketch(&sketch), "", &[], "n:[2 values, sum 4, 1 to 3]|d|T7");
    }
}
