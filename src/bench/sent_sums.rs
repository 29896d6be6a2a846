//! What was sent, as a file: the sum of every counter series, so that the flushes of any server can
//! be checked, whatever format they have.
//!
//! ```text
//! {"metric":"page.views","tags":"env:prod,shard:1","sum":4711.0}
//! ```

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use super::contexts::Context;

#[derive(Serialize)]
struct Row<'a> {
    metric: &'a str,
    tags: &'a str,
    sum: f64,
}

/// Writes one row for each of `counters` of which something was sent; `sums` belongs to them, entry
/// by entry, and holds values corrected for sample rates.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, counters: &[Context], sums: &[Option<f64>]) -> anyhow::Result<()> {
    let rows = || -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        write_rows(&mut file, counters, sums)?;
        file.flush()
    };
    rows().with_context(|| format!("cannot write the sums sent to {}", path.display()))
}

fn write_rows(mut to: impl Write, counters: &[Context], sums: &[Option<f64>]) -> io::Result<()> {
    for (counter, sum) in counters.iter().zip(sums) {
        let Some(sum) = *sum else { continue };
        // Generated names and tags are ASCII.
        let (metric, tags) =
            (String::from_utf8_lossy(&counter.name), String::from_utf8_lossy(&counter.tags));
        serde_json::to_writer(&mut to, &Row { metric: &metric, tags: &tags, sum })?;
        to.write_all(b"\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::MetricType;

    #[test]
    fn every_series_of_which_something_was_sent_has_its_row() {
        let counter = |name: &str, tags: &str| Context {
            name: name.into(),
            kind: MetricType::Counter,
            tags: tags.into(),
        };
        let counters = [counter("a", "x:1,b:2"), counter("b", ""), counter("plain", "")];
        let mut text = Vec::new();
        write_rows(&mut text, &counters, &[Some(30.0), None, Some(5.0)]).unwrap();
        let expect = "{\"metric\":\"a\",\"tags\":\"x:1,b:2\",\"sum\":30.0}\n\
                      {\"metric\":\"plain\",\"tags\":\"\",\"sum\":5.0}\n";
        assert_eq!(String::from_utf8(text).unwrap(), expect);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let path = Path::new("/nonexistent/sent.jsonl");
        let error = write(path, &[], &[]).unwrap_err();
        assert!(format!("{error:#}").contains("/nonexistent/sent.jsonl"), "{error:#}");
    }
}
