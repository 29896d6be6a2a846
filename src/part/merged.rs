//! All cells of one partition and interval, merged: what the owner of a partition holds of it.
//!
//! About 60 bytes a series beside its key, which intervals share, and what does not fit into two words:
//! members, samples, sums that need more than a float.

use std::cmp::Ordering;
use std::collections::HashMap;

use ahash::RandomState;
use hashbrown::HashTable;

use super::cell::{Cell, Value};
use super::head::{Part, Sender, Style};
use super::key::Key;
use super::pool::KeyPool;
use crate::context::Kind;

/// The number of a series in one [`Merged`], from 0 in the order of first arrival.
pub type SeriesNumber = u32;

/// Merged cells. The order in which parts arrive does not show in any value.
#[derive(Clone, Debug)]
pub struct Merged {
    entries: Vec<Entry>,
    /// By the hash of the key.
    places: HashTable<Place>,
    /// The second and further kinds of a key.
    rivals: HashMap<SeriesNumber, Vec<Slot>, RandomState>,
    senders: Vec<Sender>,
    /// The first leaves all to the owner.
    styles: Vec<Style>,
    state: RandomState,
    set_members_max: usize,
    values_bytes: usize,
    /// Counts merges, to tell which series the last one touched.
    merge: u32,
}

/// Where the entry of a key is. Its hash stands beside it, so that a growing table looks at no key.
#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u32,
    number: SeriesNumber,
}

#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    slot: Slot,
    touched: u32,
}

/// The value of one kind.
#[derive(Clone, Debug)]
struct Slot {
    value: Value,
    /// Of the latest write.
    stamp: u32,
    /// Its place in `senders`.
    sender: u32,
    /// Its place in `styles`.
    style: u32,
}

/// One series of an interval, whole.
#[derive(Clone, Copy, Debug)]
pub struct MergedSeries<'a> {
    /// Its identity.
    pub key: &'a Key,
    /// The merged value of the kind that was written last.
    pub value: &'a Value,
    /// How it is posted.
    pub style: &'a Style,
    /// When it was last written, in milliseconds from the start of the interval.
    pub stamp: u32,
    /// By whom.
    pub sender: Sender,
    /// How many other kinds were written before, which are not posted.
    pub type_conflicts: usize,
}

impl Merged {
    /// Nothing yet. Sets of more than `set_members_max` members are estimated; `state` makes the places of
    /// keys unpredictable, and is that of the pool from which it has its keys.
    #[must_use]
    pub fn new(set_members_max: usize, state: RandomState) -> Merged {
        Merged {
            entries: Vec::new(),
            places: HashTable::new(),
            rivals: HashMap::with_hasher(state.clone()),
            senders: Vec::new(),
            styles: vec![Style::default()],
            state,
            set_members_max,
            values_bytes: 0,
            merge: 0,
        }
    }

    /// Takes in a part, and says which series it touched, each once. Parts must come once each; the
    /// caller knows which ones came.
    pub fn merge<K: AsRef<[u8]> + Into<Key>>(
        &mut self,
        part: Part<K>,
        keys: &mut KeyPool,
    ) -> Vec<SeriesNumber> {
        let sender = self.sender_number(&part.head.sender);
        let styles: Vec<u32> =
            part.head.styles.iter().map(|style| self.style_number(style)).collect();
        self.merge = self.merge.wrapping_add(1);
        let mut touched = Vec::with_capacity(part.cells.len());
        for Cell { key, stamp, style, value } in part.cells {
            let place = (style as usize).checked_sub(1);
            let style = place.and_then(|place| styles.get(place)).copied().unwrap_or(0);
            let number = self.put(key, Slot { value, stamp, sender, style }, keys);
            let entry = &mut self.entries[number as usize];
            if entry.touched != self.merge {
                entry.touched = self.merge;
                touched.push(number);
            }
        }
        touched
    }

    fn put<K: AsRef<[u8]> + Into<Key>>(
        &mut self,
        key: K,
        slot: Slot,
        keys: &mut KeyPool,
    ) -> SeriesNumber {
        let hash = self.state.hash_one(key.as_ref());
        let Some(number) = self.find(hash, key.as_ref()) else {
            // A partition of four thousand million series would not fit any memory.
            let number = self.entries.len() as SeriesNumber;
            self.values_bytes += slot.value.heap_bytes();
            let touched = self.merge.wrapping_sub(1);
            self.entries.push(Entry { key: keys.intern_hashed(key, hash), slot, touched });
            let place = Place { hash: hash as u32, number };
            self.places.insert_unique(place.spread(), place, |place| place.spread());
            return number;
        };
        let kind = slot.value.kind();
        let first = &mut self.entries[number as usize].slot;
        let known = if first.value.kind() == kind {
            Some(first)
        } else {
            let rivals = self.rivals.entry(number).or_default();
            match rivals.iter().position(|rival| rival.value.kind() == kind) {
                Some(at) => rivals.get_mut(at),
                None => {
                    self.values_bytes += slot.value.heap_bytes() + size_of::<Slot>();
                    rivals.push(slot.clone());
                    None
                }
            }
        };
        if let Some(known) = known {
            let before = known.value.heap_bytes();
            known.merge(slot, &self.senders, &self.styles, self.set_members_max);
            self.values_bytes = self.values_bytes + known.value.heap_bytes() - before;
        }
        number
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<SeriesNumber> {
        let wanted = Place { hash: hash as u32, number: 0 };
        let same = |place: &Place| {
            place.hash == wanted.hash && self.entries[place.number as usize].key.as_bytes() == key
        };
        self.places.find(wanted.spread(), same).map(|place| place.number)
    }

    fn sender_number(&mut self, sender: &Sender) -> u32 {
        number_of(&mut self.senders, sender)
    }

    fn style_number(&mut self, style: &Style) -> u32 {
        number_of(&mut self.styles, style)
    }

    /// Series in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without a series.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The series of a number that [`Merged::merge`] gave.
    #[must_use]
    pub fn series_at(&self, number: SeriesNumber) -> Option<MergedSeries<'_>> {
        let Entry { key, slot, .. } = self.entries.get(number as usize)?;
        let rivals = self.rivals.get(&number).map_or(&[][..], Vec::as_slice);
        let rank =
            |slot: &Slot| (slot.stamp, self.senders[slot.sender as usize], slot.value.kind() as u8);
        let latest = rivals
            .iter()
            .fold(slot, |latest, rival| if rank(rival) > rank(latest) { rival } else { latest });
        Some(self.series_of(key, latest, rivals.len()))
    }

    /// Every kind of every series, those that are not posted too.
    pub fn every_kind(&self, mut visit: impl FnMut(MergedSeries<'_>)) {
        for (number, entry) in (0..).zip(&self.entries) {
            let rivals = self.rivals.get(&number).map_or(&[][..], Vec::as_slice);
            for slot in std::iter::once(&entry.slot).chain(rivals) {
                visit(self.series_of(&entry.key, slot, rivals.len()));
            }
        }
    }

    fn series_of<'a>(&'a self, key: &'a Key, slot: &'a Slot, rivals: usize) -> MergedSeries<'a> {
        MergedSeries {
            key,
            value: &slot.value,
            style: &self.styles[slot.style as usize],
            stamp: slot.stamp,
            sender: self.senders[slot.sender as usize],
            type_conflicts: rivals,
        }
    }

    /// The number of a key.
    #[must_use]
    pub fn number_of(&self, key: &Key) -> Option<SeriesNumber> {
        self.find(self.state.hash_one(key.as_bytes()), key.as_bytes())
    }

    /// The series of a key.
    #[must_use]
    pub fn series(&self, key: &Key) -> Option<MergedSeries<'_>> {
        self.series_at(self.number_of(key)?)
    }

    /// Every series, in the order of its number.
    pub fn iter(&self) -> impl Iterator<Item = MergedSeries<'_>> {
        (0..self.entries.len() as SeriesNumber).filter_map(|number| self.series_at(number))
    }

    /// Heap bytes, apart from those of the keys, which the pool counts.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let styles: usize = self.styles.iter().map(Style::heap_bytes).sum();
        self.entries.capacity() * size_of::<Entry>()
            + self.places.allocation_size()
            + self.rivals.capacity() * size_of::<(SeriesNumber, Vec<Slot>)>()
            + self.senders.capacity() * size_of::<Sender>()
            + self.styles.capacity() * size_of::<Style>()
            + styles
            + self.values_bytes
    }
}

fn number_of<T: PartialEq + Clone>(list: &mut Vec<T>, wanted: &T) -> u32 {
    // The last part often came from the same.
    let place = list.iter().rposition(|one| one == wanted).unwrap_or_else(|| {
        list.push(wanted.clone());
        list.len() - 1
    });
    place as u32
}

impl Place {
    /// The table looks at the lowest bits and at the highest.
    fn spread(self) -> u64 {
        u64::from(self.hash) << 32 | u64::from(self.hash)
    }
}

impl Slot {
    /// The merge law of one kind.
    fn merge(&mut self, other: Slot, senders: &[Sender], styles: &[Style], set_members_max: usize) {
        let rank = |slot: &Slot| (slot.stamp, senders[slot.sender as usize]);
        let order = rank(&other).cmp(&rank(self));
        match (&mut self.value, &other.value) {
            (Value::Counter(ours), Value::Counter(theirs)) => ours.merge(theirs),
            (Value::Gauge(ours), Value::Gauge(theirs)) => {
                // Of equal writes, as of contexts that became one, some value, always the same.
                if order.then(theirs.total_cmp(ours)).is_gt() {
                    *ours = *theirs;
                }
            }
            (Value::Set(ours), Value::Set(theirs)) => ours.merge(theirs, set_members_max),
            (Value::Histogram(ours), Value::Histogram(theirs)) => ours.merge(theirs),
            _ => debug_assert!(false, "slots of one kind"),
        }
        let style = || match other.style == self.style {
            true => Ordering::Equal,
            false => styles[other.style as usize].cmp(&styles[self.style as usize]),
        };
        if order.then_with(style).is_gt() {
            (self.stamp, self.sender, self.style) = (other.stamp, other.sender, other.style);
        }
    }
}

impl MergedSeries<'_> {
    /// The kind that is posted.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.value.kind()
    }
}
