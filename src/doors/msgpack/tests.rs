use super::*;
use proptest::prelude::*;

/// A record with one field of each kind.
#[derive(Debug, Default, PartialEq)]
struct Order<'a> {
    name: &'a [u8],
    price: Option<Number>,
    paid: bool,
    items: &'a [u8],
    within: Vec<&'a [u8]>,
}

type OrderField = for<'a> fn(&mut Order<'a>, &mut Reader<'a>) -> Read<()>;

const ITEM: &[(&str, OrderField)] = &[("Sku", |order, value| {
    let sku = value.text()?;
    order.within.push(sku);
    Ok(())
})];

const ORDER: &[(&str, OrderField)] = &[
    ("Name", |order, value| value.text().map(|text| order.name = text)),
    ("Price", |order, value| value.number().map(|number| order.price = Some(number))),
    ("Paid", |order, value| value.boolean().map(|paid| order.paid = paid)),
    ("Items", |order, value| {
        let mut within = Vec::new();
        let mut inner = Order::default();
        order.items = value.span(|value| value.array(|item| item.record(ITEM, &mut inner)))?;
        within.append(&mut inner.within);
        order.within = within;
        Ok(())
    }),
];

fn order(body: &[u8]) -> Result<Order<'_>, String> {
    let mut reader = Reader::new(body);
    let mut order = Order::default();
    let read = reader.record(ORDER, &mut order).and_then(|()| reader.end());
    read.map(|()| order).map_err(|error| error.to_string())
}

#[track_caller]
fn fails(body: &[u8], message: &str) {
    assert_eq!(order(body), Err(message.to_owned()), "{body:02x?}");
}

/// Hex with spaces.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

#[test]
fn fields_come_in_any_order_and_unknown_ones_are_skipped() {
    // {"Items":[{"Sku":"a"},{"Sku":bin b}],"Other":{1:[ext, nil]},"Paid":true,"Price":-2,"Name":"x"}
    let body = hex("85 a54974656d73 92 81a3536b75a161 81a3536b75c40162
        a54f74686572 8101 92 d40100 c0  a450616964 c3  a55072696365 fe  a44e616d65 a178");
    let order = order(&body).expect("a record");
    assert_eq!((order.name, order.paid), (&b"x"[..], true));
    assert_eq!(order.price, Some(Number::Integer(-2)));
    assert_eq!(order.within, [b"a", b"b"]);
    assert_eq!(order.items, hex("92 81a3536b75a161 81a3536b75c40162"));
    // The bytes of a value can be read again.
    let mut again = Reader::new(order.items);
    again.skip().expect("an array");
    assert!(again.is_at_end());
}

#[test]
fn nil_is_empty_everywhere_and_the_last_of_two_stays() {
    let nils = hex("84 a54974656d73 c0 a450616964 c0 a55072696365 c0 a44e616d65 c0");
    let items = [0xc0];
    let empty = Order { price: Some(Number::Integer(0)), items: &items, ..Order::default() };
    assert_eq!(order(&nils), Ok(empty));
    assert_eq!(order(&[0xc0]), Ok(Order::default()));
    let twice = hex("82 a44e616d65 a161 a44e616d65 a162");
    assert_eq!(order(&twice).map(|order| order.name), Ok(&b"b"[..]));
}

#[test]
fn numbers_come_in_every_width() {
    #[track_caller]
    fn reads(bytes: &str, expect: Number) {
        let bytes = hex(bytes);
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.number().expect("a number"), expect);
        assert!(reader.is_at_end());
        let mut reader = Reader::new(&bytes);
        reader.skip().expect("a value");
        assert!(reader.is_at_end());
    }
    for (bytes, value) in [
        ("00", 0),
        ("7f", 127),
        ("e0", -32),
        ("cc ff", 255),
        ("cd 0102", 258),
        ("ce 01020304", 0x0102_0304),
        ("cf ffffffffffffffff", i128::from(u64::MAX)),
        ("d0 80", -128),
        ("d1 8000", -32768),
        ("d2 80000000", i128::from(i32::MIN)),
        ("d3 8000000000000000", i128::from(i64::MIN)),
        ("c0", 0),
    ] {
        reads(bytes, Number::Integer(value));
    }
    reads("ca 3fc00000", Number::Float(1.5));
    reads("cb 3ff8000000000000", Number::Float(1.5));
    assert_eq!(Number::Float(1.9).unsigned(), Some(1));
    assert_eq!(Number::Integer(-1).unsigned(), None);
    assert_eq!(Number::Float(-1.0).unsigned(), None);
    assert_eq!(Number::Float(f64::NAN).whole(), None);
    assert_eq!(Number::Float(1e300).whole(), None);
    assert!(Number::Float(f64::INFINITY).float().is_infinite());
}

#[test]
fn truth_comes_as_a_word_a_number_or_nil() {
    for (byte, expect) in [(0xc2, false), (0xc3, true), (0xc0, false), (0x00, false), (0x01, true)]
    {
        assert_eq!(Reader::new(&[byte]).boolean(), Ok(expect));
    }
    let error = Reader::new(&[0xa0]).boolean().expect_err("a string");
    assert_eq!(error.to_string(), "expected true or false at byte 0");
}

#[test]
fn errors_name_the_field_and_never_the_content() {
    fails(b"", "the body ends inside a value at byte 0");
    fails(b"\xa6secret", "expected a map at byte 0");
    fails(&hex("81 a44e616d65 07"), "Name: expected a string at byte 6");
    fails(&hex("81 a55072696365 a6736563726574"), "Price: expected a number at byte 7");
    fails(
        &hex("81 a54974656d73 92 81a3536b75a161 81a3536b75 07"),
        "Items[1].Sku: expected a string at byte 20",
    );
    fails(&hex("81 a54974656d73 a6736563726574"), "Items: expected an array at byte 7");
    fails(&hex("81 a6736563726574 c1"), "(unknown field): expected a value at byte 8");
    fails(&hex("80 00"), "expected the end of the body at byte 1");
}

#[test]
fn a_declared_length_is_never_believed() {
    for array in ["dc ffff", "dd ffffffff", "93 0101"] {
        let mut body = hex("81 a54974656d73");
        body.extend(hex(array));
        fails(&body, "Items: an array is longer than the body at byte 7");
    }
    for map in ["de ffff", "df ffffffff", "83 a161 01 a0"] {
        fails(&hex(map), "a map is longer than the body at byte 0");
    }
    for text in ["d9 ff", "da ffff", "db ffffffff", "c4 ff", "c5 ffff", "c6 ffffffff", "a3 61"] {
        let bytes = hex(text);
        assert!(Reader::new(&bytes).text().is_err(), "{text}");
        assert!(Reader::new(&bytes).skip().is_err(), "{text}");
    }
    for other in ["c7 ff 01", "c8 ffff 01", "c9 ffffffff 01", "d8 01", "cb 00", "ca", "cd 01"] {
        assert!(Reader::new(&hex(other)).skip().is_err(), "{other}");
    }
}

#[test]
fn nesting_is_read_to_the_limit_and_refused_past_it() {
    let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
    Reader::new(&nested(DEPTH_MAX)).skip().expect("as deep as allowed");
    let error = Reader::new(&nested(DEPTH_MAX + 1)).skip().expect_err("too deep");
    assert!(error.to_string().ends_with("nested deeper than 32 at byte 32"), "{error}");
    // Maps count too, as values and as keys, and millions of them do not end the stack.
    let maps = [[0x81, 0xa0].repeat(1_000_000), vec![0xc0]].concat();
    assert!(Reader::new(&maps).skip().is_err());
    let keys = [vec![0x81; 1_000_000], vec![0xc0; 1_000_001]].concat();
    assert!(Reader::new(&keys).skip().is_err());
    // What is left again does not count.
    let flat = [vec![0xdc, 0x00, 0xff], [0x91, 0xc0].repeat(255)].concat();
    Reader::new(&flat).skip().expect("255 short arrays");
}

#[test]
fn a_cut_body_is_an_error_at_every_byte() {
    let body = hex("84 a54974656d73 92 81a3536b75a161 81a3536b75c40162 a450616964 c3
        a55072696365 cb 3ff8000000000000 a44e616d65 d9 02 7879");
    order(&body).expect("a record");
    for cut in 0..body.len() {
        order(&body[..cut]).expect_err("a part");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut reader = Reader::new(&bytes);
        while !reader.is_at_end() && reader.skip().is_ok() {}
        let _ = order(&bytes);
    }
}
