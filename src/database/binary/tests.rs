use proptest::prelude::*;

use super::*;

/// A stream of rows; `None` is NULL.
fn stream(rows: &[Vec<Option<Vec<u8>>>]) -> Vec<u8> {
    let mut bytes = [SIGNATURE, &[0; 8]].concat();
    for row in rows {
        bytes.extend((row.len() as i16).to_be_bytes());
        for value in row {
            match value {
                None => bytes.extend((-1_i32).to_be_bytes()),
                Some(value) => {
                    bytes.extend((value.len() as i32).to_be_bytes());
                    bytes.extend(value);
                }
            }
        }
    }
    bytes.extend((-1_i16).to_be_bytes());
    bytes
}

fn written(kinds: &[Kind], pieces: &[&[u8]]) -> Result<String, Malformed> {
    let mut writer = TextWriter::new(kinds);
    let mut out = Vec::new();
    for piece in pieces {
        writer.push(piece, &mut out)?;
    }
    writer.finish()?;
    Ok(String::from_utf8(out).unwrap())
}

fn one(kind: &Kind, value: &[u8]) -> String {
    written(std::slice::from_ref(kind), &[&stream(&[vec![Some(value.to_vec())]])]).unwrap()
}

#[test]
fn values_are_written_as_copy_writes_them() {
    assert_eq!(one(&Kind::Bool, &[1]), "t\n");
    assert_eq!(one(&Kind::Bool, &[0]), "f\n");
    assert_eq!(one(&Kind::Int2, &(-7_i16).to_be_bytes()), "-7\n");
    assert_eq!(one(&Kind::Int4, &i32::MIN.to_be_bytes()), "-2147483648\n");
    assert_eq!(one(&Kind::Int8, &i64::MAX.to_be_bytes()), "9223372036854775807\n");
    assert_eq!(one(&Kind::Text, b"\x08\t\n\x0b\x0c\r\\ \x01"), "\\b\\t\\n\\v\\f\\r\\\\ \x01\n");
    assert_eq!(one(&Kind::Text, b""), "\n");
    assert_eq!(one(&Kind::Bytea, b"\x00\xff\\"), "\\\\x00ff5c\n");
    assert_eq!(one(&Kind::Uuid, &[0x1a; 16]), "1a1a1a1a-1a1a-1a1a-1a1a-1a1a1a1a1a1a\n");
}

/// Parts of a numeric: weight, sign, scale, digits.
fn numeric(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> Vec<u8> {
    let head = [digits.len() as u16, weight.cast_unsigned(), sign, scale];
    head.iter().chain(digits).flat_map(|half| half.to_be_bytes()).collect()
}

#[test]
fn numerics_have_their_zeros_where_they_belong() {
    for (parts, text) in [
        (numeric(0, 0, 0, &[]), "0"),
        (numeric(0, 0, 3, &[]), "0.000"),
        (numeric(0, 0, 0, &[7]), "7"),
        (numeric(1, 0x4000, 0, &[12, 34]), "-120034"),
        (numeric(2, 0, 0, &[1]), "100000000"),
        (numeric(-1, 0, 5, &[1, 2000]), "0.00012"),
        (numeric(-2, 0, 8, &[1]), "0.00000001"),
        (numeric(0, 0, 2, &[1, 1000]), "1.10"),
        (numeric(0, 0xC000, 0, &[]), "NaN"),
        (numeric(0, 0xD000, 0x20, &[]), "Infinity"),
        (numeric(0, 0xF000, 0x20, &[]), "-Infinity"),
    ] {
        assert_eq!(one(&Kind::Numeric, &parts), format!("{text}\n"));
    }
}

#[test]
fn an_array_has_quotes_bounds_and_escapes() {
    let array = |shape: &[(i32, i32)], elements: &[Option<&str>]| {
        let mut bytes = Vec::new();
        for word in [shape.len() as i32, 0, 25] {
            bytes.extend(word.to_be_bytes());
        }
        for (length, lower) in shape {
            bytes.extend(length.to_be_bytes());
            bytes.extend(lower.to_be_bytes());
        }
        for element in elements {
            bytes.extend(element.map_or(-1, |text| text.len() as i32).to_be_bytes());
            bytes.extend(element.unwrap_or_default().as_bytes());
        }
        bytes
    };
    let kind = Kind::Array(Box::new(Kind::Text));
    for (bytes, text) in [
        (array(&[], &[]), "{}"),
        (array(&[(2, 1)], &[Some("a"), None]), "{a,NULL}"),
        (array(&[(3, 1)], &[Some("null"), Some(""), Some("a\\\"")]), r#"{"null","","a\\\\\\""}"#),
        (array(&[(1, 0)], &[Some("x\ty")]), "[0:0]={\"x\\ty\"}"),
        (array(&[(2, 1), (2, 5)], &[Some("a"), Some("b"), Some("c"), Some("d")]), "[1:2][5:6]={{a,b},{c,d}}"),
    ] {
        assert_eq!(one(&kind, &bytes), format!("{text}\n"));
    }
}

#[test]
fn rows_without_columns_and_no_rows() {
    assert_eq!(written(&[], &[&stream(&[vec![], vec![]])]).unwrap(), "\n\n");
    assert_eq!(written(&[Kind::Bool], &[&stream(&[])]).unwrap(), "");
}

#[test]
fn what_is_not_the_format_is_an_error() {
    let kinds = [Kind::Int4];
    let good = stream(&[vec![Some(vec![0; 4])]]);
    assert_eq!(written(&kinds, &[&good]).unwrap(), "0\n");
    assert!(written(&kinds, &[&good[..good.len() - 1]]).is_err(), "cut");
    assert!(written(&kinds, &[&good, b"x"]).is_err(), "more");
    assert!(written(&kinds, &[&stream(&[vec![Some(vec![0; 5])]])]).is_err(), "long");
    assert!(written(&kinds, &[&stream(&[vec![None, None]])]).is_err(), "two columns");
    assert!(written(&kinds, &[b"PGCOPY\n\xff\r\n\0\0\0\0\x01\0\0\0\0"]).is_err(), "flags");
    assert!(written(&kinds, &[b"1\t2\n3\t4\n and so on in text"]).is_err(), "text");
    let array = Kind::Array(Box::new(Kind::Bool));
    for bad in [&[0_u8; 3][..], &[0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 16], &[0; 13]] {
        assert!(written(std::slice::from_ref(&array), &[&stream(&[vec![Some(bad.to_vec())]])]).is_err());
    }
    for bad in [numeric(0, 1, 0, &[]), numeric(0, 0, 0, &[10_000]), numeric(0, 0, 0x4000, &[]), vec![0; 7]] {
        assert!(written(&[Kind::Numeric], &[&stream(&[vec![Some(bad)]])]).is_err());
    }
}

#[test]
fn only_built_in_pairs_of_functions_are_known() {
    assert_eq!(Kind::of("textout", "textsend"), Some(Kind::Text));
    assert_eq!(Kind::of("textout", "byteasend"), None);
    assert_eq!(Kind::of("timestamptz_out", "timestamptz_send"), None);
    assert_eq!(Kind::of("", ""), None);
}

proptest! {
    #[test]
    fn escapes_are_those_of_each_byte_by_itself(text in proptest::collection::vec(prop_oneof![0_u8..16, Just(b'\\'), any::<u8>(), Just(b'a'), Just(b'b')], 0..150)) {
        let mut one_by_one = Vec::new();
        for byte in &text {
            escape(&[*byte], &mut one_by_one);
        }
        let mut whole = Vec::new();
        escape(&text, &mut whole);
        prop_assert_eq!(whole, one_by_one);
    }

    #[test]
    fn any_bytes_give_rows_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), with_header in any::<bool>()) {
        let kinds = [Kind::Text, Kind::Numeric, Kind::Array(Box::new(Kind::Bytea)), Kind::Uuid];
        let header = if with_header { [SIGNATURE, &[0; 8]].concat() } else { Vec::new() };
        let mut out = Vec::new();
        let _ = TextWriter::new(&kinds).push(&[header, bytes].concat(), &mut out);
    }
}

proptest! {
    // Long rows take a while without optimisation.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn cuts_change_nothing(
        texts in proptest::collection::vec((".{0,20}", proptest::option::of(any::<u32>()), 0_usize..200_000), 0..5),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let kinds = [Kind::Text, Kind::Int4, Kind::Bytea, Kind::Text];
        let rows: Vec<Vec<Option<Vec<u8>>>> = texts
            .iter()
            .map(|(text, number, long)| {
                let number = number.map(|n| n.to_be_bytes().to_vec());
                vec![Some(text.clone().into_bytes()), number, Some(vec![0x5c; *long]), Some(b"a\\\n".repeat(*long / 3))]
            })
            .collect();
        let bytes = stream(&rows);
        let whole = written(&kinds, &[&bytes]).unwrap();
        prop_assert_eq!(whole.lines().count(), rows.len());
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert!(written(&kinds, &pieces).unwrap() == whole);
        let small: Vec<&[u8]> = bytes.chunks(1 + bytes.len() / 7).collect();
        prop_assert!(written(&kinds, &small).unwrap() == whole);
    }
}
