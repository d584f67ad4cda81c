//! Our splitter against psql: what it cuts is what psql sends, to the byte.

use kwil_formats::dump::scan::inside::{Piece, cut};

use super::fuzz::{Numbers, corpus, mutate, soup, split};
use super::psql;

/// Texts to a run of psql.
const BATCH: usize = 400;

/// Compares the texts that the splitter takes, all in one run of psql; where that differs, each in its own, to name the one.
fn compare(texts: &[(Vec<u8>, Vec<Piece>)]) {
    let whole: Vec<u8> = texts.iter().flat_map(|(text, _)| text.iter().copied()).collect();
    let want: Vec<&Piece> = texts.iter().flat_map(|(_, pieces)| pieces).collect();
    let sent = psql::run(&whole);
    if sent.status == Some(0) && sent.pieces.iter().eq(want.iter().copied()) {
        return;
    }
    for (text, pieces) in texts {
        let sent = psql::run(text);
        assert!(
            sent.status == Some(0) && sent.pieces == *pieces,
            "{}\nis cut as {pieces:?},\npsql sends {sent:?}",
            text.escape_ascii()
        );
    }
    panic!("the texts differ only together: {}", whole.escape_ascii());
}

/// Soups until so many have passed.
fn compare_soups(seed: u64, wanted: usize) {
    let mut numbers = Numbers::new(seed);
    let corpus = corpus("split");
    let (mut tried, mut batch) = (0, Vec::new());
    for passed in 0..wanted {
        let pieces = loop {
            tried += 1;
            let mut text = soup::soup(&mut numbers);
            if numbers.below(8) == 0 {
                let other = &corpus[numbers.below(corpus.len())];
                mutate(&mut text, other, &mut numbers);
            }
            if let Some((pieces, _)) = split::split(&text) {
                break (text, pieces);
            }
        };
        batch.push(pieces);
        if batch.len() == BATCH || passed + 1 == wanted {
            compare(&batch);
            batch.clear();
        }
    }
    assert!(tried > wanted, "nothing was refused");
}

#[test]
fn psql_sends_what_the_splitter_cuts() {
    compare_soups(7, 5000);
}

#[test]
fn psql_sends_what_the_splitter_cuts_of_the_corpus() {
    let texts: Vec<_> =
        corpus("split").into_iter().filter_map(|text| cut(&text).ok().map(|pieces| (text, pieces))).collect();
    assert!(!texts.is_empty());
    compare(&texts);
}

/// The comparison notices: psql cuts in other ways what the splitter refuses.
#[test]
fn what_psql_cuts_in_another_way_is_refused() {
    for (text, sends) in [
        ("SELECT 1; SELECT 2;\n", 2),
        ("CREATE FUNCTION s.begin() RETURNS void AS $$BEGIN END$$;\nSELECT 1;\nend;\n", 1),
        ("SELECT (1;\n2);\n", 1),
        ("SELECT 1 \\; SELECT 2;\n", 1),
        ("SELECT E'\\';';\n", 1),
        ("SELECT 1 -- x; \n;\n", 1),
        ("\\echo x\nSELECT 1;\n", 1),
        ("SELECT 1\\g\nSELECT 2;\n", 2),
        ("\u{feff}SELECT 1;\n", 1),
        ("SELECT 'a\0b';\n';\n", 1),
    ] {
        assert_eq!(psql::run(text.as_bytes()).pieces.len(), sends, "{text:?}");
        assert!(cut(text.as_bytes()).is_err(), "{text:?}");
    }
}

/// As many as `REGENESIS_FUZZ_TOKENS` says, against the parser's own tokens only; without it a few.
#[test]
fn the_splitter_agrees_with_the_parsers_tokens() {
    let wanted = std::env::var("REGENESIS_FUZZ_TOKENS").map_or(300_000, |n| n.parse::<usize>().unwrap());
    let seed = std::env::var("REGENESIS_FUZZ_SEED").map_or(1, |n| n.parse().unwrap());
    let mut numbers = Numbers::new(seed);
    let corpus = corpus("split");
    let (mut tokens, mut passed, mut refused) = (0, 0_u64, 0_u64);
    while tokens < wanted {
        let mut text = soup::soup(&mut numbers);
        for _ in 0..numbers.below(3) {
            let other = &corpus[numbers.below(corpus.len())];
            mutate(&mut text, other, &mut numbers);
        }
        match split::split(&text) {
            Some((_, count)) => (tokens, passed) = (tokens + count, passed + 1),
            None => refused += 1,
        }
    }
    assert!(passed > 0 && refused > 0, "{passed} texts passed, {refused} were refused");
}
