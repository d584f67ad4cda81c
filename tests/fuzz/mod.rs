//! Fuzz targets, one to a file: each a plain function of bytes that panics where something is wrong. Here each runs over its
//! corpus and a bounded number of mutations of it; a fuzzer can call the same functions.

mod scan;
pub(crate) mod soup;
pub(crate) mod split;

use std::{fs, path::Path};

/// A small generator of numbers: the same numbers on every machine.
#[derive(Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// The texts of a target's corpus, in the order of their names.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// One change: a byte, a cut, a part twice, a part of another text, or a word that means something to some reader.
pub(crate) fn mutate(text: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    let at = numbers.below(text.len() + 1);
    let part = |text: &[u8], numbers: &mut Numbers| {
        let from = numbers.below(text.len());
        let length = numbers.below(40);
        text[from..(from + length).min(text.len())].to_vec()
    };
    match numbers.below(7) {
        0 if at < text.len() => text[at] = numbers.next() as u8,
        1 => {
            let until = (at + numbers.below(20)).min(text.len());
            text.drain(at..until);
        }
        2 if !text.is_empty() => {
            let part = part(text, numbers);
            text.splice(at..at, part);
        }
        3 if !other.is_empty() => {
            let part = part(other, numbers);
            text.splice(at..at, part);
        }
        _ => {
            let word = numbers.pick(soup::WORDS);
            text.splice(at..at, word.bytes());
        }
    }
}

/// Runs a target over its corpus and so many mutations.
fn run(target: &str, mutations: usize, check: fn(&[u8])) {
    let corpus = corpus(target);
    let mut numbers = Numbers::new(1);
    corpus.iter().for_each(|text| check(text));
    for _ in 0..mutations {
        let mut text = corpus[numbers.below(corpus.len())].clone();
        for _ in 0..=numbers.below(3) {
            let other = numbers.below(corpus.len());
            mutate(&mut text, &corpus[other], &mut numbers);
        }
        check(&text);
    }
}

#[test]
fn the_splitter_agrees_with_the_parsers_tokens_over_its_corpus() {
    run("split", 4000, |text| drop(split::split(text)));
}

#[test]
fn the_check_judges_a_text_alike_however_it_is_cut() {
    run("scan", 600, scan::scan);
}
