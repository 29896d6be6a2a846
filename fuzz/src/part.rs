//! Any bytes are read as a record within bounds or refused with a reason, and a part that is read says the
//! same once it is written and read again.
//!
//! The checksum would keep a fuzzer out, so that of the input is put right first.

use whippet::part::{
    Cell, EncodedPart, Head, Packer, Part, PartLimits, PartWriter, Record, Style, decode, fuzz_api,
};

/// Sets of the reader.
const SET_MEMBERS_MAX: usize = 1_000;

/// One input.
pub fn run(input: &[u8]) {
    let limits = PartLimits::new(SET_MEMBERS_MAX);
    let as_it_came = decode(input, &limits);
    let mut record = input.to_vec();
    fuzz_api::reseal(&mut record);
    let part = match decode(&record, &limits) {
        Ok(Record::Part(part)) => part,
        Ok(Record::Barrier(_)) => return,
        Err(error) => {
            let message = error.to_string();
            assert!(message.starts_with(error.reason()) && !message.contains('\n'), "{message}");
            assert!(as_it_came.is_err(), "only the checksum was put right");
            return;
        }
    };
    assert_eq!(part.cells.len(), part.head.cells as usize);
    let again: Vec<Part> = records(&part).iter().map(|one| read(&one.bytes)).collect();
    let cells = |part: &Part| part.cells.len();
    assert_eq!(again.iter().map(cells).sum::<usize>(), part.cells.len());
    let written = again.iter().flat_map(|one| one.cells.iter().map(move |cell| (one, cell)));
    for (ours, (whole, cell)) in part.cells.iter().zip(written) {
        assert_eq!((&ours.key, ours.stamp), (&cell.key, cell.stamp));
        assert_eq!(ours.value, cell.value);
        assert_eq!(style_of(&part.head, ours), style_of(&whole.head, cell));
        assert_eq!(whole.head.id().sender, part.head.sender);
    }
}

/// How the cell is posted.
fn style_of(head: &Head, cell: &Cell) -> Style {
    let place = (cell.style as usize).checked_sub(1);
    place.map_or_else(Style::default, |place| head.styles[place].clone())
}

/// The part as records.
pub fn records(part: &Part) -> Vec<EncodedPart> {
    let head = Head { sequence: 0, ..part.head.clone() };
    let (mut writer, mut packer) = (PartWriter::new(head), Packer::new());
    let mut records = Vec::new();
    for cell in &part.cells {
        let style = style_of(&part.head, cell);
        let full = writer.push(&cell.key, cell.stamp, &style, &cell.value, &mut packer);
        records.extend(full.expect("what was read can be written"));
    }
    records.extend(writer.finish(&mut packer));
    records
}

/// A part that was written here.
pub fn read(record: &[u8]) -> Part {
    match decode(record, &PartLimits::new(SET_MEMBERS_MAX)) {
        Ok(Record::Part(part)) => part,
        other => panic!("what was written is not read: {other:?}"),
    }
}
