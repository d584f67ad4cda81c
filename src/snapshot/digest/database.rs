//! The digest of a database, live or stopped: in go settings, out comes a digest. One consistent cut is read, and no
//! snapshot file is written.

use std::path::PathBuf;

use kwil_formats::{
    dump::{
        digest::TextDigest,
        filter::{DumpFilter, FilterReport, LineRules},
    },
    formats::{Family, Validator, VoterRow, genesis::NetworkState, key::PublicKey},
};

use super::{Digest, StateDigester, ValidatorsOf, Witness, spill_directory};
use crate::{
    base::{Context, Error, Progress, Result, task::CancellationToken, text},
    database::{Cut, CutOptions, Facts, PgDump, RowOptions, Settings},
    snapshot::{
        gzip::Compression,
        pipeline::{Job, jobs_default},
        source::SplicedDump,
    },
};

/// How a database is digested.
#[derive(Debug, Clone, Default)]
pub struct DatabaseDigestOptions {
    /// The family (v0.9 or v0.10) that the operator expects; `None`: whichever the database's schemas show.
    pub family: Option<Family>,
    /// The pg_dump to run; `None`: the best one on the machine.
    pub pg_dump: Option<PathBuf>,
    /// A node that has made no block yet is digested, too.
    pub before_blocks: bool,
}

/// Digests the state in a database.
///
/// # Errors
/// When the database, pg_dump or the disk fails; `Kind::Verify` when what is in it has no digest; `Kind::Interrupted`
/// when `cancel` is cancelled.
pub async fn digest_database(
    settings: &Settings,
    options: DatabaseDigestOptions,
    progress: &Progress,
    cancel: CancellationToken,
) -> Result<Digest> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => {
            Err(Error::interrupted("while digesting the database"))
        }
        digest = digest(settings, options, progress) => digest,
    }
}

/// A database's digest, with what else there is to know before it is judged whether the node holds what was signed.
#[derive(Debug)]
pub struct WitnessedDatabase {
    /// The digest of the database's state, with its validators and height.
    pub digest: Digest,
    /// Every row's hash, and the facts that the database's text tells.
    pub witness: Witness,
    /// v0.10: identifier of the user who owns the database, if any; v0.9: `None`.
    pub owner: Option<String>,
}

/// Digests a database as [`digest_database`] does, and keeps every row's hash.
///
/// # Errors
/// As [`digest_database`].
pub async fn witness_database(
    settings: &Settings,
    options: DatabaseDigestOptions,
    progress: &Progress,
    cancel: CancellationToken,
) -> Result<WitnessedDatabase> {
    let spill = spill_directory();
    let work = async {
        let (digest, digester, found) =
            digest_with(settings, options, StateDigester::witnessing(&spill)?, progress).await?;
        let (text, witness) = digester.finish_witnessed()?;
        Ok(WitnessedDatabase { digest: digest(&text), witness, owner: found.facts.owner })
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => {
            Err(Error::interrupted("while digesting the database"))
        }
        found = work => found,
    }
}

/// An old network as a node's database has it: the digest of its state, and what a genesis is made from.
#[derive(Debug)]
pub struct OldNetworkState {
    /// The digest of the database's state, with its validators and height.
    pub digest: Digest,
    /// Validators, parameters, owner and height, from which a new network's genesis follows.
    pub network: NetworkState,
}

/// Digests a database as [`digest_database`] does, and reads what the genesis of a snapshot of it would be made from.
///
/// # Errors
/// As [`digest_database`].
pub async fn read_old_network(
    settings: &Settings,
    options: DatabaseDigestOptions,
    progress: &Progress,
    cancel: CancellationToken,
) -> Result<OldNetworkState> {
    let work = async {
        let digester = StateDigester::new(&spill_directory());
        let (digest, digester, Found { facts, voters }) = digest_with(settings, options, digester, progress).await?;
        Ok(OldNetworkState { digest: digest(&digester.finish_text()?), network: network(facts, voters)? })
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => {
            Err(Error::interrupted("while digesting the database"))
        }
        found = work => found,
    }
}

/// What the genesis of a snapshot of a database would be made from. No row of the state is read for it, so it is quickly done.
///
/// # Errors
/// When the database cannot be reached, or is none of a node that has made a block.
pub async fn read_network(settings: &Settings, progress: &Progress) -> Result<NetworkState> {
    let options = CutOptions { allow_live: true, ..CutOptions::default() };
    let cut = Cut::open(settings, options, progress).await?;
    let voters = cut.voters().await?;
    network(cut.facts().clone(), voters)
}

fn network(facts: Facts, voters: Vec<VoterRow>) -> Result<NetworkState> {
    let parameters = facts.parameters.decode()?;
    Ok(NetworkState { family: facts.family, height: facts.height, voters, parameters, owner: facts.owner })
}

async fn digest(settings: &Settings, options: DatabaseDigestOptions, progress: &Progress) -> Result<Digest> {
    let digester = StateDigester::new(&spill_directory());
    let (digest, digester, _) = digest_with(settings, options, digester, progress).await?;
    Ok(digest(&digester.finish_text()?))
}

/// What a database tells beside its text.
struct Found {
    facts: Facts,
    voters: Vec<VoterRow>,
}

/// Reads the whole database into the digester. Gives a function that makes the digest of the finished text, the
/// digester, which is still to be finished, and what else was found.
async fn digest_with(
    settings: &Settings,
    options: DatabaseDigestOptions,
    digester: StateDigester,
    progress: &Progress,
) -> Result<(impl FnOnce(&TextDigest) -> Digest, StateDigester, Found)> {
    progress.step(format!("Reading the database \"{}\" at {}", text::escape(&settings.dbname), settings.place()));
    // A cut is of one moment, also where blocks go on being made.
    let cut_options = CutOptions { family: options.family, allow_live: true, before_blocks: options.before_blocks };
    let cut = Cut::open(settings, cut_options, progress).await?;
    let facts = cut.facts().clone();
    let program = PgDump::find(options.pg_dump.as_deref(), facts.server_major).await?;
    let (report, digester) = read(&cut, &program, digester, progress).await?;
    let validators = validators_of(facts.family, &report.voters)?;
    let (height, server_major) = (facts.height, facts.server_major);
    let digest = move |text: &TextDigest| Digest {
        height: Some(height),
        server_major: Some(server_major),
        dump_major: Some(program.major()),
        validators_of: ValidatorsOf::Database,
        ..Digest::new(text, &validators)
    };
    Ok((digest, digester, Found { facts, voters: report.voters }))
}

/// Who may vote, by the voters of a database.
///
/// # Errors
/// `Kind::Verify` where a voter has a key or a power that none can have.
pub fn validators_of(family: Family, voters: &[VoterRow]) -> Result<Vec<Validator>> {
    let validator = |voter: &VoterRow| {
        let key = PublicKey::from_voter_name(family, &voter.name)?;
        Validator::new(key, voter.power).or_verify(|| format!("the validator {key} cannot vote"))
    };
    voters.iter().map(validator).collect()
}

/// Feeds the digester with all rows of the cut, filtered as a snapshot's text is; gives the filter's report, too.
async fn read(
    cut: &Cut,
    program: &PgDump,
    digester: StateDigester,
    progress: &Progress,
) -> Result<(FilterReport, StateDigester)> {
    let facts = cut.facts();
    // The connections stay in this frame: dropping the future ends them, and with them the text.
    let (rules, options) = (LineRules::Faithful, RowOptions::new(jobs_default()));
    let (source, mut connections) = SplicedDump::open(cut, program, options, rules, progress).await?;
    let filter = DumpFilter::new(facts.family, rules);
    let (height, reporter) = (Some(facts.height), progress.clone());
    let work = tokio::task::spawn_blocking(move || {
        let compression = Compression::Fast;
        Job { source, filter, height, compression, jobs: 0, spill: None, describe: false, progress: &reporter }
            .digest_with(digester)
    });
    let done = connections.over(cut, work).await;
    progress.done("snapshot");
    let digested = done.or_failed(|| "the digest ended unexpectedly")??;
    connections.end(cut).await?;
    Ok(digested)
}
