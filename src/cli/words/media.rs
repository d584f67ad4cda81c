//! The words of what crosses an air gap.

use std::{fmt, path::PathBuf};

use serde::Serialize;

use crate::{
    app::bundle::{Carried, Missing},
    base::text,
    bundle::missing::{Picture, svg},
    manifest::Verdict,
};

/// What a directory lacks, and where that was written or how it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct ShownMissing {
    #[serde(flatten)]
    pub(crate) missing: Missing,
    /// The file that was written.
    pub(crate) file: Option<PathBuf>,
    /// What is printed instead.
    #[serde(skip)]
    pub(crate) body: Option<String>,
}

impl fmt::Display for ShownMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(body) = &self.body {
            return write!(f, "{body}");
        }
        writeln!(f, "{}", summary(&self.missing))?;
        writeln!(f, "  manifest   {}", self.missing.manifest_id)?;
        writeln!(f, "  six words  {}", self.missing.words)?;
        if let Some(file) = &self.file {
            writeln!(f, "written: {}", file.display())?;
            write!(f, "whoever has the rest: regenesis bundle export --missing-from FILE --dir DIR --to MEDIUM")?;
        }
        Ok(())
    }
}

fn summary(missing: &Missing) -> String {
    let network = text::escape(&missing.chain_id);
    match missing.missing_chunks {
        0 => format!(
            "Nothing is missing: all {} of {network} are there.",
            text::count(u64::from(missing.chunks), "chunk")
        ),
        some => format!(
            "{some} of the {} of {network} are missing, {}.",
            text::count(u64::from(missing.chunks), "chunk"),
            text::bytes(missing.missing_bytes)
        ),
    }
}

/// The lines, with what they are before them.
pub(crate) fn missing_text(missing: &Missing) -> String {
    format!(
        "# {}\n# The manifest's six words: {}\n# Read these lines out, type them into a file, and give it to: regenesis bundle export --missing-from FILE\n{}\n",
        summary(missing),
        missing.words,
        missing.lines.join("\n")
    )
}

/// The codes as a picture, with their words.
pub(crate) fn missing_svg(missing: &Missing, pictures: &[Picture]) -> String {
    svg(pictures, |at, picture| {
        let network: String = text::escape(&missing.chain_id).chars().take(30).collect();
        format!("{network}: {}", words_of_code(at, pictures.len(), picture))
    })
}

/// Which of several codes this is, counted from 0.
pub(crate) fn words_of_code(at: usize, count: usize, picture: &Picture) -> String {
    let (first, last) = picture.lines;
    match count {
        1 => format!("lines {first} to {last}"),
        _ => format!("code {} of {count}: lines {first} to {last}", at + 1),
    }
}

/// What was carried, and where it was written.
#[derive(Debug, Serialize)]
pub(crate) struct ShownStatements {
    #[serde(flatten)]
    pub(crate) carried: Carried,
    /// The file that was written.
    pub(crate) file: Option<PathBuf>,
}

impl fmt::Display for ShownStatements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let carried = &self.carried;
        writeln!(
            f,
            "{} of {} known",
            text::count(carried.statements as u64, "validators' statement"),
            text::escape(&carried.chain_id)
        )?;
        writeln!(f, "  six words  {}", carried.words)?;
        for taken in &carried.taken {
            write!(f, "  taken      {}: {} new, {} known already", taken.name, taken.new, taken.known)?;
            if taken.unused > 0 {
                write!(f, ", {} of no use: old, damaged, or about something else", taken.unused)?;
            }
            writeln!(f)?;
        }
        let verdict = match carried.verdict {
            Verdict::Met => "the manifest's rule is met",
            Verdict::Open => "the manifest's rule is not met yet",
            Verdict::Lost => "the manifest's rule CANNOT be met any more: no root may be set up",
        };
        writeln!(f, "  old state  {}: {verdict}", carried.attested)?;
        write!(f, "  ready      {} of {}", carried.ready, text::count(carried.validators as u64, "validator"))?;
        if let Some(certificate) = &carried.certificate {
            write!(f, ": a quorum; certificate: {}", certificate.display())?;
        }
        match &self.file {
            None => {}
            Some(file) if carried.statements == 0 => {
                write!(f, "\nwritten: {}, with nothing in it: no validator has signed anything yet", file.display())?;
            }
            Some(file) => write!(
                f,
                "\nwritten: {}\non the other side: regenesis bundle statements FILE --dir DIR",
                file.display()
            )?,
        }
        Ok(())
    }
}
