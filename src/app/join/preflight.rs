//! What can be judged before the first chunk is fetched: hours of fetching must not end in what was wrong from the start.

use std::path::{Path, PathBuf};

use kwil_formats::{
    formats::{
        Family,
        config::{self, DatabaseSettings, StartSettings},
        key::PublicKey,
    },
    judge::readiness::Check,
};

use super::JoinOptions;
use crate::{
    app::{
        check::{self, CheckOptions, MachineReport},
        files::read_private_key,
    },
    base::{Advice, Error, Finding, Level, Next, Notice, Progress, Result, durable, text},
    database::{self, PartialSettings, Settings},
    manifest::{Manifest, VerifiedManifest},
    setup::{self, KeySource},
};

/// How long the server may take to answer: the whole look takes less than two seconds.
const CONNECT_TIME_MAX: std::time::Duration = std::time::Duration::from_millis(1500);

/// What is wrong now is wrong after the fetch, too: flags of this join name it, or its disk is too small.
const CERTAIN: [&str; 8] = [
    "old-database",
    "database-state",
    "database-content",
    "database-in-use",
    "database-encoding",
    "standby",
    "collation",
    "disk-root",
];

/// The setting that names the new node's database, as flags spell it.
fn database_setting(family: Family) -> &'static str {
    match family {
        Family::V09 => "app.pg-db-name",
        Family::V010 => "db.dbname",
    }
}

/// What stands where, by the flags of a join.
pub(super) struct Preflight<'a> {
    pub(super) options: &'a JoinOptions,
    pub(super) root: &'a Path,
    pub(super) manifest: &'a VerifiedManifest,
}

impl Preflight<'_> {
    fn manifest(&self) -> &Manifest {
        self.manifest.manifest()
    }

    fn family(&self) -> Family {
        self.manifest().network.family
    }

    /// Looks at key, database, disk, ports and machine; changes nothing.
    ///
    /// # Errors
    /// When a flag or the root cannot be used at all.
    pub(super) async fn look(&self) -> Result<MachineReport> {
        let family = self.family();
        let config = (self.options.config)(family)?.draft(family)?.to_text();
        let start = StartSettings::parse(&config).map_err(Error::from)?;
        let settings = self.settings(&config)?;
        let more = self.old_database(&settings).into_iter().chain([self.key()?]).chain(self.disk()).collect();
        let manifest = self.manifest();
        check::check(CheckOptions {
            root: None,
            settings,
            family: Some(family),
            kwild: None,
            text_bytes: Some(manifest.text_size_bytes),
            connect_time_max: CONNECT_TIME_MAX,
            fix: false,
            collation: manifest.collation.clone(),
            start: Some(start),
            more,
        })
        .await
    }

    fn settings(&self, config: &str) -> Result<Settings> {
        PartialSettings::from(config::database_settings(config)?).complete(None, |_| {})
    }

    /// Looks, makes the database where that is asked for, ends what cannot come to a good end, and says the rest.
    ///
    /// # Errors
    /// Refused, with the flag that is to be another one.
    pub(super) async fn require(&self, progress: &Progress) -> Result<()> {
        let mut readiness = self.look().await?;
        let missing = readiness.findings.iter().any(|f| f.code == "database" && f.level == Level::Error);
        if missing && self.options.create_database {
            let family = self.family();
            let config = (self.options.config)(family)?.draft(family)?.to_text();
            let statement = database::create(&self.settings(&config)?, self.manifest().collation.as_ref()).await?;
            progress.note(format!("made the new node's database: {statement}"));
            readiness = self.look().await?;
        }
        self.judge(&readiness, progress)
    }

    fn judge(&self, readiness: &MachineReport, progress: &Progress) -> Result<()> {
        let setting = database_setting(self.family());
        let is_certain = |f: &&Finding| f.level == Level::Error && CERTAIN.contains(&f.code);
        if let Some(first) = readiness.findings.iter().find(is_certain) {
            let others = readiness.findings.iter().filter(is_certain).count() - 1;
            let more =
                if others > 0 { format!("; and {} more", text::count(others as u64, "error")) } else { String::new() };
            let new: Advice = Next::NewDatabase { setting }.into();
            let advice = match (first.code, first.fix.clone()) {
                ("disk-root", Some(fix)) => fix.and(Next::OtherRoot),
                ("standby", Some(fix)) => fix,
                ("collation", Some(fix)) => fix.and(new),
                _ => new,
            };
            let error = Error::refused(format!("nothing was fetched: {}{more}", first.text)).hint(advice);
            return Err(if others > 0 { error.or_hint(Next::CheckOnly) } else { error });
        }
        let kwild = |f: &&Finding| f.level == Level::Error && !matches!(f.code, "database" | "server");
        for finding in readiness.findings.iter().filter(kwild) {
            progress.warning(Notice { text: finding.text.clone(), next: finding.fix.clone() });
        }
        Ok(())
    }

    /// The old root's own database: kwild would go on with the old network's state.
    fn old_database(&self, new: &Settings) -> Option<Check> {
        let DatabaseSettings { host, port, dbname, .. } = self.options.old_database.as_ref()?;
        let same = new.host == *host && new.port == *port && new.dbname == *dbname;
        same.then(|| {
            let text = format!(
                "\"{}\" at {} is the OLD node's database, as the old root's config.toml says: kwild would start on its state \
                 and ignore the snapshot without a word",
                text::escape(&new.dbname),
                new.place()
            );
            let fix = Next::OtherDatabase { setting: database_setting(self.family()) };
            Finding::new(Level::Error, "old-database", text).fix(fix).into()
        })
    }

    /// Whether the key votes in the new network.
    fn key(&self) -> Result<Check> {
        let (path, key): (String, Option<PublicKey>) = match &self.options.key {
            KeySource::File(path) => (path.display().to_string(), Some(read_private_key(path)?.public())),
            KeySource::InRoot => {
                let path = self.root.join(setup::key_file_name(self.family()));
                (path.display().to_string(), Some(read_private_key(&path)?.public()))
            }
            KeySource::New => ("the new key".to_owned(), None),
        };
        let validators = &self.manifest().new_validators;
        let total = validators.iter().fold(0u64, |sum, validator| sum.saturating_add(validator.power));
        let own = validators.iter().find(|validator| Some(validator.key) == key);
        let path = text::escape(&path);
        Ok(match own {
            Some(own) => Check::good(
                "node-key",
                format!("{path} is a validator of the new genesis, with power {} of {total}", own.power),
            ),
            None => {
                let text = format!(
                    "{path} is NO validator of the new genesis ({} are): the node would follow, and not vote",
                    text::count(validators.len() as u64, "key")
                );
                let level = if self.options.follow { Level::Note } else { Level::Warning };
                Finding::new(level, "node-key", text).fix(Next::ValidatorKey).into()
            }
        })
    }

    /// Whether what is to be fetched has room where the root will be.
    fn disk(&self) -> Option<Check> {
        let place: PathBuf = self.root.ancestors().find(|path| path.is_dir())?.to_owned();
        let (free, needed) = (durable::free_space(&place).ok()?, self.manifest().size_bytes());
        let shown = place.display();
        Some(if free < needed {
            let text = format!(
                "{} are free in {shown}, and the snapshot alone takes {}",
                text::bytes(free),
                text::bytes(needed)
            );
            Finding::new(Level::Error, "disk-root", text).fix("free space there").into()
        } else {
            let needed = text::bytes(needed);
            Check::good("disk-root", format!("{} are free in {shown}, the snapshot takes {needed}", text::bytes(free)))
        })
    }
}
