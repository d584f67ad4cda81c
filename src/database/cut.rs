//! One consistent cut: a REPEATABLE READ READ ONLY transaction whose exported snapshot every fact, pg_dump's text and
//! all rows come from. It stays open until all of them are read; then it is ended, and the height is read once more to
//! see whether the network moved meanwhile.

mod reader;
mod server;

use std::sync::Arc;

use kwil_formats::formats::{
    Family, VoterRow,
    genesis::{Parameters, v09, v010},
};
use tokio_postgres::Client;

use super::{
    connect::{Connection, SESSION_OPTIONS, explain_query},
    live::LiveSign,
    lookout::Lookout,
    settings::Settings,
};
use crate::base::{Error, Next, Notice, Progress, Result, text};
use reader::Reader;

/// kwild's bookkeeping table, left out as Kwil leaves it out.
pub(crate) const SENTRY_TABLE: &str = "kwild_internal.sentry";

/// A server that waits for a lock does not see that its client has gone, unless it is told to look: it would go on
/// waiting, and hold its own locks and the cut meanwhile.
const WATCH_CLIENTS: &str = "SET client_connection_check_interval = 2000";

/// Names of tables that one warning lists; of more it gives the number.
const NAMES_SHOWN: usize = 10;

/// What decides how a cut is made and when it is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct CutOptions {
    /// The family (v0.9 or v0.10) that the operator expects; `None`: whichever the database's schemas show.
    pub family: Option<Family>,
    /// Go on, with a warning, although there are signs that kwild is at work or stopped inside a block.
    pub allow_live: bool,
    /// Take a chain that has no block yet, as a new node's, for one of height 0.
    pub before_blocks: bool,
}

/// The network's parameters as the database holds them, undecoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredParameters {
    /// v0.9: the rows of `kwild_chain.consensus_params`, each a name and its value.
    V09(Vec<(String, Vec<u8>)>),
    /// v0.10: the JSON object in the one row of `kwild_chain.params`.
    V010(Vec<u8>),
}

impl StoredParameters {
    /// The parameters as a genesis has them.
    ///
    /// # Errors
    /// When what is stored is not what a kwild of the family stores.
    pub fn decode(&self) -> Result<Parameters> {
        Ok(match self {
            StoredParameters::V09(rows) => Parameters::V09(v09::Parameters::from_rows(rows)?),
            StoredParameters::V010(json) => Parameters::V010(v010::Parameters::from_json(json)?),
        })
    }
}

/// What the cut tells about the old network. Voters are not here: they come out of the dump itself.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Whether the database is a v0.9 or a v0.10 kwild's.
    pub family: Family,
    /// Height of the last committed block, 0 or higher.
    pub height: i64,
    /// Application hash of the last committed block, as `kwild_chain.chain` holds it; `None` where it holds none.
    pub app_hash: Option<Vec<u8>>,
    /// The network's parameters, undecoded.
    pub parameters: StoredParameters,
    /// v0.10: identifier of the user with the role `owner` in `kwild_engine`, if any; v0.9: `None`.
    pub owner: Option<String>,
    /// Schemas that the snapshot carries, in Kwil's order: its own, then those that Kwil's catalogue lists.
    pub schemas: Vec<String>,
    /// Unlogged tables in these schemas and the sequences that belong to them, by schema and name: they are left out.
    pub unlogged: Vec<(String, String)>,
    /// Every other schema of the database but PostgreSQL's own (`pg_…`).
    pub other_schemas: Vec<String>,
    /// Major version of the server, such as 16.
    pub server_major: u32,
    /// Version of the server in its own words, made harmless to show.
    pub server_version: String,
    /// Bytes that the tables of these schemas take on the server's disk, TOAST included and indexes not.
    pub tables_size_bytes: u64,
}

/// An open cut and its session. Dropping it ends the transaction.
#[derive(Debug)]
pub struct Cut {
    connection: Connection,
    settings: Settings,
    options: CutOptions,
    snapshot_id: String,
    facts: Facts,
    lookout: Arc<Lookout>,
    watches_clients: bool,
}

impl Cut {
    /// Connects, opens the transaction, reads the facts and exports the snapshot. Warnings and notes go to `progress`.
    ///
    /// # Errors
    /// When the database cannot be reached or read, is none of Kwil's, or a pooler stands before the server;
    /// `Kind::Refused` when it is of another family than expected, lists a private schema, or shows signs of a kwild at
    /// work.
    pub async fn open(settings: &Settings, options: CutOptions, progress: &Progress) -> Result<Self> {
        let connection = Connection::open(settings).await?;
        if let Some(why) = connection.plain_because() {
            let text = format!(
                "the connection to Postgres at {} is plain text, which others on the way can read and change: {why}",
                settings.place()
            );
            progress.warning(Notice::from(text).next(Next::ChooseTls));
        }
        let settings = &connection.settled(settings);
        let name = format!("regenesis {:08x}", rand::random::<u32>());
        let lookout = Arc::new(Lookout::new(settings, name, progress));
        let watches_clients = {
            let read = Reader { client: &connection.client, settings };
            read.begin(lookout.name()).await?
        };
        let doing = || "read what the database says of the network".to_owned();
        let read = Self::read(&connection.client, settings, options, progress);
        let (snapshot_id, facts) = lookout.over(doing, read).await??;
        Ok(Cut { snapshot_id, facts, settings: settings.clone(), options, connection, lookout, watches_clients })
    }

    async fn read(
        client: &Client,
        settings: &Settings,
        options: CutOptions,
        progress: &Progress,
    ) -> Result<(String, Facts)> {
        let read = Reader { client, settings };
        let (server_major, server_version) = read.server().await?;
        let family = read.family(options.family).await?;
        let (height, app_hash, chain_sign) = read.chain(family, options.before_blocks).await?;
        let standby = read.standby(height).await?;
        for sign in standby.into_iter().chain(read.live_signs().await?).chain(chain_sign) {
            allow(&sign, options.allow_live, progress)?;
        }
        let others = read.other_sessions().await?;
        if !others.is_empty() {
            progress.note(format!(
                "Others are connected to this database, which is no matter as long as none of them is kwild: {}",
                others.join(", ")
            ));
        }
        let (schemas, other_schemas, warnings) = read.schemas(family).await?;
        for warning in warnings {
            progress.warning(warning);
        }
        let unlogged = read.unlogged(&schemas).await?;
        if !unlogged.is_empty() {
            let names = unlogged.iter().map(|(schema, name)| format!("{schema}.{name}"));
            progress.warning(format!(
                "left out, since no network agrees on the rows of unlogged tables: {}",
                text::first_few(names, NAMES_SHOWN)
            ));
        }
        let parameters = read.parameters(family).await?;
        let owner = read.owner(family).await?;
        let tables_size_bytes = read.tables_size_bytes(&schemas).await?;
        let snapshot_id: String = read.one("pg_catalog.pg_export_snapshot()", "open a consistent cut").await?;
        let facts = Facts {
            family,
            height,
            app_hash,
            parameters,
            owner,
            schemas,
            unlogged,
            other_schemas,
            server_major,
            server_version,
            tables_size_bytes,
        };
        Ok((snapshot_id, facts))
    }

    /// What was read of the network when the cut was opened.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The voters in this cut, in the order of their ids.
    ///
    /// # Errors
    /// When they cannot be read, or are more than any network has.
    pub async fn voters(&self) -> Result<Vec<VoterRow>> {
        Reader { client: &self.connection.client, settings: &self.settings }.voters().await
    }

    /// Name of the exported snapshot, which pg_dump and every further connection take.
    pub fn snapshot_id(&self) -> &str {
        &self.snapshot_id
    }

    /// The client of the cut's own session; what it is asked is asked within the cut.
    pub(super) fn client(&self) -> &Client {
        &self.connection.client
    }

    /// What watches over every wait of the cut's sessions, and says what they wait for.
    pub(super) fn lookout(&self) -> Arc<Lookout> {
        self.lookout.clone()
    }

    /// Statements with which each further session of the cut begins.
    pub(super) fn session_settings(&self) -> Vec<String> {
        let mut settings = vec![format!("SET application_name = '{}'", self.lookout.name())];
        settings.extend(self.watches_clients.then(|| WATCH_CLIENTS.to_owned()));
        settings
    }

    /// What [`Cut::session_settings`] sets, as options of the
    /// server for pg_dump's session; the name goes by `PGAPPNAME`.
    pub(super) fn session_options(&self) -> String {
        let watch = if self.watches_clients { " -c client_connection_check_interval=2000" } else { "" };
        format!("{SESSION_OPTIONS}{watch}")
    }

    /// Waits until the cut's own session is gone; gives the words in which it ended.
    pub(super) async fn lost(&self) -> String {
        self.connection.lost().await
    }

    /// How the database was reached, with what the first connection found out about TLS.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Ends the transaction and looks once more for signs that kwild was at work meanwhile, a moved height among them.
    ///
    /// # Errors
    /// `Kind::Refused` when there are such signs and `allow_live` was not given; when the connection is gone.
    pub async fn finish(self, progress: &Progress) -> Result<()> {
        let read = Reader { client: &self.connection.client, settings: &self.settings };
        const END: &str = "end the consistent cut";
        let end = async {
            read.client.batch_execute("COMMIT").await.map_err(|e| explain_query(e, END, read.settings))?;
            let (height, ..) = read.chain(self.facts.family, self.options.before_blocks).await?;
            let moved =
                (height != self.facts.height).then_some(LiveSign::HeightMoved { from: self.facts.height, to: height });
            for sign in read.live_signs().await?.into_iter().chain(moved) {
                allow(&sign, self.options.allow_live, progress)?;
            }
            Ok(())
        };
        self.lookout.over(|| END.to_owned(), end).await?
    }
}

fn allow(sign: &LiveSign, allow_live: bool, progress: &Progress) -> Result<()> {
    if !allow_live {
        return Err(Error::refused(sign.to_string()).hint(sign.remedy()));
    }
    progress.warning(format!("{sign}; the old network may go on past this snapshot"));
    Ok(())
}
