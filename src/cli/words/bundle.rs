//! What is said of media, and what stands on them in words.

use std::fmt;

use serde::Serialize;

use crate::{
    app::bundle::{Exported, FileFacts, Imported, NextMedium, VerifiedMedia, VolumeFacts},
    base::{Error, Kind, Next, text},
    bundle::{BLAKE3_LIST_NAME, INDEX_COPY_NAME, INDEX_NAME, Paper, SHA256_LIST_NAME},
};

/// Columns of the words on a medium.
const COLUMNS: usize = 78;

/// What stands on each volume for people: what it is, and a script that checks it without this program.
pub(crate) fn papers(facts: &VolumeFacts) -> Vec<Paper> {
    let paper = |name: &str, text: String| Paper { name: name.to_owned(), bytes: text.into_bytes() };
    vec![paper("README.txt", readme(facts)), paper("verify.sh", VERIFY.to_owned())]
}

fn readme(facts: &VolumeFacts) -> String {
    let VolumeFacts { label, chain_id, manifest_id, words, encrypted, files, others } = facts;
    let chain_id = text::escape(chain_id);
    let parts: Vec<String> = files
        .iter()
        .map(|FileFacts { name, artifact, bytes }| match bytes {
            Some((from, to)) => format!("  {name}  bytes {from} to {to} of {artifact}"),
            None => format!("  {name}  parts of {artifact}"),
        })
        .collect();
    let others = match others.as_slice() {
        [] => "It is the only volume that was planned.".to_owned(),
        others => format!("Other volumes that were planned with it: {}.", others.join(", ")),
    };
    let (secrecy, opening) = match encrypted {
        true => (
            "It is encrypted: only whoever has the key or the passphrase it was made for can read it.",
            " --age-identity FILE",
        ),
        false => ("It holds no secret, unless ticket.txt is on it.", ""),
    };
    let lines = format!(
        "This is volume {label}.\n\nIt carries a part of the new genesis of the Kwil network {chain_id} to machines that have no wire to \
         the others. {secrecy} Nobody has to trust it: every byte is proved by the manifest, \
         which the network's lead has signed.\n\nManifest: {manifest_id}\nIts six words, to compare with the lead over the phone: \
         {words}\n\nAt the other end, with all volumes mounted:\n\n    regenesis bundle import DIR... --dir relay --ticket-file ticket.txt{opening}\n\n\
         or, to set a validator's node up straight from them:\n\n    regenesis join --media DIR... --ticket-file ticket.txt --root-dir \
         ~/.kwild-new --key-file KEY{opening}\n\nWithout that program, verify.sh tells whether the medium is worn: sh verify.sh\n\nWhat is on it:\n\
         {parts}\n  {INDEX_NAME}, {INDEX_COPY_NAME}  which chunks these are, twice\n  {SHA256_LIST_NAME}, {BLAKE3_LIST_NAME}  the hashes of all files\n\n\
         {others}\n",
        parts = parts.join("\n"),
    );
    lines.lines().map(wrapped).collect()
}

/// A line, broken where it is too long for a small screen; one that is set in is left as it is.
fn wrapped(line: &str) -> String {
    if line.starts_with(' ') {
        return format!("{line}\n");
    }
    let mut text = String::new();
    let mut column = 0;
    for word in line.split(' ') {
        let len = word.chars().count();
        if column > 0 && column + 1 + len > COLUMNS {
            text.push('\n');
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += len;
    }
    text.push('\n');
    text
}

/// Checks a volume with what most machines have.
const VERIFY: &str = "#!/bin/sh
# Tells whether this medium gives back what was written to it. That it is what the lead signed says regenesis alone.
cd \"$(dirname \"$0\")\" || exit 1
if command -v b3sum >/dev/null 2>&1; then
    b3sum --check b3sum.txt
elif command -v sha256sum >/dev/null 2>&1; then
    sha256sum -c sha256.txt
elif command -v python3 >/dev/null 2>&1; then
    python3 - <<'END'
import hashlib, sys
bad = 0
for line in open('sha256.txt'):
    want, name = line.rstrip('\\n').split('  ', 1)
    have = hashlib.sha256()
    try:
        with open(name, 'rb') as file:
            for piece in iter(lambda: file.read(1 << 20), b''):
                have.update(piece)
        good = have.hexdigest() == want
    except OSError as error:
        print(error)
        good = False
    print(name + (': OK' if good else ': FAILED'))
    bad += not good
sys.exit(1 if bad else 0)
END
else
    echo 'this machine has none of b3sum, sha256sum and python3' >&2
    exit 2
fi && echo 'all files are as they were written' || { echo 'this medium is damaged' >&2; exit 1; }
";

/// What somebody at a terminal is asked.
pub(crate) fn next_medium(next: &NextMedium<'_>) -> String {
    let problem = next.problem.as_ref().map_or_else(String::new, |problem| format!("{problem}\n"));
    format!(
        "{problem}{} found no room yet. Put the next medium in, mount it at {}, and press Enter; q ends here",
        text::bytes(next.left_bytes),
        next.directory.display()
    )
}

/// The result of `bundle export`.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct ExportResult(pub(crate) Exported);

impl fmt::Display for ExportResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exported = &self.0;
        let volumes = text::count(exported.volumes.len() as u64, "volume");
        let bytes = exported.volumes.iter().map(|volume| volume.bytes).sum();
        writeln!(
            f,
            "{volumes} with {} of {}, in {:.1} s",
            text::bytes(bytes),
            text::escape(&exported.chain_id),
            exported.seconds
        )?;
        for volume in &exported.volumes {
            let kept = match volume.kept_bytes {
                0 => String::new(),
                kept => format!(" ({} were there)", text::bytes(kept)),
            };
            let what = if volume.parity { " of parity" } else { "" };
            let at = volume.directory.display();
            writeln!(f, "  {}  {}{what}{kept} at {at}", volume.label, text::bytes(volume.bytes))?;
        }
        match exported.volumes.iter().filter(|volume| volume.parity).count() {
            0 => {}
            parity => writeln!(f, "  any {parity} of these {volumes} may be lost, broken or late")?,
        }
        for unused in &exported.unused {
            writeln!(f, "  not needed: {}", unused.display())?;
        }
        writeln!(f, "  six words   {}", exported.words)?;
        if exported.absent_chunks > 0 {
            writeln!(f, "  the directory itself lacks {}", text::count(exported.absent_chunks.into(), "chunk"))?;
        }
        if exported.with_secret {
            writeln!(f, "  the swarm's secret is on the media, in ticket.txt: whoever has one may enter the swarm")?;
        }
        writeln!(f, "Write its label on each medium. All were read back: unmount them before you pull them.")
    }
}

/// What completes media, in words.
struct Needed<'a> {
    labels: &'a [String],
    any: Option<usize>,
    anew: &'a [String],
    unknown: u32,
}

impl fmt::Display for Needed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        match (self.labels, self.any) {
            ([], _) => {}
            (labels, Some(any)) => {
                parts.push(format!("still needed are any {any} of the volumes {}", labels.join(", ")))
            }
            ([label], None) => parts.push(format!("still needed is the volume {label}")),
            (labels, None) => parts.push(format!("still needed are the volumes {}", labels.join(", "))),
        }
        match self.anew {
            [] => {}
            anew => parts.push(format!("too damaged, and to be made anew or read elsewhere, are {}", anew.join(", "))),
        }
        match self.unknown {
            0 if parts.is_empty() => parts.push("no volume that is known holds them".to_owned()),
            0 => {}
            unknown => parts.push(format!("no volume that is known holds {}", text::count(unknown.into(), "chunk"))),
        }
        f.write_str(&parts.join(", and "))
    }
}

/// The result of `bundle import`.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct ImportResult(pub(crate) Imported);

impl ImportResult {
    /// What is still lacking, where something is.
    pub(crate) fn error(&self) -> Option<Error> {
        let imported = &self.0;
        if imported.complete {
            return None;
        }
        let lacks = text::bytes(imported.lacking_bytes);
        let needed = Needed {
            labels: &imported.needed,
            any: imported.needed_any,
            anew: &imported.needed_anew,
            unknown: imported.unknown_chunks,
        };
        let words = format!("{lacks} are lacking: {needed}");
        if imported.in_place && imported.made_good_chunks > 0 {
            let words = format!("{lacks} are lacking on the media, which only an import with a copy makes from parity");
            return Some(Error::new(Kind::GaveUp, words).hint(Next::ImportWithCopy));
        }
        Some(Error::new(Kind::GaveUp, words).hint(Next::ImportMore))
    }
}

impl fmt::Display for ImportResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let imported = &self.0;
        let (have, all) = (imported.have_chunks, imported.chunks);
        match imported.complete {
            true => writeln!(
                f,
                "imported and verified: all {} of {}, in {:.1} s",
                text::count(all.into(), "chunk"),
                text::escape(&imported.chain_id),
                imported.seconds
            )?,
            false => writeln!(
                f,
                "imported {have} of {all} chunks of {}, in {:.1} s",
                text::escape(&imported.chain_id),
                imported.seconds
            )?,
        }
        for medium in &imported.media {
            let label = medium.label.as_deref().unwrap_or("medium");
            let at = medium.directory.display();
            match &medium.refused {
                Some(refused) => writeln!(f, "  {label} at {at}: not used: {refused}")?,
                None => {
                    let verb = if imported.in_place { "used" } else { "taken" };
                    writeln!(f, "  {label} at {at}: {} {verb}", text::bytes(medium.taken_bytes))?;
                }
            }
            for trouble in &medium.troubles {
                writeln!(f, "    {trouble}")?;
            }
        }
        if imported.in_place && imported.complete {
            let at = imported.directory.display();
            writeln!(
                f,
                "  the chunks stay on the media: as long as these are mounted, regenesis seed --dir {at} serves them"
            )?;
        }
        if imported.restored_chunks > 0 {
            let made = text::count(imported.restored_chunks.into(), "chunk");
            writeln!(f, "  parity made {made} that no medium gave")?;
        }
        writeln!(f, "  six words   {}", imported.words)?;
        writeln!(f, "  manifest    {}", imported.manifest_id)?;
        for (name, path) in [("genesis ", &imported.genesis), ("snapshot", &imported.snapshot)] {
            if let Some(path) = path {
                writeln!(f, "  {name}    {}", path.display())?;
            }
        }
        Ok(())
    }
}

/// The result of `bundle verify`.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct VerifyResult(pub(crate) VerifiedMedia);

impl fmt::Display for VerifyResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for medium in &self.0.media {
            let label = medium.label.as_deref().unwrap_or("medium");
            let word = if medium.ok { "ok" } else { "BAD" };
            writeln!(
                f,
                "{word:<4} {label} at {}: {} as signed",
                medium.directory.display(),
                text::bytes(medium.good_bytes)
            )?;
            if let Some(words) = &medium.words {
                writeln!(f, "     six words {words}")?;
            }
            for trouble in &medium.troubles {
                writeln!(f, "     {trouble}")?;
            }
        }
        let media = &self.0;
        let needed = Needed {
            labels: &media.needed,
            any: media.needed_any,
            anew: &media.needed_anew,
            unknown: media.unknown_chunks,
        };
        match (media.lacking_chunks, media.made_good_chunks) {
            (None, _) => Ok(()),
            (Some(0), _) => writeln!(f, "together they hold everything"),
            (Some(lacking), made_good) => {
                write!(f, "together they lack {}", text::count(lacking.into(), "chunk"))?;
                match made_good {
                    made_good if made_good == lacking => writeln!(f, ": parity suffices, which makes that good"),
                    0 => writeln!(f, ": {needed}"),
                    made_good => writeln!(f, ", of which parity makes {made_good} good; {needed}"),
                }
            }
        }
    }
}
