//! `genesis …` and `setup genesis…`: files in, findings, changes and files out.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use kwil_formats::{
    formats::{
        Family, GENESIS_FILE_NAME,
        genesis::{
            Fresh, Genesis,
            edit::{Change, Edit},
            fresh::go_time,
            lint::{self, Build, LintOptions, Linted},
        },
    },
    judge::lint::{Packing, lint_pair},
};

use crate::{
    base::{
        Context, Error, Finding, Level, Next, Notice, Progress, Result, Sha256Hash, clock, durable,
        files::read_bounded, limits, task::CancellationToken,
    },
    manifest::MANIFEST_FILE_NAME,
    setup,
    snapshot::{self, ReadOptions},
};

/// The mode of a genesis file: everyone may read it, as Kwil's tools write it.
const MODE: u32 = 0o644;

/// The path of the genesis file, also where its directory was named.
pub fn file_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(GENESIS_FILE_NAME) } else { path.to_owned() }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    read_bounded(path, limits::GENESIS_SIZE_BYTES_MAX, "genesis")
}

/// Reads a genesis file as kwild would read it.
///
/// # Errors
/// When the file cannot be read or kwild would refuse it.
pub fn load(path: &Path) -> Result<Genesis> {
    parse(path, &read(path)?)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Genesis> {
    Genesis::parse(bytes).map_err(|error| {
        let at = path.display();
        let next = Next::LintGenesis { genesis: setup::shell_path(path) };
        Error::verify(format!("{at} cannot be read as kwild reads it")).because(error).hint(next)
    })
}

/// What `genesis lint` looks at.
#[derive(Debug, Clone)]
pub struct LintRequest {
    /// The genesis, or its directory.
    pub genesis: PathBuf,
    /// The snapshot that belongs to it; `None`: the genesis is looked at alone.
    pub snapshot: Option<PathBuf>,
    /// The family that the genesis must be of; `None` takes either.
    pub family: Option<Family>,
    /// The kwild that will read the genesis; `None` where it is not known.
    pub build: Option<Build>,
}

/// Looks at a genesis, alone or with its snapshot. Blocking.
///
/// # Errors
/// When a file cannot be read; what is wrong in it is a finding.
pub fn lint(request: &LintRequest, progress: &Progress, cancel: &CancellationToken) -> Result<Linted> {
    let bytes = read(&file_of(&request.genesis))?;
    let wanted = Genesis::parse(&bytes).ok().and_then(|genesis| genesis.state_hash());
    let facts = match &request.snapshot {
        Some(path) => Some(snapshot::facts(path, wanted, &ReadOptions::until(cancel), progress)?),
        None => None,
    };
    let options =
        LintOptions { family: request.family, build: request.build, now_unix_seconds: Some(clock::unix_seconds()) };
    Ok(match &facts {
        Some(facts) => lint_pair(&bytes, &options, facts),
        None => lint::lint(&bytes, &options),
    })
}

/// What `genesis set` did.
#[derive(Debug, Clone)]
pub struct Edited {
    /// The path of the file with the new genesis.
    pub genesis: PathBuf,
    /// What changed; where nothing did, nothing was written in place.
    pub changes: Vec<Change>,
    /// The errors and warnings of lint on the genesis that came out.
    pub findings: Vec<Finding>,
}

/// Edits a genesis in place, or into another file.
///
/// # Errors
/// When the file cannot be read, a change is impossible, or the file cannot be written; it is then as it was.
pub fn set(path: &Path, edits: &[Edit], out: Option<&Path>, progress: &Progress) -> Result<Edited> {
    // A link stays one: what it leads to is replaced.
    let file = file_of(path);
    let file = fs::canonicalize(&file).or_failed(|| format!("cannot read the genesis {}", file.display()))?;
    let bytes = read(&file)?;
    let before = parse(&file, &bytes)?;
    let mut genesis = before.clone();
    let now = edits.iter().map(|edit| match edit {
        Edit::Set { key, value } if key == "genesis_time" && value == "now" => {
            Edit::Set { key: key.clone(), value: genesis_time_now() }
        }
        other => other.clone(),
    });
    let changes = genesis.edit(&now.collect::<Vec<_>>())?;
    if let Some(out) = out.filter(|out| out.symlink_metadata().is_ok()) {
        return Err(Error::refused(format!("{} already exists", out.display())).hint(Next::OtherGenesisName));
    }
    let skipped = lint::lint(&bytes, &LintOptions::default()).findings;
    for finding in
        skipped.iter().filter(|finding| matches!(finding.code, "ignored-key" | "duplicate-key" | "trailing-text"))
    {
        let at = finding.path.as_deref().unwrap_or_default();
        progress.warning(format!("{at}: {}; it is not in the file that is written", finding.text));
    }
    let target = out.unwrap_or(&file);
    if out.is_some() || !changes.is_empty() {
        let mode = fs::metadata(&file).map_or(MODE, |metadata| metadata.permissions().mode() & 0o777);
        durable::write_atomically(target, &genesis.to_bytes(), mode)?;
    }
    if !changes.is_empty() && durable::parent(target).join(MANIFEST_FILE_NAME).exists() {
        let text = format!("the manifest beside {} was signed for another genesis", target.display());
        let directory = setup::shell_path(durable::parent(target));
        progress.warning(Notice::from(text).next(Next::SignAgain { directory }));
    }
    let findings = lint::lint(&genesis.to_bytes(), &LintOptions::default()).findings;
    let findings = findings.into_iter().filter(|finding| finding.level != Level::Note).collect();
    Ok(Edited { genesis: target.to_owned(), changes, findings })
}

/// The present time as a v0.9 genesis writes it: RFC 3339 with nine digits of a second at most.
pub fn genesis_time_now() -> String {
    go_time(clock::since_1970())
}

/// The family and state hash of a snapshot, every statement of which must be one of a Kwil dump. Blocking.
///
/// # Errors
/// When kwild could not read the file under this name, or its hash would be that of something else than a snapshot.
pub fn state_hash(path: &Path, progress: &Progress, cancel: &CancellationToken) -> Result<(Family, Sha256Hash)> {
    let facts = snapshot::facts(path, None, &ReadOptions::until(cancel), progress)?;
    let at = path.display();
    let named_gzip = facts.name.ends_with(".gz");
    let contents = match (facts.packing, facts.contents) {
        (Packing::Other(what), _) => {
            return Err(Error::verify(format!("{at} is a {what} file, but kwild reads gzip or plain SQL only"))
                .hint("unpack it, and pack it with gzip"));
        }
        (Packing::Plain, Ok(_)) if named_gzip => {
            return Err(Error::verify(format!("{at} is named .gz but is no gzip file: kwild would refuse it"))
                .hint("name it .sql, or pack it with gzip"));
        }
        (_, Err(why)) => {
            return Err(Error::verify(format!("{at} cannot be hashed: {why}"))
                .hint("fetch the snapshot again from where it came from"));
        }
        (packing, Ok(contents)) => {
            if packing == Packing::Gzip && !named_gzip {
                progress.warning(format!("{at} is a gzip file, but kwild unpacks only what is named .gz: rename it"));
            }
            contents
        }
    };
    let report = contents.scan?;
    Ok((report.family, contents.state_hash))
}

/// Writes a snapshot's hash into a genesis; says whether that changed it.
///
/// # Errors
/// When the genesis cannot be read or is of another family than the snapshot, or cannot be written.
pub fn write_state_hash(path: &Path, family: Family, hash: Sha256Hash, progress: &Progress) -> Result<bool> {
    let file = file_of(path);
    let file = fs::canonicalize(&file).or_failed(|| format!("cannot read the genesis {}", file.display()))?;
    let bytes = read(&file)?;
    // A hash in the other form is what this command is to mend.
    let mut genesis = match Genesis::parse(&bytes) {
        Err(kwil_formats::formats::genesis::GenesisError::Field { path, .. })
            if path == "state_hash" || path == "app_hash" =>
        {
            parse(&file, &without_hash(&bytes)?)?
        }
        _ => parse(&file, &bytes)?,
    };
    if genesis.family() != family {
        return Err(Error::verify(format!(
            "the snapshot is of family {family}, but {} of {}",
            file.display(),
            genesis.family()
        ))
        .hint("the families' states never mix: use the genesis that belongs to the snapshot"));
    }
    genesis.set_state_hash(hash);
    let written = genesis.to_bytes();
    if written == bytes {
        return Ok(false);
    }
    let mode = fs::metadata(&file).map_or(MODE, |metadata| metadata.permissions().mode() & 0o777);
    durable::write_atomically(&file, &written, mode)?;
    if durable::parent(&file).join(MANIFEST_FILE_NAME).exists() {
        progress.warning(format!(
            "the manifest beside {} was signed for another genesis: sign again before anyone fetches it",
            file.display()
        ));
    }
    Ok(true)
}

/// The JSON of a genesis without its state hash.
fn without_hash(bytes: &[u8]) -> Result<Vec<u8>> {
    use kwil_formats::formats::json::{Json, fold};
    let (value, _) = Json::read_first(bytes).map_err(kwil_formats::formats::genesis::GenesisError::from)?;
    let Json::Object(entries) = value else { return Ok(bytes.to_vec()) };
    let kept = entries.into_iter().filter(|(key, _)| !matches!(fold(key).as_str(), "state_hash" | "app_hash"));
    Ok(Json::Object(kept.collect()).to_pretty())
}

/// Writes a new genesis into a directory; gives its path, and the errors and warnings of lint on it.
///
/// # Errors
/// When there is one already, the values make none, or it cannot be written.
pub fn create(fresh: &Fresh, directory: &Path) -> Result<(PathBuf, Vec<Finding>)> {
    let genesis = fresh.build().map_err(|error| Error::usage(error.to_string()).hint(Next::GenesisHelp))?;
    let path = absolute(directory)?.join(GENESIS_FILE_NAME);
    if path.symlink_metadata().is_ok() {
        return Err(Error::refused(format!("{} already exists", path.display())).hint(Next::OtherGenesisDirectory));
    }
    durable::create_directory(directory, 0o755)?;
    let bytes = genesis.to_bytes();
    durable::write_atomically(&path, &bytes, MODE)?;
    let options = LintOptions { family: Some(fresh.family), ..LintOptions::default() };
    let mut findings = lint::lint(&bytes, &options).findings;
    // A network that begins anew has no snapshot.
    findings.retain(|finding| finding.level != Level::Note && finding.code != "no-state-hash");
    Ok((path, findings))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .or_else(|error| if path.as_os_str().is_empty() { std::env::current_dir() } else { Err::<_, io::Error>(error) })
        .or_failed(|| format!("cannot tell where {} is", path.display()))
}
