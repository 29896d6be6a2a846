//! The floor of this bench: the work of `tools/floor`, over prepared datagrams.

use crate::corpus::Corpus;
use crate::line::{self, Line};
use crate::table::Table;

/// The least that anyone must do, in plain code.
#[derive(Default)]
pub struct Floor(Table);

/// More contexts than the caches hold: lines wait until their memory was asked for.
const CACHED_CONTEXTS_MAX: usize = 16_384;
/// Lines whose memory is asked for together.
const AHEAD: usize = 32;

impl Floor {
    pub fn new(corpus: &Corpus) -> Self {
        let mut floor = Floor::default();
        assert_eq!(floor.pass(corpus), corpus.lines);
        assert_eq!((floor.0.len(), floor.0.total()), (corpus.contexts, corpus.all as f64));
        floor
    }

    /// Adds everything; returns the number of lines.
    #[inline(always)]
    pub fn pass(&mut self, corpus: &Corpus) -> usize {
        let ahead = corpus.contexts > CACHED_CONTEXTS_MAX;
        let mut lines = 0;
        for datagram in &corpus.datagrams {
            lines += if ahead { self.add_ahead(datagram) } else { self.add_each(datagram) };
        }
        lines
    }

    #[inline(always)]
    fn add_each(&mut self, mut rest: &[u8]) -> usize {
        let mut lines = 0;
        while let Some(line) = line::next(&mut rest) {
            self.0.add(self.0.hash(&line), &line);
            lines += 1;
        }
        lines
    }

    #[inline(always)]
    fn add_ahead(&mut self, mut rest: &[u8]) -> usize {
        let mut lines = 0;
        let mut waiting = [(0, Line::default()); AHEAD];
        loop {
            let mut count = 0;
            for place in &mut waiting {
                let Some(line) = line::next(&mut rest) else { break };
                let hash = self.0.hash(&line);
                self.0.prefetch_slot(hash);
                *place = (hash, line);
                count += 1;
            }
            if count == 0 {
                return lines;
            }
            let waiting = &waiting[..count];
            waiting.iter().for_each(|(hash, _)| self.0.prefetch_key(*hash));
            waiting.iter().for_each(|(hash, line)| self.0.add(*hash, line));
            lines += count;
        }
    }
}
