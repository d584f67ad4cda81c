//! What a directory lacks, for those on the other side of an air gap who have it; and what such a list says to them.

use std::path::Path;

use serde::Serialize;

use super::{noted, own_manifest, place_of, what_is_there, words_of};
use crate::{
    base::{Blake3Hash, Error, Next, Result},
    bundle::missing::{self, LinesError, MissingError},
    manifest::ChunkSet,
    store::Contents,
};

/// What a directory lacks.
#[derive(Debug, Clone, Serialize)]
pub struct Missing {
    /// The manifest.
    pub manifest_id: Blake3Hash,
    /// The new network.
    pub chain_id: String,
    /// The manifest's six words.
    pub words: String,
    /// Chunks in all.
    pub chunks: u32,
    /// Chunks that are not there.
    pub missing_chunks: u32,
    /// Bytes of them.
    pub missing_bytes: u64,
    /// The list as lines that can be typed.
    pub lines: Vec<String>,
    /// The list as a file.
    #[serde(skip)]
    pub file: Vec<u8>,
}

/// Looks what a directory lacks, as its names, its sizes and its journal tell; a process that fills it is not disturbed. That it was asked for
/// is noted there.
///
/// # Errors
/// When it has no manifest that can be read.
pub fn missing(directory: &Path) -> Result<Missing> {
    let directory = place_of(directory);
    let manifest = own_manifest(&directory)?;
    let (contents, have) = what_is_there(&directory, &manifest);
    let mut lacking = ChunkSet::empty(have.len());
    for chunk in (0..have.len()).filter(|chunk| !have.contains(*chunk)) {
        lacking.insert(chunk);
    }
    let file = missing::encode(&manifest.id(), &lacking);
    noted::asked(&directory, manifest.id(), &lacking);
    Ok(Missing {
        manifest_id: manifest.id(),
        chain_id: manifest.manifest().network.new_chain_id.clone(),
        words: words_of(&manifest),
        chunks: lacking.len(),
        missing_chunks: lacking.count(),
        missing_bytes: lacking.iter().map(|chunk| contents.chunk_len(chunk) as u64).sum(),
        lines: missing::to_lines(&file),
        file,
    })
}

/// The chunks that a list names: a file as it was written, or its lines as somebody typed them. `name` says where it came from.
///
/// # Errors
/// [`crate::base::Kind::Verify`] when it is damaged, typed wrong, or of another migration.
pub fn read_missing(name: &str, bytes: &[u8], contents: &Contents) -> Result<ChunkSet> {
    let refuse = |problem: String| Error::verify(format!("{name} cannot be used: {problem}"));
    let typed;
    let list = if missing::is_binary(bytes) {
        bytes
    } else {
        let text = std::str::from_utf8(bytes).map_err(|_| refuse("it is neither such a list nor text".to_owned()))?;
        typed = missing::from_lines(text).map_err(|e| refuse(e.to_string()).hint(advice_on_lines(&e)))?;
        &typed
    };
    missing::decode(list, &contents.manifest_id(), contents.chunk_count())
        .map_err(|e| refuse(e.to_string()).hint(advice(&e)))
}

fn advice_on_lines(error: &LinesError) -> Next {
    match error {
        LinesError::Nothing | LinesError::NoNumber(_) | LinesError::TooLong(_) => Next::ListWhatIsMissing,
        _ => Next::CompareLine,
    }
}

fn advice(error: &MissingError) -> Next {
    match error {
        MissingError::OtherManifest(_) | MissingError::ChunkCount { .. } => Next::DirectoryOfList,
        MissingError::Format(_) => Next::SameProgram,
        MissingError::Size(_) | MissingError::Checksum | MissingError::Set => Next::ListWhatIsMissing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::Kind, manifest::Layout, store::ArtifactFile};

    fn contents(id: u8) -> Contents {
        let layout = Layout::new(100 << 18, 1 << 18).unwrap();
        let chunk_ids = vec![Blake3Hash::from_bytes([1; 32]); 100];
        Contents::new(Blake3Hash::from_bytes([id; 32]), vec![ArtifactFile { name: "a".to_owned(), layout, chunk_ids }])
    }

    #[test]
    fn a_list_is_read_as_a_file_and_as_typed_and_a_wrong_letter_is_said_with_its_place() {
        let contents = contents(7);
        let mut lacking = ChunkSet::empty(100);
        lacking.insert_range(10..20);
        let file = missing::encode(&contents.manifest_id(), &lacking);
        assert_eq!(read_missing("list", &file, &contents).unwrap(), lacking);
        let typed = missing::to_lines(&file).join("\n").to_lowercase();
        assert_eq!(read_missing("list", typed.as_bytes(), &contents).unwrap(), lacking);
        let letter = typed.find(": ").unwrap() + 7;
        let mut wrong = typed.clone();
        let other = if &typed[letter..=letter] == "z" { "y" } else { "z" };
        wrong.replace_range(letter..=letter, other);
        let error = read_missing("list", wrong.as_bytes(), &contents).unwrap_err();
        assert_eq!(error.kind(), Kind::Verify);
        let expected = "list cannot be used: line 1 is not as it was written: letter 5 (group 2) is wrong";
        assert_eq!(error.chain(), expected);
        assert!(error.advice().is_some());
    }

    #[test]
    fn what_is_no_list_of_this_migration_is_refused_with_advice() {
        let list = missing::encode(&Blake3Hash::from_bytes([7; 32]), &ChunkSet::full(100));
        let mut rotten = list.clone();
        rotten[10] ^= 1;
        let text = missing::to_lines(&rotten).join("\n");
        for (bytes, contents, says) in [
            (list, contents(8), "was made for another migration: its manifest's id begins with 0707070707070707"),
            (rotten, contents(7), "was damaged"),
            (text.into_bytes(), contents(7), "was damaged"),
            (b"hello".to_vec(), contents(7), "stands before the first line's number"),
            (vec![b'1', 0xff, 0xfe], contents(7), "neither such a list nor text"),
            (Vec::new(), contents(7), "there is no line in it"),
        ] {
            let error = read_missing("list", &bytes, &contents).unwrap_err();
            assert!(error.chain().contains(says), "{}", error.chain());
        }
    }
}
