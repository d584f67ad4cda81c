//! Confirming a new node: what its database holds, table by table, against what was signed.

use std::path::{Path, PathBuf};

use kwil_formats::{
    formats::{Family, Validator, genesis::Genesis},
    judge::{
        collation,
        confirm::{FoundState, Judgement, Part, SignedState, TableState, Verdict, judge},
    },
};
use serde::Serialize;

use super::files::read_manifest;
use crate::{
    base::{
        Advice, Context, Error, Finding, Level, Next, Progress, Result, clock, files::read_bounded, limits,
        progress::Item, task::CancellationToken, text,
    },
    database::{self, NodeStage, Settings},
    manifest::{ArtifactName, Manifest, genesis_validators},
    snapshot::{
        self, ReadOptions,
        digest::{self, DatabaseDigestOptions, Digest, StateDigester, Witness, WitnessedDatabase, digest_pieces},
        read::SnapshotText,
    },
};

/// Which node is confirmed, and by which files.
#[derive(Debug)]
pub struct ConfirmOptions {
    /// The new node's database.
    pub settings: Settings,
    /// A manifest, or its directory; `None`: the snapshot and its genesis alone say what was signed.
    pub manifest: Option<PathBuf>,
    /// The snapshot file; `None`: the manifest's digests alone are compared.
    pub snapshot: Option<SnapshotFile>,
    /// The new network's genesis; `None`: what it changed in the state is not known.
    pub genesis: Option<PathBuf>,
    /// The pg_dump to run; `None`: the best one that is installed.
    pub pg_dump: Option<PathBuf>,
    /// Whether tables that transactions may have changed count as no failure.
    pub allow_transactions: bool,
}

/// A snapshot file, and whether the operator named it.
#[derive(Debug)]
pub enum SnapshotFile {
    /// It must be there.
    Named(PathBuf),
    /// It was looked for in the root or beside the manifest, and is used if it is there.
    Found(PathBuf),
}

/// The verdict on the whole node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conclusion {
    /// The data is what was signed.
    AsSigned,
    /// What was signed is there, and transactions changed it since.
    AsSignedAndMore,
    /// The chain began empty: kwild did not restore.
    NotRestored,
    /// Parts are not what was signed.
    Damaged,
    /// Parts differ, and transactions may have done that.
    Unconfirmed,
    /// The data is what was signed, but its database orders text otherwise than the old network's.
    OrdersOtherwise,
}

/// What a confirmation found.
#[derive(Debug, Clone, Serialize)]
pub struct Confirmed {
    /// The data is what was signed, but for what is not counted as a failure.
    pub ok: bool,
    /// The verdict on the whole node.
    pub outcome: Conclusion,
    /// The family of the node.
    pub family: Family,
    /// The number of the new node's last block.
    pub height: i64,
    /// The number of transactions since the genesis; null: it cannot be known.
    pub transactions: Option<u64>,
    /// What was compared: `digests` of the manifest, or `rows`, each row of the snapshot file.
    pub compared: &'static str,
    /// Every table, then `validators` and `definitions`.
    pub tables: Vec<Part>,
    /// Sentences on what is worth knowing of the comparison.
    pub notes: Vec<String>,
    /// How the database orders text, where that is not as in the old network.
    #[serde(skip)]
    pub collation: Vec<Finding>,
}

impl Confirmed {
    /// The parts that got this verdict.
    pub fn of(&self, verdict: Verdict) -> impl Iterator<Item = &Part> {
        self.tables.iter().filter(move |part| part.verdict == verdict)
    }

    /// Refuses a node that does not hold what was signed.
    ///
    /// # Errors
    /// `Kind::Verify`, which names the parts.
    pub fn check(&self) -> Result<()> {
        const NAMED_MAX: usize = 5;
        const SILENT: &str =
            "kwild says nothing of it when the genesis pins no hash or the database held a schema kwild_voting";
        if self.ok {
            return Ok(());
        }
        let named = |verdict: Verdict| text::first_few(self.of(verdict).map(|part| &part.name), NAMED_MAX);
        Err(match self.outcome {
            Conclusion::NotRestored => Error::verify(
                "the snapshot was NOT restored into this database: the chain began empty, and no table of the signed \
                 network is there",
            )
            .hint(Advice::from(SILENT).and(Next::MakeNodeAnew)),
            Conclusion::Unconfirmed => Error::verify(format!(
                "not confirmed: signed rows are missing in {}, and transactions or damage may be why",
                named(Verdict::Unclear)
            ))
            .hint(Next::CompareOrAllow),
            Conclusion::OrdersOtherwise => {
                let finding = self.collation.iter().find(|finding| finding.level == Level::Error);
                let text = finding.map_or("the database orders text otherwise", |finding| finding.text.as_str());
                Error::verify(format!("the data is what was signed, but {text}")).hint(Next::OrderedDatabaseAnew)
            }
            _ => Error::verify(format!("this node does not hold what was signed: {}", named(Verdict::Damage)))
                .hint(Next::MakeNodeAnew),
        })
    }
}

/// Compares a new node's database with what was signed. The node may make blocks meanwhile: one consistent cut is read.
///
/// # Errors
/// `Kind::Verify` when the files belong to different networks or kwild has not started on the database to its end;
/// `Kind::Usage` when there is nothing to compare with; when the database or pg_dump fails. A state that is not what was
/// signed is no error here: [`Confirmed::check`].
pub async fn confirm(options: ConfirmOptions, progress: &Progress, cancel: &CancellationToken) -> Result<Confirmed> {
    let basis = Basis::read(&options, progress, cancel).await?;
    let has_blocks = has_started(&options.settings).await?;
    let digest_options =
        DatabaseDigestOptions { family: None, pg_dump: options.pg_dump.clone(), before_blocks: !has_blocks };
    let quiet = without_warnings(progress);
    let found = digest::witness_database(&options.settings, digest_options, &quiet, cancel.clone()).await?;
    if found.digest.family != basis.family {
        return Err(Error::verify(format!(
            "the database is a node's of family {}, what was signed is of {}",
            found.digest.family, basis.family
        ))
        .hint("name the new node's database"));
    }
    let judged = basis.judge(&found, has_blocks)?;
    let collation = match basis.manifest.as_ref().and_then(|manifest| manifest.collation.as_ref()) {
        None => Vec::new(),
        Some(old) => {
            let new = database::collation::look(&options.settings).await?;
            collation::compare(old, &new, &options.settings.dbname)
        }
    };
    let mut notes = basis.edits()?;
    if !has_blocks {
        notes.push("no block was made yet: the validators come from the genesis with the first one".to_owned());
    }
    Ok(result_of(&basis, &found, judged, collation, notes, options.allow_transactions))
}

/// The progress without warnings and notes: that the node runs is as it should be, and nobody needs to hear of it.
fn without_warnings(progress: &Progress) -> Progress {
    let inner = progress.clone();
    Progress::new(move |item| {
        if !matches!(item, Item::Warning(_) | Item::Note(_)) {
            inner.item(item);
        }
    })
}

/// Whether the node has made a block; an error where kwild has not come to the end of its restore.
async fn has_started(settings: &Settings) -> Result<bool> {
    let place = format!("the database \"{}\" at {}", text::escape(&settings.dbname), settings.place());
    let hint = "confirm when kwild has started on it; is this the new node's database?";
    match NodeStage::look(settings).await? {
        NodeStage::HasBlocks => Ok(true),
        NodeStage::NoBlock => Ok(false),
        NodeStage::Nothing => {
            Err(Error::verify(format!("kwild has not started on {place}: it holds nothing of Kwil")).hint(hint))
        }
        NodeStage::NoChain => Err(Error::verify(format!(
            "kwild has not come to its end of starting on {place}: tables are there, but no chain"
        ))
        .hint(
            "kwild's log says why it stopped: a wrong hash, the server's version or settings. What it restored until then \
             is unverified, and its next start would run on it: drop the database, mend the cause, and start again",
        )),
    }
}

/// What was signed, as far as it was given.
struct Basis {
    family: Family,
    manifest: Option<Manifest>,
    genesis: Option<Genesis>,
    /// The genesis is not byte for byte the one that the manifest names.
    genesis_is_another: bool,
    /// The snapshot file's digest and rows; `None` where no file is used.
    file: Option<(Digest, Witness)>,
    /// The number of the old network's last block; `None` where nothing says it.
    old_height: Option<i64>,
}

impl Basis {
    async fn read(options: &ConfirmOptions, progress: &Progress, cancel: &CancellationToken) -> Result<Self> {
        let manifest = options.manifest.as_deref().map(read_manifest).transpose()?;
        let genesis = options.genesis.as_deref().map(snapshot::read_genesis).transpose()?;
        if let (Some(manifest), Some(genesis), Some(path)) = (&manifest, &genesis, &options.genesis)
            && genesis.state_hash() != Some(manifest.state_hash)
        {
            let pins = genesis.state_hash().map_or_else(|| "no state hash".to_owned(), |hash| hash.to_string());
            return Err(Error::verify(format!(
                "{} pins {pins}, the manifest's snapshot has {}",
                path.display(),
                manifest.state_hash
            ))
            .hint(
                "a node with this genesis is of another network, or began empty; give the manifest that belongs to it",
            ));
        }
        let genesis_is_another = match (&manifest, &options.genesis) {
            (Some(manifest), Some(path)) => {
                let bytes = read_bounded(path, limits::GENESIS_SIZE_BYTES_MAX, "genesis")?;
                manifest.artifact(ArtifactName::Genesis).root.as_bytes() != blake3::hash(&bytes).as_bytes()
            }
            _ => false,
        };
        let path = match &options.snapshot {
            Some(SnapshotFile::Named(path)) => Some(path),
            Some(SnapshotFile::Found(path)) => Some(path).filter(|path| path.is_file()),
            None => None,
        };
        let file = match path {
            None => None,
            Some(path) => match read_file(path, options, manifest.as_ref(), progress, cancel).await {
                Ok(file) => Some(file),
                // One that nobody named, and that is another's, is no help; the manifest is enough.
                Err(e) if matches!(options.snapshot, Some(SnapshotFile::Found(_))) && manifest.is_some() => {
                    progress.warning(format!("{} is left aside: {}", path.display(), e.chain()));
                    None
                }
                Err(e) => return Err(e),
            },
        };
        let family = match (&manifest, &genesis, &file) {
            (Some(manifest), ..) => manifest.network.family,
            (_, Some(genesis), _) => genesis.family(),
            (_, _, Some((digest, _))) => digest.family,
            _ => return Err(nothing_to_compare()),
        };
        let digests = manifest.as_ref().is_some_and(|manifest| manifest.state_digest.is_some());
        if file.is_none() && !digests {
            return Err(match manifest {
                Some(_) => Error::verify("the manifest holds no state digest").hint(Next::SnapshotToConfirm),
                None => nothing_to_compare(),
            });
        }
        let old_height =
            manifest.as_ref().map(|m| m.network.height).or_else(|| file.as_ref().and_then(|(d, _)| d.height));
        Ok(Basis { family, manifest, genesis, genesis_is_another, file, old_height })
    }

    /// Sentences on how the genesis was edited for the new network: of the state that was signed only the tables are compared.
    fn edits(&self) -> Result<Vec<String>> {
        let mut told = Vec::new();
        let Some(manifest) = &self.manifest else { return Ok(told) };
        if self.genesis_is_another {
            told.push(
                "the genesis is not the one that was signed: it was edited since, and this node's network takes its \
                 validators and parameters from it"
                    .to_owned(),
            );
        }
        let new = self.new_validators()?.unwrap_or_default();
        let old = &manifest.old_validators;
        let added = new.iter().filter(|v| old.iter().all(|o| o.key != v.key)).count();
        let left = old.iter().filter(|o| new.iter().all(|v| v.key != o.key)).count();
        let other_power = new.iter().filter(|v| old.iter().any(|o| o.key == v.key && o.power != v.power)).count();
        if !old.is_empty() && added + left + other_power > 0 {
            told.push(format!(
                "the genesis was edited for the new network: of the validators {added} joined, {left} left, {other_power} \
                 got another power; the node's are compared with the genesis, not with the old state's"
            ));
        }
        Ok(told)
    }

    /// The validators of the new network, as the genesis or else the manifest names them.
    fn new_validators(&self) -> Result<Option<Vec<Validator>>> {
        Ok(match (&self.genesis, &self.manifest) {
            (Some(genesis), _) => Some(genesis_validators(genesis)?),
            (None, Some(manifest)) => Some(manifest.new_validators.clone()),
            (None, None) => None,
        })
    }

    fn judge(&self, found: &WitnessedDatabase, has_blocks: bool) -> Result<Judgement> {
        let tables: Vec<TableState<'_>> = match (&self.file, &self.manifest) {
            (Some((digest, _)), _) => table_states(digest),
            (None, Some(Manifest { state_digest: Some(digest), .. })) => digest
                .tables
                .iter()
                .map(|t| TableState { name: &t.name, columns: &t.columns, rows: t.rows, digest: t.digest })
                .collect(),
            (None, _) => return Err(nothing_to_compare()),
        };
        let signed = SignedState {
            family: self.family,
            tables,
            facts: self.file.as_ref().map(|(_, witness)| &witness.facts),
            schema: self.file.as_ref().and_then(|(digest, _)| digest.schema.as_deref()),
            validators: self.new_validators()?.filter(|_| has_blocks).map(|all| all.into_iter().collect()),
            allocs: self.genesis.as_ref().map_or(0, |genesis| genesis.alloc_count() as u64),
            owner: self.genesis.as_ref().and_then(Genesis::db_owner),
        };
        let database = FoundState {
            tables: table_states(&found.digest),
            facts: &found.witness.facts,
            schema: found.digest.schema.as_deref(),
            validators: found.digest.validators.iter().copied().collect(),
            height: found.digest.height.unwrap_or(0),
            owner: found.owner.as_deref(),
            unix_seconds: i64::try_from(clock::unix_seconds()).unwrap_or(i64::MAX),
        };
        judge(&signed, &database, &mut |table| {
            self.file.as_ref().map(|(_, witness)| witness.compare(&found.witness, table)).transpose()
        })
    }
}

fn nothing_to_compare() -> Error {
    Error::usage("there is nothing to compare the database with").hint(Next::SomethingToConfirm)
}

fn table_states(digest: &Digest) -> Vec<TableState<'_>> {
    let tables = digest.tables.iter();
    tables.map(|t| TableState { name: &t.name, columns: &t.columns, rows: t.rows, digest: t.digest }).collect()
}

/// Checks the file against the genesis, or the manifest, and digests it.
async fn read_file(
    path: &Path,
    options: &ConfirmOptions,
    manifest: Option<&Manifest>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<(Digest, Witness)> {
    progress.step(format!("Reading the snapshot {}", path.display()));
    let (path, genesis) = (path.to_owned(), options.genesis.clone());
    if genesis.is_none() && manifest.is_none() {
        return Err(Error::usage("a snapshot file alone proves nothing: its genesis pins what it must be")
            .hint(Next::GenesisOrManifest));
    }
    let expected = manifest.map(|manifest| manifest.state_hash);
    let (reporter, cancel) = (progress.clone(), cancel.clone());
    let work = move || {
        let digester = StateDigester::witnessing(&digest::spill_directory())?;
        let witness = |pieces| digest_pieces(pieces, digester)?.finish_witnessed();
        let told = |bytes| reporter.bytes("verify", bytes, None, "");
        let text = SnapshotText::open(&path)?;
        let (facts, witnessed) = text.read_heard(&ReadOptions::until(&cancel), told, Some(witness))?;
        reporter.done("verify");
        let genesis = genesis.as_deref().map(snapshot::read_genesis).transpose()?;
        let height = match (&genesis, expected) {
            (Some(genesis), _) => snapshot::old_height(&facts.pinned_by(genesis)?, genesis),
            (None, Some(expected)) if expected != facts.state_hash => {
                return Err(Error::verify(format!(
                    "{} has the state hash {}, which is not the manifest's",
                    path.display(),
                    facts.state_hash
                ))
                .hint("give the snapshot that belongs to this manifest"));
            }
            (None, _) => facts.scan?.height,
        };
        let (text, witness) = witnessed.ok_or_else(|| Error::failed("the snapshot was not digested"))??;
        Ok((Digest { height, ..Digest::new(&text, &[]) }, witness))
    };
    tokio::task::spawn_blocking(work).await.or_failed(|| "the check ended unexpectedly")?
}

fn result_of(
    basis: &Basis,
    found: &WitnessedDatabase,
    judged: Judgement,
    collation: Vec<Finding>,
    mut notes: Vec<String>,
    allow_transactions: bool,
) -> Confirmed {
    let worst = judged.verdict();
    let outcome = match worst {
        _ if judged.not_restored => Conclusion::NotRestored,
        Verdict::Damage => Conclusion::Damaged,
        _ if collation.iter().any(|finding| finding.level == Level::Error) => Conclusion::OrdersOtherwise,
        Verdict::Unclear => Conclusion::Unconfirmed,
        Verdict::Grown => Conclusion::AsSignedAndMore,
        Verdict::Kwild | Verdict::Equal => Conclusion::AsSigned,
    };
    let height = found.digest.height.unwrap_or(0);
    let started_at = basis.genesis.as_ref().map_or(0, Genesis::initial_height);
    if basis.old_height == Some(height) && height > started_at.max(1) {
        notes.push(format!("height {height} is the old network's last block: is this the OLD node's database?"));
    }
    if basis.file.as_ref().is_some_and(|(digest, _)| digest.schema.is_none()) || found.digest.schema.is_none() {
        notes.push(
            "tables, indexes and functions were not compared by their definitions: there are too many".to_owned(),
        );
    }
    if basis.file.is_none() {
        notes.push(
            "compared with the manifest's digests alone: proposals, definitions, and which rows are missing need the \
             snapshot file"
                .to_owned(),
        );
    }
    if let (Some(manifest), None) = (&basis.manifest, &basis.genesis)
        && manifest.network.family == Family::V010
    {
        notes.push("without the genesis, an owner that it changed counts as a difference".to_owned());
    }
    match judged.transactions {
        Some(0) => {}
        Some(n) => notes.push(format!(
            "{} since the genesis: what they changed cannot be told from damage by comparing with what was signed",
            text::count(n, "transaction")
        )),
        None => notes.push("accounts differ: transactions have been made, or accounts are damaged".to_owned()),
    }
    let ok = matches!(outcome, Conclusion::AsSigned | Conclusion::AsSignedAndMore)
        || outcome == Conclusion::Unconfirmed && allow_transactions;
    Confirmed {
        ok,
        outcome,
        family: basis.family,
        height,
        transactions: judged.transactions,
        compared: if basis.file.is_some() { "rows" } else { "digests" },
        tables: judged.parts,
        notes,
        collation,
    }
}
