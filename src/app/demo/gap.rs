//! The move over an air gap: two media, of which one is lost; an island of three validators; and what the two sides still have to say to
//! each other, on paper and in one small file.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;

use super::{
    Migration,
    migrate::{Joined, LISTEN, Migrating, Published, arguments, never},
    told::{Carried, Exported, Imported, Missing, Told},
};
use crate::{
    base::{Error, Result, clock, durable},
    bundle::data_name,
    database::scratch::Scratch,
};

/// Rows are added until a snapshot has about this size, so that it fills more than one medium.
pub(super) const SIZE_BYTES: u64 = 4 << 20;
/// What a volume holds beside its chunks, at most, in a demo.
const BESIDE_BYTES: u64 = 512 << 10;

/// What is read of a manifest's signing.
#[derive(Debug, Deserialize)]
struct Signed {
    ticket: String,
}

impl Migrating {
    /// The lead's side and the island hear each other only by what is carried.
    pub(super) async fn migrate_over_a_gap(
        &mut self,
        old_chain_id: String,
        scratch: &Arc<Scratch>,
    ) -> Result<Migration> {
        let began = clock::now();
        let home = self.nodes.home(0)?;
        let (snapdir, island) = (home.join("network_snapshot"), self.nodes.home(1)?.join("island"));
        let snapshot = self.take_snapshot(&snapdir, scratch).await?;
        let identifies = self.sign(&snapdir).await?;
        let media = self.export(&snapdir, snapshot.file_bytes).await?;
        self.lose_one(&media)?;
        let imported = self.import(&[&media[0]], &island, &identifies).await?;
        if imported.complete {
            return Err(never("one medium of two had everything"));
        }
        let paper = self.say_what_is_missing(&island).await?;
        let post = self.export_missing(&snapdir, &paper).await?;
        if !self.import(&[&post], &island, &identifies).await?.complete {
            return Err(never("the media did not hold everything"));
        }
        let ticket = self.seed(1, "island", &island, Told::Island).await?;
        let mut joined = self.join_some(1..self.nodes.count(), &ticket, scratch).await?;
        self.carry_back(&snapdir).await?;
        let ticket = self.seed(0, "lead", &snapdir, Told::Rejoining).await?;
        joined.splice(0..0, self.join_some(0..1, &ticket, scratch).await?);
        self.tell_joined(&joined)?;
        self.check().await?;
        self.compare(scratch).await?;
        self.sum_up((old_chain_id, snapdir), joined, vec![None; self.nodes.count()], began)
    }

    /// Gives the file of a ticket that only identifies the manifest.
    async fn sign(&self, snapdir: &Path) -> Result<PathBuf> {
        (self.tell)(Told::Signing);
        let mut sign = arguments(["manifest", "sign"]);
        let (key, state) = (self.nodes.key(0)?, self.nodes.home(0)?.join("state"));
        for (flag, path) in [("--snapdir", snapdir), ("--key", &key), ("--state-dir", &state)] {
            sign.extend([flag.into(), path.into()]);
        }
        if self.nodes.count() < self.nodes.world.keys.len() {
            // Those who are not here cannot confirm anything.
            sign.extend(arguments(["--attestations", &self.nodes.count().to_string()]));
        }
        let Signed { ticket } = self.once(0, "signing", &sign).await?;
        let file = self.nodes.directory().join("identifies.txt");
        durable::write_atomically(&file, format!("{ticket}\n").as_bytes(), 0o600)?;
        Ok(file)
    }

    async fn export(&self, snapdir: &Path, file_bytes: u64) -> Result<Vec<PathBuf>> {
        (self.tell)(Told::Exporting);
        let media: Vec<PathBuf> = ["medium-a", "medium-b"].map(|name| self.nodes.directory().join(name)).to_vec();
        let mut export = arguments(["bundle", "export", "--volume-size", &(file_bytes / 2 + BESIDE_BYTES).to_string()]);
        export.extend(["--dir".into(), snapdir.into(), "--state-dir".into(), self.nodes.home(0)?.join("state").into()]);
        export.push("--to".into());
        export.extend(media.iter().map(OsString::from));
        let exported: Exported = self.once(0, "export", &export).await?;
        if exported.volumes.len() != media.len() {
            return Err(never("the snapshot does not fill two media"));
        }
        (self.tell)(Told::Exported(exported));
        Ok(media)
    }

    /// The courier drops one: nothing of it can be read.
    fn lose_one(&self, media: &[PathBuf]) -> Result<()> {
        let lost = &media[1];
        for name in [data_name(0), data_name(1)] {
            match fs::write(lost.join(&name), "") {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::failed(format!("cannot spoil {}", lost.display())).because(e));
                }
                _ => {}
            }
        }
        (self.tell)(Told::MediumLost);
        Ok(())
    }

    async fn import(&self, media: &[&PathBuf], island: &Path, identifies: &Path) -> Result<Imported> {
        (self.tell)(Told::Importing { first: !island.exists() });
        let mut import = arguments(["bundle", "import"]);
        import.extend(media.iter().map(OsString::from));
        let state = self.nodes.home(1)?.join("state");
        for (flag, path) in [("--dir", island), ("--ticket-file", identifies), ("--state-dir", &state)] {
            import.extend([flag.into(), path.into()]);
        }
        let imported: Imported = self.once(1, "import", &import).await?;
        (self.tell)(Told::Imported(imported.clone()));
        Ok(imported)
    }

    /// Gives the file into which the lines were typed that the island read out.
    async fn say_what_is_missing(&self, island: &Path) -> Result<PathBuf> {
        (self.tell)(Told::AskingWhatIsMissing);
        let mut missing = arguments(["bundle", "missing", "--dir"]);
        missing.push(island.into());
        let missing: Missing = self.once(1, "list", &missing).await?;
        let paper = self.nodes.directory().join("typed.txt");
        durable::write_atomically(&paper, missing.lines.join("\n").as_bytes(), 0o600)?;
        (self.tell)(Told::Missing(missing));
        Ok(paper)
    }

    async fn export_missing(&self, snapdir: &Path, paper: &Path) -> Result<PathBuf> {
        (self.tell)(Told::ExportingMissing);
        let post = self.nodes.directory().join("medium-c");
        let mut export = arguments(["bundle", "export"]);
        let state = self.nodes.home(0)?.join("state");
        for (flag, path) in [("--dir", snapdir), ("--missing-from", paper), ("--state-dir", &state), ("--to", &post)] {
            export.extend([flag.into(), path.into()]);
        }
        let exported: Exported = self.once(0, "export", &export).await?;
        (self.tell)(Told::Exported(exported));
        Ok(post)
    }

    /// One side's swarm begins; gives the file of the ticket that leads into it.
    async fn seed(&mut self, number: usize, name: &str, directory: &Path, told: Told) -> Result<PathBuf> {
        (self.tell)(told);
        let mut seed = arguments(["seed", "--listen", LISTEN]);
        let state = self.nodes.home(number)?.join("state");
        for (flag, path) in [("--dir", directory), ("--state-dir", &state)] {
            seed.extend([flag.into(), path.into()]);
        }
        let Published { ticket } = self.start(number, &seed)?.result().await?;
        let file = self.nodes.directory().join(format!("{name}-ticket.txt"));
        durable::write_atomically(&file, format!("{ticket}\n").as_bytes(), 0o600)?;
        Ok(file)
    }

    async fn join_some(
        &mut self,
        numbers: std::ops::Range<usize>,
        ticket: &Path,
        scratch: &Scratch,
    ) -> Result<Vec<Joined>> {
        let first = self.members.len();
        for number in numbers {
            let mut join = self.join_arguments(number, ticket, scratch)?;
            join.extend(arguments(["--create-db", "--linger", "1h"]));
            self.start(number, &join)?;
        }
        let mut joined = Vec::new();
        for member in &mut self.members[first..] {
            joined.push(member.result().await?);
        }
        self.talk.fetched();
        Ok(joined)
    }

    /// What the island's validators signed goes back in one small file.
    async fn carry_back(&self, snapdir: &Path) -> Result<()> {
        (self.tell)(Told::CarryingBack);
        let file = self.nodes.directory().join("island.statements");
        let mut out = arguments(["bundle", "statements", "--dir"]);
        out.extend([self.nodes.root(1)?.into(), "--out".into(), file.clone().into()]);
        let _: Carried = self.once(1, "list of statements", &out).await?;
        let mut back = arguments(["bundle", "statements"]);
        back.extend([file.into(), "--dir".into(), snapdir.into()]);
        let carried: Carried = self.once(0, "list of statements", &back).await?;
        (self.tell)(Told::Carried(carried));
        Ok(())
    }
}
