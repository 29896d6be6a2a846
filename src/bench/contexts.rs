//! The contexts of a load: names and tag sets, all distinct, decided by shape and seed.

use std::collections::HashSet;

use super::random::Random;
use super::shape::{Shape, VALUE_BYTES_MAX};
use crate::protocol::MetricType;

/// One name with one tag set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The metric name.
    pub name: Vec<u8>,
    /// The kind its name always has.
    pub kind: MetricType,
    /// Tags joined by commas as on the wire; distinct within the set, unsorted.
    pub tags: Vec<u8>,
}

/// Why a shape cannot be generated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A thousand random attempts found no further distinct context.
    #[error(
        "only {found} distinct contexts are possible with these names and tags; use fewer contexts, more names or longer tags"
    )]
    TooFewDistinct {
        /// Contexts found so far.
        found: usize,
    },
    /// Even a line without tags is longer than a datagram may be.
    #[error("a line of {line_bytes} bytes does not fit a datagram of {payload_bytes}")]
    LineTooLong {
        /// Bytes of the shortest form of that line.
        line_bytes: usize,
        /// Bytes of a datagram.
        payload_bytes: usize,
    },
}

/// Attempts at another distinct name or tag set before the shape is called too narrow.
const ATTEMPTS: usize = 1_000;

/// Generates `shape.contexts` distinct contexts. Names are used in turn, so each has as many tag sets
/// as its neighbours; each name has one kind. Tags that would
/// make the longest line of `shape` overflow a datagram are left out.
///
/// # Errors
/// When the shape has too few distinct contexts or a name alone overflows a datagram.
pub fn generate(shape: &Shape, random: &mut Random) -> Result<Vec<Context>, ShapeError> {
    let names = names(shape, random)?;
    let mut seen = HashSet::with_capacity(shape.contexts);
    let mut contexts = Vec::with_capacity(shape.contexts);
    for index in 0..shape.contexts {
        let (name, kind) = &names[index % names.len()];
        let spare = tag_budget(shape, name)?;
        let tags = (0..ATTEMPTS)
            .map(|_| tags(shape, spare, random))
            .find(|tags| seen.insert((index % names.len(), sorted(tags))))
            .ok_or(ShapeError::TooFewDistinct { found: index })?;
        contexts.push(Context { name: name.clone(), kind: *kind, tags });
    }
    Ok(contexts)
}

/// The canonical form of a tag set: its tags sorted, joined by commas.
pub fn sorted(tags: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = tags.split(|&byte| byte == b',').collect();
    parts.sort_unstable();
    parts.join(&b',')
}

fn names(shape: &Shape, random: &mut Random) -> Result<Vec<(Vec<u8>, MetricType)>, ShapeError> {
    // Contexts without tags differ by name only.
    let wanted = if shape.tags.1 == 0 { shape.contexts } else { shape.names.min(shape.contexts) };
    let mut seen = HashSet::with_capacity(wanted);
    let mut names = Vec::with_capacity(wanted);
    for kind in shape.kinds.sequence().take(wanted.max(1)) {
        // Very short names run out (there are 26 of one letter): later ones grow.
        let name = (0..ATTEMPTS)
            .map(|attempt| name(random.between(shape.name_bytes) + attempt / 100, random))
            .find(|name| seen.insert(name.clone()))
            .ok_or(ShapeError::TooFewDistinct { found: names.len() })?;
        names.push((name, kind));
    }
    Ok(names)
}

/// A name of `bytes` letters with a dot after every seventh, never at an end.
fn name(bytes: usize, random: &mut Random) -> Vec<u8> {
    let mut name = Vec::with_capacity(bytes);
    random.letters(bytes.max(1), &mut name);
    name[0] = b'a' + random.below(26) as u8;
    for dot in (7..name.len().saturating_sub(1)).step_by(8) {
        name[dot] = b'.';
    }
    name
}

fn tags(shape: &Shape, spare: usize, random: &mut Random) -> Vec<u8> {
    let count = random.between(shape.tags);
    let mut chosen: Vec<Vec<u8>> = Vec::with_capacity(count);
    let mut bytes = 0;
    for _ in 0..count {
        let tag = tag(random.between(shape.tag_bytes), random);
        if bytes + 1 + tag.len() <= spare && !chosen.contains(&tag) {
            bytes += 1 + tag.len();
            chosen.push(tag);
        }
    }
    chosen.join(&b',')
}

/// `key:value` of `bytes` bytes, at least 3; the key takes about a third.
fn tag(bytes: usize, random: &mut Random) -> Vec<u8> {
    let bytes = bytes.max(3);
    let mut tag = Vec::with_capacity(bytes);
    random.letters(bytes, &mut tag);
    tag[0] = b'a' + random.below(26) as u8;
    tag[(bytes / 3).max(1)] = b':';
    tag
}

/// Bytes that every tag of a context of `name` may take together.
fn tag_budget(shape: &Shape, name: &[u8]) -> Result<usize, ShapeError> {
    let most_values = if shape.packed_percent > 0 { shape.packed_values.1 } else { 1 };
    let fixed = name.len() + most_values * VALUE_BYTES_MAX + FIELDS_BYTES_MAX;
    shape
        .payload_bytes
        .checked_sub(fixed)
        .ok_or(ShapeError::LineTooLong { line_bytes: fixed, payload_bytes: shape.payload_bytes })
}

/// `|ms`, `|@0.125`, `|#`, `|c:ci-` with 64 letters, the newline.
const FIELDS_BYTES_MAX: usize = 3 + 7 + 2 + 70 + 1;

#[cfg(test)]
mod tests {
    use super::super::shape::Profile;
    use super::*;

    #[test]
    fn contexts_are_distinct_however_their_tags_are_ordered() {
        let shape = Shape { contexts: 5_000, names: 10, ..Profile::Packed.shape() };
        let contexts = generate(&shape, &mut Random::new(1)).unwrap();
        let distinct: HashSet<_> = contexts.iter().map(|c| (&c.name, sorted(&c.tags))).collect();
        assert_eq!(distinct.len(), 5_000);
        assert_eq!(contexts.iter().map(|c| &c.name).collect::<HashSet<_>>().len(), 10);
    }

    #[test]
    fn a_name_has_one_kind() {
        let contexts = generate(&Profile::Packed.shape(), &mut Random::new(1)).unwrap();
        let pairs: HashSet<_> = contexts.iter().map(|c| (&c.name, c.kind)).collect();
        assert_eq!(pairs.len(), 100);
    }

    #[test]
    fn without_tags_every_context_has_its_own_name() {
        let shape = Shape { tags: (0, 0), contexts: 50, names: 3, ..Profile::Packed.shape() };
        let contexts = generate(&shape, &mut Random::new(1)).unwrap();
        assert!(contexts.iter().all(|c| c.tags.is_empty()));
        assert_eq!(contexts.iter().map(|c| &c.name).collect::<HashSet<_>>().len(), 50);
    }

    #[test]
    fn names_and_tags_are_well_formed() {
        for context in generate(&Profile::Realistic.shape(), &mut Random::new(4)).unwrap() {
            let name = String::from_utf8(context.name).unwrap();
            assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
            assert!(!name.ends_with('.') && !name.contains(".."), "{name}");
            for tag in context.tags.split(|&byte| byte == b',') {
                let colon = tag.iter().position(|&byte| byte == b':').unwrap();
                assert!(colon >= 1 && colon + 1 < tag.len() && (3..=150).contains(&tag.len()));
            }
        }
    }

    #[test]
    fn an_impossible_shape_says_what_to_change() {
        let narrow = Shape {
            tags: (1, 1),
            tag_bytes: (3, 3),
            names: 1,
            contexts: 40_000,
            ..Profile::Packed.shape()
        };
        let refused = generate(&narrow, &mut Random::new(1)).unwrap_err();
        assert!(
            matches!(refused, ShapeError::TooFewDistinct { found } if found > 500),
            "{refused:?}"
        );
        let tiny = Shape { payload_bytes: 50, ..Profile::Packed.shape() };
        let refused = generate(&tiny, &mut Random::new(1)).unwrap_err();
        assert!(
            matches!(refused, ShapeError::LineTooLong { payload_bytes: 50, .. }),
            "{refused:?}"
        );
    }
}
