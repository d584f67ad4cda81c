//! Letters that people read to each other, and what finds the one that was heard or typed wrong.
//!
//! The letters are Crockford's base32: no I, L, O and U, and whoever writes O for 0, or I or L for 1, is understood. Each line ends with
//! [`CHECK_LETTERS`] letters of a Reed–Solomon code over the 32 letters as a field (x^5 + x^2 + 1, roots α to α^4). Any two lines that fit differ in at least five
//! places. So up to four wrong letters are always seen, and where one letter is wrong, or two neighbours are swapped, there is only one place
//! where it can have happened.

/// Letters of a line that only check the others.
pub(super) const CHECK_LETTERS: usize = 4;
/// The letters by their value.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The letter of a value below 32.
pub(super) fn letter(value: u8) -> char {
    char::from(ALPHABET[usize::from(value & 31)])
}

/// The value of a letter, however it was written.
pub(super) fn value(letter: char) -> Option<u8> {
    let letter = match letter.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    ALPHABET.iter().position(|known| char::from(*known) == letter).map(|value| value as u8)
}

/// The product of two letters in the field.
const fn times(a: u8, b: u8) -> u8 {
    let (mut product, mut bit) = (0_u16, 0);
    while bit < 5 {
        if b >> bit & 1 == 1 {
            product ^= (a as u16) << bit;
        }
        bit += 1;
    }
    let mut high = 8;
    while high >= 5 {
        if product >> high & 1 == 1 {
            product ^= 0b10_0101 << (high - 5);
        }
        high -= 1;
    }
    product as u8
}

/// The polynomial (x - α)(x - α²)(x - α³)(x - α⁴) without its first term, from x³ down.
const GENERATOR: [u8; CHECK_LETTERS] = {
    let mut polynomial = [1_u8, 0, 0, 0, 0];
    let (mut root, mut degree) = (2_u8, 0);
    while degree < CHECK_LETTERS {
        let mut at = degree + 1;
        while at > 0 {
            polynomial[at] ^= times(polynomial[at - 1], root);
            at -= 1;
        }
        root = times(root, 2);
        degree += 1;
    }
    [polynomial[1], polynomial[2], polynomial[3], polynomial[4]]
};

/// The letters that are put behind others; at most 27 others have the strength that is promised above.
pub(super) fn check_of(values: impl IntoIterator<Item = u8>) -> [u8; CHECK_LETTERS] {
    let mut rest = [0; CHECK_LETTERS];
    for value in values {
        let first = value ^ rest[0];
        rest.rotate_left(1);
        rest[CHECK_LETTERS - 1] = 0;
        for (place, factor) in rest.iter_mut().zip(GENERATOR) {
            *place ^= times(first, factor);
        }
    }
    rest
}

/// Whether the letters behind `head` end with those that check all before them.
pub(super) fn fits(head: &[u8], line: &[u8]) -> bool {
    line.split_last_chunk::<CHECK_LETTERS>()
        .is_some_and(|(content, check)| check_of(head.iter().chain(content).copied()) == *check)
}

/// What was probably done to a line that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slip {
    /// This letter is another one; counted from 1.
    Wrong(usize),
    /// This letter and the next were swapped.
    Swapped(usize),
    /// A letter is lacking here.
    Lacking(usize),
    /// This letter is one too many.
    Extra(usize),
}

/// Where the slip is in a line that should have `length` letters, where that can be told.
pub(super) fn slip(head: &[u8], line: &[u8], length: usize) -> Option<Slip> {
    let mut tried = line.to_vec();
    if line.len() == length {
        for at in 0..length {
            for change in 1..32 {
                tried[at] = line[at] ^ change;
                if fits(head, &tried) {
                    return Some(Slip::Wrong(at + 1));
                }
            }
            tried[at] = line[at];
        }
        let swapped = (1..length).find(|at| {
            tried.copy_from_slice(line);
            tried.swap(at - 1, *at);
            fits(head, &tried)
        });
        return swapped.map(Slip::Swapped);
    }
    // The check letters leave less than one chance in a thousand that this names a wrong place.
    if line.len() + 1 == length {
        tried.push(0);
        return (0..length)
            .find(|at| {
                tried[..*at].copy_from_slice(&line[..*at]);
                tried[at + 1..].copy_from_slice(&line[*at..]);
                (0..32).any(|value| {
                    tried[*at] = value;
                    fits(head, &tried)
                })
            })
            .map(|at| Slip::Lacking(at + 1));
    }
    if line.len() == length + 1 {
        tried.pop();
        return (0..line.len())
            .find(|at| {
                tried[..*at].copy_from_slice(&line[..*at]);
                tried[*at..].copy_from_slice(&line[at + 1..]);
                fits(head, &tried)
            })
            .map(|at| Slip::Extra(at + 1));
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        (prop::collection::vec(0..32_u8, 6), prop::collection::vec(0..32_u8, 1..=20)).prop_map(|(head, mut line)| {
            let check = check_of(head.iter().chain(&line).copied());
            line.extend(check);
            (head, line)
        })
    }

    #[test]
    fn the_letters_are_a_field() {
        let mut power = 1;
        let all: std::collections::BTreeSet<u8> = (0..31)
            .map(|_| {
                power = times(power, 2);
                power
            })
            .collect();
        assert_eq!(all.len(), 31, "α makes every letter but 0");
        for a in 1..32 {
            assert_eq!((1..32).filter(|b| times(a, *b) == 1).count(), 1, "{a} has one inverse");
        }
    }

    #[test]
    fn letters_that_look_alike_are_read_alike() {
        for (written, meant) in [('o', '0'), ('O', '0'), ('i', '1'), ('I', '1'), ('l', '1'), ('L', '1'), ('z', 'Z')] {
            assert_eq!(value(written), value(meant));
        }
        for (at, known) in ALPHABET.iter().enumerate() {
            assert_eq!(value(char::from(*known)), Some(at as u8));
            assert_eq!(letter(at as u8), char::from(*known));
        }
        for none in ['u', 'U', 'ä', '-', ' ', '٣'] {
            assert_eq!(value(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn one_slip_is_found_where_it_is((head, line) in line(), at in 0..24_usize, change in 1..32_u8) {
            let at = at % line.len();
            prop_assert!(fits(&head, &line));
            let mut wrong = line.clone();
            wrong[at] ^= change;
            prop_assert_eq!(slip(&head, &wrong, line.len()), Some(Slip::Wrong(at + 1)));
            let mut swapped = line.clone();
            if at > 0 && line[at - 1] != line[at] {
                swapped.swap(at - 1, at);
                prop_assert_eq!(slip(&head, &swapped, line.len()), Some(Slip::Swapped(at)));
            }
        }

        #[test]
        fn four_wrong_letters_are_always_seen(
            (head, line) in line(),
            wrongs in prop::collection::btree_map(0..30_usize, 1..32_u8, 1..=4),
        ) {
            // Also in the line's number, which is before its letters.
            let mut all: Vec<u8> = head.iter().chain(&line).copied().collect();
            let length = all.len();
            let places: std::collections::BTreeMap<usize, u8> = wrongs.into_iter().map(|(at, change)| (at % length, change)).collect();
            for (at, change) in places {
                all[at] ^= change;
            }
            prop_assert!(!fits(&all[..head.len()], &all[head.len()..]));
        }

        #[test]
        fn a_letter_that_is_lacking_or_doubled_is_mostly_found((head, line) in line(), at in 0..24_usize) {
            let at = at % line.len();
            let mut lacking = line.clone();
            let gone = lacking.remove(at);
            if let Some(Slip::Lacking(found)) = slip(&head, &lacking, line.len()) {
                // Putting a letter in there makes a line that fits; of equal neighbours it is the first place.
                let mended = (0..32).any(|value| {
                    let mut mended = lacking.clone();
                    mended.insert(found - 1, value);
                    fits(&head, &mended)
                });
                prop_assert!(mended);
                prop_assert!(found <= at + 1);
            } else {
                prop_assert!(false, "the true place was not tried");
            }
            let mut doubled = line.clone();
            doubled.insert(at, gone);
            match slip(&head, &doubled, line.len()) {
                Some(Slip::Extra(found)) => prop_assert!(found <= at + 1),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
