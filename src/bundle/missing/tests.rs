//! Lists of all kinds: there and back as bytes, as lines and as codes; what was changed on the way; and what hostile bytes cost.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const ID: Blake3Hash = Blake3Hash::from_bytes([7; 32]);

/// Numbers that look random and are the same in every run.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    })
}

fn set_of(count: u32, chunks: impl IntoIterator<Item = u32>) -> ChunkSet {
    let mut set = ChunkSet::empty(count);
    for chunk in chunks {
        set.insert(chunk);
    }
    set
}

fn random_holes(count: u32, holes: u32, seed: u64) -> ChunkSet {
    let mut set = ChunkSet::empty(count);
    let mut numbers = numbers(seed);
    while set.count() < holes {
        set.insert((numbers.next().unwrap() % u64::from(count)) as u32);
    }
    set
}

fn there_and_back(set: &ChunkSet) -> usize {
    let bytes = encode(&ID, set);
    assert_eq!(decode(&bytes, &ID, set.len()).as_ref(), Ok(set));
    bytes.len()
}

#[test]
fn one_chunk_in_a_hundred_of_100_000_takes_less_than_4_kib() {
    for seed in 0..20 {
        let bytes = there_and_back(&random_holes(100_000, 1000, seed));
        // Its entropy alone is 1010 bytes.
        assert!(bytes < 1200, "{bytes} bytes");
    }
}

#[test]
fn patterns_that_media_leave_are_small_and_none_is_larger_than_a_bit_for_each_chunk() {
    const COUNT: u32 = 100_000;
    let mut volume = ChunkSet::empty(COUNT);
    volume.insert_range(30_000..40_000);
    let mut half = ChunkSet::empty(COUNT);
    half.insert_range(50_000..COUNT);
    // One lost volume, and bad spots on the others.
    let mut worn = volume.clone();
    for spot in numbers(3).take(40) {
        let first = (spot % 99_000) as u32;
        worn.insert_range(first..first + 1 + (spot % 17) as u32);
    }
    for (what, set, bytes_max) in [
        ("one chunk", set_of(COUNT, [77_777]), 24),
        ("the first", set_of(COUNT, [0]), 24),
        ("the last", set_of(COUNT, [COUNT - 1]), 24),
        ("a volume", volume, 28),
        ("the second half", half, 26),
        ("a volume and bad spots", worn, 200),
        ("none", ChunkSet::empty(COUNT), 24),
        ("all", ChunkSet::full(COUNT), 24),
    ] {
        let bytes = there_and_back(&set);
        assert!(bytes <= bytes_max, "{what}: {bytes} bytes");
    }
    let head_and_sum = SIZE_BYTES_MIN + 3;
    for holes in [25_000, 50_000, 75_000] {
        let bytes = there_and_back(&random_holes(COUNT, holes, 1));
        assert!(bytes <= COUNT as usize / 8 + head_and_sum, "{holes} holes: {bytes} bytes");
    }
    let every_second = set_of(COUNT, (0..COUNT).step_by(2));
    assert!(there_and_back(&every_second) <= COUNT as usize / 8 + head_and_sum);
    // The largest manifest that there can be.
    let largest = random_holes(limits::CHUNK_COUNT_MAX * 2, limits::CHUNK_COUNT_MAX, 5);
    assert!(there_and_back(&largest) <= limits::MISSING_SIZE_BYTES_MAX);
}

#[test]
fn what_was_changed_or_is_of_another_migration_is_refused() {
    let set = random_holes(1000, 37, 1);
    let bytes = encode(&ID, &set);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut rotten = bytes.clone();
            rotten[at] ^= 1 << bit;
            assert!(decode(&rotten, &ID, 1000).is_err(), "bit {bit} of byte {at}");
        }
        assert!(decode(&bytes[..at], &ID, 1000).is_err(), "cut at {at}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(decode(&longer, &ID, 1000), Err(MissingError::Checksum));
    let other = Blake3Hash::from_bytes([8; 32]);
    assert_eq!(decode(&bytes, &other, 1000), Err(MissingError::OtherManifest([7; 8])));
    assert_eq!(decode(&bytes, &ID, 999), Err(MissingError::ChunkCount { got: 1000, expected: 999 }));
    let huge = vec![1; limits::MISSING_SIZE_BYTES_MAX + 1];
    assert_eq!(decode(&huge, &ID, 1000), Err(MissingError::Size(huge.len())));
    assert_eq!(decode(&[], &ID, 1000), Err(MissingError::Size(0)));
    let mut newer = bytes.clone();
    newer[0] = 2;
    assert_eq!(decode(&newer, &ID, 1000), Err(MissingError::Format(2)));
}

/// A list whose checksum fits, whatever stands in it.
fn sealed(count: &[u8], code: &[u8]) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&ID.as_bytes()[..ID_BYTES]);
    bytes.extend_from_slice(count);
    bytes.extend_from_slice(code);
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

#[test]
fn one_way_to_write_each_list() {
    // 16 chunks, none lacking, as bits: one run is shorter.
    assert_eq!(decode(&sealed(&[16], &[0, 0, 0]), &ID, 16), Err(MissingError::Set));
    // A number with zeros before it.
    assert_eq!(decode(&sealed(&[0x90, 0], &[0, 0, 0]), &ID, 16), Err(MissingError::Set));
    // A number without an end.
    assert_eq!(decode(&sealed(&[0x80; 6], &[0, 0, 0]), &ID, 16), Err(MissingError::Set));
    // A coding that there is not.
    assert_eq!(decode(&sealed(&[16], &[0xc0, 0, 0]), &ID, 16), Err(MissingError::Set));
    // More than 4 billion chunks.
    let lie = sealed(&[0xff, 0xff, 0xff, 0xff, 0x7f], &[0, 0, 0]);
    assert!(matches!(decode(&lie, &ID, 16), Err(MissingError::ChunkCount { .. })));
}

proptest! {
    #[test]
    fn every_set_comes_back(count in 1..3000_u32, runs in prop::collection::vec((0..3000_u32, 1..400_u32), 0..40), holes in prop::collection::vec(0..3000_u32, 0..200)) {
        let mut set = set_of(count, holes);
        for (first, length) in runs {
            set.insert_range(first..first + length);
        }
        let bytes = there_and_back(&set);
        prop_assert!(bytes <= SIZE_BYTES_MIN + 2 + (count as usize).div_ceil(8));
    }

    #[test]
    fn bytes_of_strangers_are_refused_or_are_the_only_way_to_say_it(code in prop::collection::vec(any::<u8>(), 1..60), count in 1..400_u32) {
        let mut number = Vec::new();
        push_number(&mut number, count);
        let bytes = sealed(&number, &code);
        if let Ok(set) = decode(&bytes, &ID, count) {
            prop_assert_eq!(encode(&ID, &set), bytes);
        }
    }

    #[test]
    fn lines_say_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), 1..200)) {
        let lines = to_lines(&bytes);
        prop_assert_eq!(from_lines(&lines.join("\n")), Ok(bytes.clone()));
        // As somebody types them.
        let typed = lines.join("\r\n").to_lowercase().replace(' ', "").replace('0', "o").replace('1', "l").replace(':', " : ");
        prop_assert_eq!(from_lines(&typed), Ok(bytes.clone()));
        let dashed = format!("# what is missing\n\n> {}\n", lines.join(" ").replace(' ', " - "));
        prop_assert_eq!(from_lines(&dashed), Ok(bytes));
    }

    #[test]
    fn text_of_strangers_is_refused(text in "\\PC{0,300}") {
        prop_assert!(from_lines(&text).is_err());
    }

    #[test]
    fn text_that_looks_like_lines_never_panics(text in "([0-9/: \nA-Z]{0,8}|1/1:|2/3: |[0-9A-Z]{4} ){0,30}") {
        drop(from_lines(&text));
    }
}

/// A text of several lines, whose last one is shorter.
fn text() -> (Vec<u8>, Vec<String>) {
    let bytes = encode(&ID, &random_holes(4000, 44, 9));
    let lines = to_lines(&bytes);
    assert!(lines.len() >= 4 && (15..lines[0].len()).contains(&lines.last().unwrap().len()), "{lines:?}");
    (bytes, lines)
}

fn refused(lines: &[String]) -> LinesError {
    from_lines(&lines.join("\n")).unwrap_err()
}

#[test]
fn one_wrong_letter_is_refused_with_its_line_and_place() {
    let (_, lines) = text();
    for line in 0..lines.len() {
        let begin = lines[line].find(": ").unwrap() + 2;
        let places: Vec<usize> = (begin..lines[line].len()).filter(|at| lines[line].as_bytes()[*at] != b' ').collect();
        for (at, place) in places.iter().enumerate() {
            for letter in ["7", "Q", "0"] {
                let mut typed = lines.clone();
                typed[line].replace_range(place..&(place + 1), letter);
                if typed[line] != lines[line] {
                    let slip = Some(Slip::Wrong(at + 1));
                    assert_eq!(refused(&typed), LinesError::Changed { line: line + 1, slip });
                }
            }
            let mut typed = lines.clone();
            typed[line].replace_range(place..&(place + 1), "u");
            assert_eq!(refused(&typed), LinesError::Letter { line: line + 1, at: at + 1, letter: 'u' });
        }
    }
    let shown = LinesError::Changed { line: 3, slip: Some(Slip::Wrong(7)) }.to_string();
    assert_eq!(shown, "line 3 is not as it was written: letter 7 (group 2) is wrong");
}

#[test]
fn lines_that_are_missing_doubled_or_swapped_are_refused_by_their_numbers() {
    let (bytes, lines) = text();
    assert_eq!(from_lines(&lines.join("\n")), Ok(bytes));
    for at in 0..lines.len() {
        let mut missing = lines.clone();
        missing.remove(at);
        assert_eq!(refused(&missing), LinesError::Missing(at + 1));
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at].clone());
        assert_eq!(refused(&doubled), LinesError::Twice(at + 1));
        if at > 0 {
            let mut swapped = lines.clone();
            swapped.swap(at - 1, at);
            assert_eq!(refused(&swapped), LinesError::Order(at + 1, at));
        }
        // The letters of one under the number of another.
        let (number, letters) = lines[at].split_once(": ").unwrap();
        let other = &lines[(at + 1) % lines.len()].split_once(": ").unwrap().1;
        let mut mixed = lines.clone();
        mixed[at] = format!("{number}: {other}");
        assert_ne!(letters, *other);
        let is_at = |line| line == at + 1;
        let error = refused(&mixed);
        assert!(
            matches!(error, LinesError::Changed { line, .. } | LinesError::Length { line, .. } if is_at(line)),
            "{error}"
        );
        // A line of another list, of as many lines.
        let foreign = to_lines(&encode(&ID, &random_holes(4000, 40, 10)));
        if foreign.len() == lines.len() && foreign[at] != lines[at] {
            let mut mixed = lines.clone();
            mixed[at].clone_from(&foreign[at]);
            let end = from_lines(&mixed.join("\n")).map(|bytes| decode(&bytes, &ID, 4000));
            assert!(matches!(end, Ok(Err(MissingError::Checksum)) | Err(LinesError::End(_))), "{end:?}");
        }
    }
}

#[test]
fn letters_that_are_missing_doubled_or_swapped_are_refused_with_their_place() {
    let (_, lines) = text();
    let begin = lines[1].find(": ").unwrap() + 2;
    let letters: Vec<char> = lines[1][begin..].chars().filter(|c| *c != ' ').collect();
    let with = |letters: &[char]| {
        let mut typed = lines.clone();
        typed[1] = format!("{}{}", &lines[1][..begin], letters.iter().collect::<String>());
        refused(&typed)
    };
    // Of equal neighbours nobody can tell which one it was.
    let first_equal = |at: usize| (0..=at).rev().take_while(|n| letters[*n] == letters[at]).last().unwrap();
    for at in 0..letters.len() {
        let mut missing = letters.clone();
        missing.remove(at);
        let slip = Some(Slip::Lacking(first_equal(at) + 1));
        assert_eq!(with(&missing), LinesError::Length { line: 2, got: 23, expected: 24, slip });
        let mut doubled = letters.clone();
        doubled.insert(at, letters[at]);
        let slip = Some(Slip::Extra(first_equal(at) + 1));
        assert_eq!(with(&doubled), LinesError::Length { line: 2, got: 25, expected: 24, slip });
        if at > 0 && letters[at - 1] != letters[at] {
            let mut swapped = letters.clone();
            swapped.swap(at - 1, at);
            assert_eq!(with(&swapped), LinesError::Changed { line: 2, slip: Some(Slip::Swapped(at)) });
        }
    }
    assert_eq!(with(&letters[..3]), LinesError::Length { line: 2, got: 3, expected: 24, slip: None });
    // The last line may have any length, and is checked all the same.
    let last = lines.len() - 1;
    let mut cut = lines.clone();
    cut[last].pop();
    assert!(matches!(refused(&cut), LinesError::Changed { line, .. } if line == last + 1));
}

#[test]
fn numbers_that_cannot_be_are_refused_as_they_were_typed() {
    let (_, lines) = text();
    let with = |first: &str| from_lines(&format!("{first}\n{}", lines[1..].join("\n"))).unwrap_err();
    let letters = lines[0].split_once(": ").unwrap().1;
    for number in ["0/4", "5/4", "x/4", "1/99999", "1", "", "99999999999999999999999/4"] {
        assert_eq!(with(&format!("{number}: {letters}")), LinesError::Number(number.to_owned()));
    }
    assert!(matches!(with(letters), LinesError::NoNumber(_)));
    assert!(matches!(with(&format!("1/1: {letters}")), LinesError::Changed { line: 1, .. } | LinesError::Total { .. }));
    assert_eq!(from_lines("# nothing\n\n"), Err(LinesError::Nothing));
    let huge = "A".repeat(limits::MISSING_TEXT_SIZE_BYTES_MAX + 1);
    assert_eq!(from_lines(&huge), Err(LinesError::TooLong(huge.len())));
}

#[test]
fn the_longest_list_is_text_that_is_read_again() {
    let bytes: Vec<u8> = numbers(2).map(|number| number as u8).take(limits::MISSING_SIZE_BYTES_MAX).collect();
    let text = to_lines(&bytes).join("\n");
    assert!(text.len() <= limits::MISSING_TEXT_SIZE_BYTES_MAX, "{} bytes", text.len());
    assert_eq!(from_lines(&text), Ok(bytes));
}

#[test]
fn every_line_stands_in_one_code_and_codes_fit_where_they_are_shown() {
    let lines = to_lines(&encode(&ID, &random_holes(100_000, 1000, 4)));
    for fit in [Fit::Columns(80), Fit::Columns(200), Fit::Paper] {
        let pictures = pictures(&lines, fit).unwrap();
        let held: Vec<usize> = pictures.iter().flat_map(|picture| picture.lines.0..=picture.lines.1).collect();
        assert_eq!(held, (1..=lines.len()).collect::<Vec<_>>(), "{fit:?}");
        for picture in &pictures {
            if let Fit::Columns(columns) = fit {
                assert!(picture.side() <= usize::from(columns));
            }
            assert!(picture.rows().all(|row| row.chars().count() == picture.side()));
            // The three eyes, and a light border all around.
            for (x, y) in [(4, 4), (picture.side() - 5, 4), (4, picture.side() - 5)] {
                assert!(picture.is_dark(x, y), "{x} {y}");
            }
            assert!((0..picture.side()).all(|at| !picture.is_dark(at, 3) && !picture.is_dark(3, at)));
        }
        let widths: BTreeSet<usize> = pictures.iter().map(Picture::side).collect();
        assert!(widths.len() <= 3, "{widths:?}");
    }
    assert_eq!(pictures(&lines, Fit::Columns(28)), Err(QrError::Narrow(28)));
    let many: Vec<String> = to_lines(&vec![1; limits::MISSING_SIZE_BYTES_MAX]);
    assert!(matches!(pictures(&many, Fit::Columns(80)), Err(QrError::TooMany(_))));
}

#[test]
fn an_svg_draws_the_pixels_of_the_code_and_words_are_no_markup() {
    let lines = to_lines(&encode(&ID, &set_of(100, [5])));
    let pictures = pictures(&lines, Fit::Paper).unwrap();
    let [picture] = &pictures[..] else { panic!("{} codes", pictures.len()) };
    // Reads the path again.
    let mut drawn = BTreeSet::new();
    for bar in picture.svg_path().split('M').skip(1) {
        let (place, rest) = bar.split_once('h').unwrap();
        let (x, y) = place.split_once(' ').unwrap();
        let (x, y): (usize, usize) = (x.parse().unwrap(), y.parse().unwrap());
        let length: usize = rest.split_once('v').unwrap().0.parse().unwrap();
        drawn.extend((x..x + length).map(|x| (x, y)));
    }
    let side = picture.side();
    let dark: BTreeSet<_> =
        (0..side).flat_map(|y| (0..side).map(move |x| (x, y))).filter(|(x, y)| picture.is_dark(*x, *y)).collect();
    assert_eq!(drawn, dark);
    let svg = svg(&pictures, |_, _| "<script>&".to_owned());
    assert!(svg.contains("&lt;script&gt;&amp;") && !svg.contains("<script"), "{svg}");
}

#[test]
fn a_png_has_the_pixels_of_all_codes() {
    let lines = to_lines(&encode(&ID, &random_holes(9000, 400, 5)));
    let pictures = pictures(&lines, Fit::Columns(70)).unwrap();
    assert!(pictures.len() > 1, "{} codes", pictures.len());
    let bytes = as_png(&pictures).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let shown = reader.next_frame(&mut pixels).unwrap();
    let mut top = 0;
    for picture in &pictures {
        for y in 0..picture.side() {
            for x in 0..picture.side() {
                // The first and the last pixel of each square.
                for (x_at, y_at) in [(8 * x, 8 * (top + y)), (8 * x + 7, 8 * (top + y) + 7)] {
                    let is_dark = pixels[y_at * shown.line_size + x_at / 8] & (0x80 >> (x_at % 8)) == 0;
                    assert_eq!(is_dark, picture.is_dark(x, y), "{x} {y}");
                }
            }
        }
        top += picture.side();
    }
    assert_eq!(shown.height as usize, 8 * top);
}
