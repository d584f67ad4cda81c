//! What an export tells: of each volume to whoever finds it, of what found no room, and of what became of all.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::base::{Blake3Hash, Result};

/// What whoever finds a volume is told of it.
#[derive(Debug, Clone)]
pub struct VolumeFacts {
    /// Its label.
    pub label: String,
    /// The new network.
    pub chain_id: String,
    /// The manifest.
    pub manifest_id: Blake3Hash,
    /// The manifest's six words.
    pub words: String,
    /// Only some can read it.
    pub encrypted: bool,
    /// Its data files.
    pub files: Vec<FileFacts>,
    /// Labels of the other volumes that were known.
    pub others: Vec<String>,
}

/// What is said of one data file.
#[derive(Debug, Clone)]
pub struct FileFacts {
    /// Its name.
    pub name: String,
    /// The artifact's file that it is a part of.
    pub artifact: String,
    /// The bytes of that file in it, from and to; `None` where they have gaps.
    pub bytes: Option<(u64, u64)>,
}

/// A medium that is still needed.
#[derive(Debug, Clone)]
pub struct NextMedium<'a> {
    /// Where it is looked for.
    pub directory: &'a Path,
    /// Bytes that found no room yet.
    pub left_bytes: u64,
    /// What was wrong with the one that is there now.
    pub problem: Option<String>,
}

/// Asks for the next medium; false: there is none.
pub type Ask<'a> = &'a dyn Fn(&NextMedium<'_>) -> Result<bool>;

/// One volume that was made.
#[derive(Debug, Clone, Serialize)]
pub struct ExportedVolume {
    /// Its label.
    pub label: String,
    /// Where it was written.
    pub directory: PathBuf,
    /// Chunks on it.
    pub chunks: u32,
    /// Bytes of data on it.
    pub bytes: u64,
    /// Bytes that earlier runs had written.
    pub kept_bytes: u64,
    /// It holds parity, and no chunks.
    pub parity: bool,
}

/// What became of an export.
#[derive(Debug, Clone, Serialize)]
pub struct Exported {
    /// The manifest.
    pub manifest_id: Blake3Hash,
    /// The new network.
    pub chain_id: String,
    /// The manifest's six words.
    pub words: String,
    /// The volumes that are whole, in order.
    pub volumes: Vec<ExportedVolume>,
    /// Directories that were not needed.
    pub unused: Vec<PathBuf>,
    /// Chunks that the directory itself does not have.
    pub absent_chunks: u32,
    /// Chunks that found no room.
    pub left_chunks: u32,
    /// Bytes of them.
    pub left_bytes: u64,
    /// The swarm's secret is on the media.
    pub with_secret: bool,
    /// The media are encrypted.
    pub encrypted: bool,
    /// How long it took.
    pub seconds: f64,
}
