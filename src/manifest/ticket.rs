//! The ticket: one line that names a manifest, whom to trust, and where to find it.
//!
//! ```text
//! regenesis1 ‖ lower-case base32 without padding of
//!   length of the message (2 bytes, big-endian) ‖ message (`Ticket` in proto/manifest.proto) ‖ checksum (4 bytes)
//! ```
//!
//! The length tells a cut ticket from a changed one; the checksum is BLAKE3 over length and message. Tickets are
//! pasted from chats and mails: letter case does not matter, and white space, marks of quoting and words around it are passed
//! over.

use std::{fmt, str::FromStr};

use data_encoding::BASE32_NOPAD;
use kwil_formats::formats::key::PublicKey;
use zeroize::Zeroizing;

use super::{DecodeError, TrustRules, check_chain_id, wire};
use crate::base::{Advice, Blake3Hash, Error, Next, limits};

/// What every ticket begins with, before its version.
const PREFIX: &str = "regenesis";
/// The form of the text; the message inside has a version of its own.
const VERSION: char = '1';
const LENGTH_SIZE_BYTES: usize = 2;
const CHECKSUM_SIZE_BYTES: usize = 4;
/// Line breaks and indentation that a mail program adds are read over, but not without end.
const TEXT_SIZE_BYTES_MAX: usize = 2 * limits::TICKET_SIZE_BYTES_MAX;

/// What an operator is sent, to know which manifest to trust and where to fetch it.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Chain id of the new network.
    pub new_chain_id: String,
    /// The id of the manifest that it is about.
    pub manifest_id: Blake3Hash,
    /// The key of the lead, whose manifest it is.
    pub lead: PublicKey,
    /// Summary of the manifest's rules, for words only; the manifest decides. Its lead is [`Ticket::lead`].
    pub policy: TrustRules,
    /// Proves membership of the swarm. `None`: the ticket only identifies, or the swarm is public.
    pub secret: Option<Zeroizing<[u8; 32]>>,
    /// Multiaddresses with peer ids, as text. The swarm reads them.
    pub addresses: Vec<String>,
}

impl Ticket {
    /// A ticket that says which manifest, but opens nothing.
    #[must_use]
    pub fn without_secret(&self) -> Self {
        Ticket { secret: None, addresses: Vec::new(), ..self.clone() }
    }

    fn check(&self) -> Result<(), DecodeError> {
        let rule = |field, problem| Err(DecodeError::Rule { field, problem });
        check_chain_id("new_chain_id", &self.new_chain_id)?;
        if self.policy.lead != self.lead {
            return rule("policy", "of another lead");
        }
        self.policy.check_signers()?;
        if self.addresses.len() > limits::TICKET_ADDRESSES_MAX {
            return rule("addresses", "too many");
        }
        if self.addresses.iter().any(|a| !is_address(a)) {
            return rule("addresses", "one is no multiaddress: it must begin with / and be printable ASCII");
        }
        Ok(())
    }

    /// The one line, which contains the secret. `Display` gives the same.
    ///
    /// # Errors
    /// When a reader would refuse it: too many or too long addresses.
    pub fn to_text(&self) -> Result<String, TicketError> {
        self.check().map_err(TicketError::Decode)?;
        let text = self.encode();
        if text.len() > limits::TICKET_SIZE_BYTES_MAX {
            return Err(TicketError::TooLong(text.len()));
        }
        Ok(text)
    }

    fn encode(&self) -> String {
        let message = wire::encode_ticket(self);
        let mut frame = Zeroizing::new(Vec::with_capacity(message.len() + LENGTH_SIZE_BYTES + CHECKSUM_SIZE_BYTES));
        // Longer ones are refused by their text's length.
        frame.extend_from_slice(&u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes());
        frame.extend_from_slice(&message);
        let sum = checksum(&frame);
        frame.extend_from_slice(&sum);
        format!("{PREFIX}{VERSION}{}", BASE32_NOPAD.encode(&frame).to_ascii_lowercase())
    }
}

/// The swarm knows multiaddresses; here only that nothing harmful or absurd hides in one.
fn is_address(text: &str) -> bool {
    text.starts_with('/') && text.len() <= limits::ADDRESS_SIZE_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic())
}

fn checksum(length_and_message: &[u8]) -> [u8; CHECKSUM_SIZE_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"regenesis/ticket/v1\0").update(length_and_message);
    let mut sum = [0; CHECKSUM_SIZE_BYTES];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_SIZE_BYTES]);
    sum
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.encode())
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("new_chain_id", &self.new_chain_id)
            .field("manifest_id", &self.manifest_id)
            .field("lead", &self.lead)
            .field("policy", &self.policy)
            .field("secret", &self.secret.as_ref().map(|_| "redacted"))
            .field("addresses", &self.addresses)
            .finish()
    }
}

/// Why a text is no ticket. Never quotes the text, which may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// The text does not begin as a ticket does.
    #[error("this is not a ticket: a ticket begins with {PREFIX}{VERSION}")]
    NotATicket,
    /// The text is a ticket of this other version.
    #[error("the ticket has version {0}; this regenesis reads version {VERSION}")]
    OtherVersion(char),
    /// The text has this many characters, more than any ticket.
    #[error("the ticket has {0} characters; at most {max} are read", max = limits::TICKET_SIZE_BYTES_MAX)]
    TooLong(usize),
    /// A character that no ticket has.
    #[error("the ticket has {} at place {place}, a character that no ticket contains", character_in_words(*.character))]
    Character {
        /// Its place, counted from 1 without blanks.
        place: usize,
        /// The character.
        character: char,
    },
    /// A second one follows.
    #[error("these are two tickets, or more than one")]
    Several,
    /// The end is missing.
    #[error("the ticket is cut: {missing} characters are missing at its end")]
    Cut {
        /// How many characters are missing.
        missing: usize,
    },
    /// So many characters follow that do not belong to the ticket.
    #[error("the ticket is followed by {0} characters that do not belong to it")]
    Longer(usize),
    /// One letter is another than the lead's ticket has.
    #[error("the ticket has a wrong letter: \"{letter}\" at place {place}")]
    Letter {
        /// Its place, counted from 1 without blanks.
        place: usize,
        /// The letter that stands there.
        letter: char,
    },
    /// The checksum does not fit, and more than one letter is wrong.
    #[error("the ticket was changed: its checksum does not fit")]
    Changed,
    /// Whole, but its content is not right.
    #[error("the ticket is whole, but cannot be used: {0}")]
    Decode(DecodeError),
}

/// A character so that everybody sees which one.
fn character_in_words(c: char) -> String {
    if c.is_ascii_graphic() { format!("\"{c}\"") } else { format!("U+{:04X}", u32::from(c)) }
}

impl From<TicketError> for Error {
    fn from(error: TicketError) -> Self {
        let advice: Advice = match &error {
            TicketError::OtherVersion(_) | TicketError::Decode(DecodeError::Newer(_)) => {
                "use the same version of regenesis as the lead".into()
            }
            TicketError::Decode(_) => "ask the lead for a new ticket".into(),
            TicketError::Several => "give one of them: the one that the lead sent last".into(),
            TicketError::NotATicket => Next::WholeTicket.into(),
            TicketError::Letter { .. } => {
                "compare that letter with the line that the lead posted, or better copy the whole line again".into()
            }
            _ => "copy the whole line again from where the lead posted it".into(),
        };
        Error::verify(error.to_string()).hint(advice)
    }
}

/// A pasted text in capitals, without what mails, editors and chats put between letters.
struct Letters {
    text: Zeroizing<String>,
    /// Where in it something was passed over.
    gaps: Vec<usize>,
}

impl Letters {
    fn of(pasted: &str) -> Self {
        let mut letters = Letters { text: Zeroizing::new(String::with_capacity(pasted.len())), gaps: Vec::new() };
        for c in pasted.chars() {
            // White space, what nobody sees, and the mark of a quoted mail.
            let passed_over = c.is_whitespace()
                || matches!(c, '\u{feff}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '>');
            if !passed_over {
                letters.text.push(c.to_ascii_uppercase());
            } else if letters.gaps.last() != Some(&letters.text.len()) {
                letters.gaps.push(letters.text.len());
            }
        }
        letters
    }
}

/// Characters of base32 that `bytes` bytes take.
fn text_length(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5)
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(pasted: &str) -> Result<Self, TicketError> {
        if pasted.len() > TEXT_SIZE_BYTES_MAX {
            return Err(TicketError::TooLong(pasted.len()));
        }
        let Letters { text, gaps } = Letters::of(pasted);
        let prefix = PREFIX.to_ascii_uppercase();
        let begin = text.find(&prefix).ok_or(TicketError::NotATicket)?;
        let stands_alone =
            |at: usize| at == 0 || gaps.contains(&at) || !text[..at].ends_with(|c: char| c.is_alphanumeric());
        let rest = &text[begin + prefix.len()..];
        match rest.chars().next() {
            Some(VERSION) if stands_alone(begin) => {}
            Some(other) if other.is_ascii_digit() && other != VERSION => return Err(TicketError::OtherVersion(other)),
            _ => return Err(TicketError::NotATicket),
        }
        let rest = &rest[VERSION.len_utf8()..];
        if rest.contains(&format!("{prefix}{VERSION}")) {
            return Err(TicketError::Several);
        }
        let end = rest.find(|c| !matches!(c, 'A'..='Z' | '2'..='7')).unwrap_or(rest.len());
        let digits = &rest[..end];
        if digits.len() > limits::TICKET_SIZE_BYTES_MAX {
            return Err(TicketError::TooLong(digits.len()));
        }
        // Too short, because of a letter that no ticket has, or because the end is missing.
        let short = |missing: usize| match rest[end..].chars().next() {
            Some(character) => TicketError::Character { place: PREFIX.len() + 2 + end, character },
            None => TicketError::Cut { missing },
        };
        // The first 16 bits say how long the whole is.
        let head_length = text_length(LENGTH_SIZE_BYTES);
        let head = digits.get(..head_length).ok_or_else(|| short(head_length - digits.len()))?;
        let bits = head.bytes().fold(0_u32, |bits, c| bits << 5 | base32_value(c));
        let message_length = (bits >> (head_length * 5 - 16)) as usize;
        let frame_length = LENGTH_SIZE_BYTES + message_length + CHECKSUM_SIZE_BYTES;
        let expected = text_length(frame_length);
        if expected > limits::TICKET_SIZE_BYTES_MAX {
            return Err(TicketError::Changed);
        }
        if digits.len() < expected {
            return Err(short(expected - digits.len()));
        }
        // Words that follow are apart from it; a letter more is a letter too many.
        let after = begin + prefix.len() + VERSION.len_utf8() + expected;
        if text[after..].starts_with(|c: char| c.is_alphanumeric()) && !gaps.contains(&after) {
            return Err(TicketError::Longer(digits.len().max(expected + 1) - expected));
        }
        let digits = &digits[..expected];
        let wrong = |at: usize| {
            let letter = char::from(digits.as_bytes()[at]).to_ascii_lowercase();
            TicketError::Letter { place: PREFIX.len() + 2 + at, letter }
        };
        // Nothing but bits behind the end of the last byte can be wrong with these letters.
        let frame = BASE32_NOPAD.decode(digits.as_bytes()).map_err(|_| wrong(expected - 1))?;
        let mut frame = Zeroizing::new(frame);
        if !is_whole(&frame) {
            return Err(wrong_letter(&mut frame).map_or(TicketError::Changed, wrong));
        }
        let content = &frame[..frame.len() - CHECKSUM_SIZE_BYTES];
        let ticket = wire::decode_ticket(&content[LENGTH_SIZE_BYTES..]).map_err(TicketError::Decode)?;
        ticket.check().map_err(TicketError::Decode)?;
        Ok(ticket)
    }
}

/// Whether the checksum at the end of a frame fits what stands before it.
fn is_whole(frame: &[u8]) -> bool {
    frame.split_last_chunk::<CHECKSUM_SIZE_BYTES>().is_some_and(|(content, sum)| checksum(content) == *sum)
}

/// Which letter is wrong, where another one in its place makes the checksum fit; each is tried, 31 times a letter, and the
/// frame is left as it was. A checksum of 32 bits leaves no doubt: of all the tries for the longest ticket, less than one in
/// ten thousand would fit by chance.
fn wrong_letter(frame: &mut [u8]) -> Option<usize> {
    const LETTER_BITS: usize = 5;
    let letters = text_length(frame.len());
    (0..letters).find(|letter| {
        let (byte, bit) = (letter * LETTER_BITS / 8, letter * LETTER_BITS % 8);
        (1..1_u16 << LETTER_BITS).any(|change| {
            // The letter's bits in the two bytes that they may reach into.
            let [first, second] = (change << (16 - LETTER_BITS - bit)).to_be_bytes();
            if byte + 1 == frame.len() && second != 0 {
                return false;
            }
            let turn = |frame: &mut [u8]| {
                frame[byte] ^= first;
                frame.iter_mut().skip(byte + 1).take(1).for_each(|next| *next ^= second);
            };
            turn(frame);
            let fits = is_whole(frame);
            turn(frame);
            fits
        })
    })
}

fn base32_value(c: u8) -> u32 {
    u32::from(if c.is_ascii_uppercase() { c - b'A' } else { c - b'2' + 26 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::{Attestations, Threshold};
    use kwil_formats::formats::key::{KeyType, PrivateKey};

    fn key(seed: u8, kind: KeyType) -> PublicKey {
        PrivateKey::from_seed(kind, &[seed; 32]).unwrap().public()
    }

    fn ticket() -> Ticket {
        let lead = key(1, KeyType::Ed25519);
        Ticket {
            new_chain_id: "kwil-demo-2".into(),
            manifest_id: Blake3Hash::from_bytes([0xa5; 32]),
            lead,
            policy: TrustRules {
                lead,
                threshold: Threshold::Count(2),
                cosigners: vec![key(2, KeyType::Secp256k1)],
                attestations: Attestations::PowerOver { numerator: 2, denominator: 3 },
            },
            secret: Some(Zeroizing::new([0x5e; 32])),
            addresses: vec!["/ip4/192.0.2.7/tcp/6690/p2p/12D3KooWPeer".into(), "/dns/lead.example/tcp/6690".into()],
        }
    }

    #[test]
    fn one_lower_case_line_that_reads_back() {
        let text = ticket().to_text().unwrap();
        assert!(text.starts_with("regenesis1a"), "{text}");
        assert!(text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9')));
        assert_eq!(text.parse(), Ok(ticket()));
        let bare = ticket().without_secret();
        assert_eq!(bare.to_string().parse(), Ok(bare));
    }

    #[test]
    fn pasted_from_a_chat_it_still_reads() {
        let text = ticket().to_text().unwrap();
        assert_eq!(text.to_uppercase().parse(), Ok(ticket()));
        let broken: String = text
            .chars()
            .enumerate()
            .flat_map(|(i, c)| [if i % 60 == 59 { "\r\n\t " } else { "" }.into(), c.to_string()])
            .collect();
        assert_eq!(format!("  {broken}\u{a0}\n").parse(), Ok(ticket()));
        for (before, behind) in [
            ("\u{feff}", "\r\n"),
            ("\"", "\""),
            ("<", ">"),
            ("> ", ""),
            ("", "\u{200b}"),
            ("", "."),
            ("The ticket: ", " -- see you at noon"),
            ("`", "`,"),
        ] {
            assert_eq!(format!("{before}{text}{behind}").parse(), Ok(ticket()), "{before:?} {behind:?}");
        }
        let quoted = broken.replace("\r\n", "\r\n> ");
        assert_eq!(format!("> {quoted}").parse(), Ok(ticket()));
    }

    #[test]
    fn each_way_to_be_wrong_has_its_own_words() {
        let text = ticket().to_text().unwrap();
        let read = |t: &str| t.parse::<Ticket>().unwrap_err();
        assert_eq!(read(""), TicketError::NotATicket);
        assert_eq!(read("https://example.org"), TicketError::NotATicket);
        assert_eq!(read("regenesis"), TicketError::NotATicket);
        assert_eq!(read(&text.replacen('1', "2", 1)), TicketError::OtherVersion('2'));
        assert_eq!(read(&text[..text.len() - 7]), TicketError::Cut { missing: 7 });
        assert_eq!(read("regenesis1ab"), TicketError::Cut { missing: 2 });
        assert_eq!(read(&format!("{text}aa")), TicketError::Longer(2));
        assert_eq!(
            read(&text.replacen(&text[20..21], "!", 1)),
            TicketError::Character { place: text.find(&text[20..21]).unwrap() + 1, character: '!' }
        );
        assert!(read(&text.replacen(&text[20..21], "0", 1)).to_string().contains("has \"0\" at place"));
        let other = if &text[40..41] == "x" { 'y' } else { 'x' };
        let mistyped = format!("{}{other}{}", &text[..40], &text[41..]);
        assert_eq!(read(&mistyped), TicketError::Letter { place: 41, letter: other });
        let shouted = format!("> {}", mistyped.to_uppercase());
        assert!(read(&shouted).to_string().contains(&format!("a wrong letter: \"{other}\" at place 41")));
        let two = format!("{}{other}{}", &mistyped[..60], &mistyped[61..]);
        assert_eq!(read(&two), if two == mistyped { read(&mistyped) } else { TicketError::Changed });
        assert_eq!(read(&format!("x{text}")), TicketError::NotATicket);
        assert_eq!(read(&format!("{text}8")), TicketError::Longer(1));
        assert_eq!(read(&format!("{text}\n{text}\n")), TicketError::Several);
        assert_eq!(read(&"a".repeat(100_000)), TicketError::TooLong(100_000));
        let error: Error = read(&text[..text.len() - 7]).into();
        assert_eq!(error.kind(), crate::base::Kind::Verify);
        assert!(format!("{:?}", error.advice()).contains("whole line"));
        assert!(Error::from(TicketError::NotATicket).advice().unwrap().names(&crate::base::Next::WholeTicket));
    }

    #[test]
    fn the_secret_is_in_no_debug_text() {
        let text = format!("{:?} {:#?}", ticket(), ticket());
        assert!(text.contains("redacted") && !text.contains("5e5e") && !text.contains("94, 94"), "{text}");
        assert!(ticket().without_secret().addresses.is_empty());
    }

    #[test]
    fn content_that_no_reader_takes_is_not_written() {
        let refused = |change: fn(&mut Ticket)| {
            let mut ticket = ticket();
            change(&mut ticket);
            let error = ticket.to_text().unwrap_err();
            // A text that was made all the same is refused as well.
            assert!(ticket.to_string().parse::<Ticket>().is_err());
            error.to_string()
        };
        assert!(refused(|t| t.addresses = vec!["10.0.0.1:6690".into()]).contains("no multiaddress"));
        assert!(refused(|t| t.addresses = vec!["/ip4/\u{1b}[2J".into()]).contains("no multiaddress"));
        assert!(refused(|t| t.addresses = vec!["/a".into(); 33]).contains("too many"));
        assert!(refused(|t| t.addresses = vec![format!("/{}", "a".repeat(255)); 32]).contains("characters"));
        assert!(refused(|t| t.new_chain_id.clear()).contains("new_chain_id"));
        assert!(refused(|t| t.policy.threshold = Threshold::Count(3)).contains("threshold"));
    }

    #[test]
    fn a_newer_message_says_so() {
        let mut message = wire::encode_ticket(&ticket()).to_vec();
        assert_eq!(message[..2], [0x08, 0x01]);
        message[1] = 2;
        let mut frame = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
        frame.extend(message);
        frame.extend(checksum(&frame));
        let text = format!("regenesis1{}", BASE32_NOPAD.encode(&frame));
        assert_eq!(text.parse::<Ticket>(), Err(TicketError::Decode(DecodeError::Newer(2))));
    }

    proptest! {
        #[test]
        fn any_changed_character_is_found(place in any::<prop::sample::Index>(), with in "[a-z2-7!0 ]") {
            let text = ticket().to_text().unwrap();
            let place = place.index(text.len());
            prop_assume!(text[place..=place] != with);
            let mut changed = text.clone();
            changed.replace_range(place..=place, &with);
            let refused = changed.parse::<Ticket>().unwrap_err();
            // Behind the length, a letter for another one is told by its place.
            let is_letter = with.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
            if is_letter && place >= PREFIX.len() + 1 + text_length(LENGTH_SIZE_BYTES) {
                let letter = with.chars().next().unwrap();
                prop_assert_eq!(refused, TicketError::Letter { place: place + 1, letter });
            }
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,200}", tail in "(regenesis1)?[a-zA-Z2-7]{0,80}") {
            let _ = text.parse::<Ticket>();
            let _ = tail.parse::<Ticket>();
        }
    }
}
