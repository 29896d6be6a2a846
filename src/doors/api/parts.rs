//! What the routes have in common: lists of which each element stands alone, times, tags.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::doors::json::{self, Text};
use crate::doors::{Reason, Refusal, Sink, TagList};

/// Why an element of a list was refused: the field, and what was expected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub reason: Reason,
    pub field: &'static str,
    pub expected: &'static str,
}

impl Bad {
    pub fn value(field: &'static str, expected: &'static str) -> Self {
        Bad { reason: Reason::Value, field, expected }
    }
}

/// Takes every element of a list; those that are bad are counted, and refuse the request only when
/// none is good. `name` is what the list is called in the error.
pub(super) fn each(
    name: &str,
    list: Option<&RawValue>,
    sink: &mut dyn Sink,
    mut take: impl FnMut(&RawValue, &mut dyn Sink) -> Result<(), Bad>,
) -> Result<(), Refusal> {
    let (mut seen, mut good) = (0_usize, 0_usize);
    let mut first_bad: Option<(usize, Bad)> = None;
    let is_list = json::each(list, |element| {
        match take(element, sink) {
            Ok(()) => good += 1,
            Err(bad) => {
                sink.refuse(bad.reason);
                first_bad.get_or_insert((seen, bad));
            }
        }
        seen += 1;
    });
    if list.is_none() || !is_list {
        return Err(Refusal::decode(format!("{name}: expected a list")));
    }
    match first_bad {
        Some((at, bad)) if good == 0 => Err(refusal(&format!("{name}[{at}]"), bad)),
        _ => Ok(()),
    }
}

/// Takes every element of the list `series` of a body, as [`each`] does.
pub(super) fn each_series(
    body: &[u8],
    sink: &mut dyn Sink,
    take: impl FnMut(&RawValue, &mut dyn Sink) -> Result<(), Bad>,
) -> Result<(), Refusal> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Body<'a> {
        #[serde(borrow)]
        series: Option<&'a RawValue>,
    }
    let body: Body<'_> = json::body(body)?;
    each("series", body.series, sink, take)
}

/// A request of which nothing is good.
pub(super) fn refusal(place: &str, bad: Bad) -> Refusal {
    let Bad { reason, field, expected } = bad;
    let place = match (place, field) {
        (place, "") => place.to_owned(),
        ("", field) => field.to_owned(),
        (place, field) => format!("{place}.{field}"),
    };
    Refusal { reason, status: 400, message: format!("{place}: expected {expected}") }
}

/// Unix seconds of a time, which may be a fraction.
pub(super) fn second(field: &'static str, time: f64) -> Result<i64, Bad> {
    /// Beyond it floats skip seconds.
    const SECONDS_MAX: f64 = 9_007_199_254_740_992.0;
    let floor = time.floor();
    if floor.abs() <= SECONDS_MAX {
        Ok(floor as i64)
    } else {
        Err(Bad { reason: Reason::Time, field, expected: "Unix seconds" })
    }
}

/// Writes a list of tags, and the device as a tag, over `tags`. A missing list and missing tags in it
/// are empty.
pub(super) fn tags(list: Option<&RawValue>, device: &str, tags: &mut TagList) -> Result<(), Bad> {
    tags.clear();
    let mut all_texts = true;
    let is_list = json::each(list, |tag| match json::value::<Text<'_>>(tag) {
        Some(tag) if tag.is_empty() => {}
        Some(tag) => tags.push(tag.as_bytes()),
        None => all_texts = false,
    });
    if !is_list || !all_texts {
        return Err(Bad::value("tags", "a list of texts"));
    }
    tags.pair("device", device.as_bytes());
    Ok(())
}

/// A list of tags as events and checks keep them.
pub(super) fn tag_list(list: Option<&RawValue>, device: &str) -> Result<Vec<Box<[u8]>>, Bad> {
    let mut found = TagList::default();
    tags(list, device, &mut found)?;
    let mut list: Vec<Box<[u8]>> = found.iter().map(Box::from).collect();
    list.sort_unstable();
    list.dedup();
    Ok(list)
}
