//! Says what a session of ours waits for: in goes work, out come warnings about locks that others hold. Such a lock
//! makes PostgreSQL wait in silence for as long as it takes; so whatever has not answered for a while is asked about
//! over a connection of its own.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{
    connect::{Connection, explain_query},
    settings::Settings,
};
use crate::base::{Error, Progress, Result, text::escape};

/// How long work may take before it is asked what it waits for, and the pause between two such looks.
const QUIET: Duration = Duration::from_secs(5);
/// How long a look may take: what stops our work may stop the look, too.
const LOOK_TIME_MAX: Duration = Duration::from_secs(5);
/// Characters of a blocking session's query that a warning shows.
const QUERY_CHARS_MAX: usize = 120;
/// Waits that are told in one cut; a server full of them is told often enough.
const TOLD_MAX: usize = 100;

/// Who waits for whom, along every chain that begins at a session of ours, and whether the chain comes back to one of
/// ours. A lock may also be a prepared transaction's, which has no session (its pid is 0).
const SQL: &str = "WITH RECURSIVE ours AS MATERIALIZED (SELECT pid FROM pg_catalog.pg_stat_activity \
     WHERE application_name = $1), \
     chain (ours, pid) AS (SELECT o.pid, b FROM ours o, pg_catalog.unnest(pg_catalog.pg_blocking_pids(o.pid)) AS b \
     UNION SELECT c.ours, b FROM chain c, pg_catalog.unnest(pg_catalog.pg_blocking_pids(c.pid)) AS b \
     WHERE c.pid NOT IN (SELECT pid FROM ours)) \
     SELECT DISTINCT w.pid, coalesce((SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_locks l \
     JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE l.pid = w.pid AND NOT l.granted LIMIT 1), ''), \
     b.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), coalesce(a.state, ''), \
     coalesce(a.query, ''), EXISTS (SELECT FROM chain c WHERE c.ours = w.pid AND c.pid IN (SELECT pid FROM ours)) \
     FROM ours w CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) AS b (pid) \
     LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid ORDER BY 1, 3";

/// Watches over the waits of the sessions of one cut.
pub(crate) struct Lookout {
    settings: Settings,
    /// The application name of the cut's sessions, by which the server's list of sessions shows them.
    name: String,
    progress: Progress,
    /// Waits that were told: the pid of the session that holds the lock, and the table.
    told: Mutex<BTreeSet<(i32, String)>>,
}

impl fmt::Debug for Lookout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookout").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A session, or a prepared transaction, that holds the lock for which one of our sessions waits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Blocker {
    table: String,
    pid: i32,
    role: String,
    program: String,
    state: String,
    query: String,
    /// It waits for one of our sessions in its turn, so that neither would ever go on.
    is_endless: bool,
}

impl Lookout {
    /// A lookout over the sessions with this application name; it asks over connections with these settings.
    pub(super) fn new(settings: &Settings, name: String, progress: &Progress) -> Self {
        Lookout { settings: settings.clone(), name, progress: progress.clone(), told: Mutex::default() }
    }

    /// The application name of the cut's sessions.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Waits for work, and warns of what it waits for in its turn if that takes long; `doing` is a clause such as "read
    /// the tables' sizes". Dropping the future ends the wait.
    ///
    /// # Errors
    /// When the work would wait for ever: somebody waits for us, and we for them.
    pub(super) async fn over<T>(&self, doing: impl Fn() -> String, work: impl Future<Output = T>) -> Result<T> {
        tokio::pin!(work);
        loop {
            let look = async {
                tokio::time::sleep(QUIET).await;
                tokio::time::timeout(LOOK_TIME_MAX, self.look()).await
            };
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                looked = look => match looked {
                    Ok(Ok(blockers)) => self.tell(&doing(), &blockers)?,
                    Ok(Err(e)) => tracing::debug!("cannot ask what is waited for: {}", e.chain()),
                    Err(_) => tracing::debug!("the server does not say what is waited for"),
                },
            }
        }
    }

    async fn look(&self) -> Result<Vec<Blocker>> {
        let explain = |e| explain_query(e, "ask what is waited for", &self.settings);
        let connection = Connection::open(&self.settings).await?;
        let rows = connection.client.query(SQL, &[&self.name]).await.map_err(explain)?;
        let blocker = |row: &tokio_postgres::Row| {
            Ok(Blocker {
                table: row.try_get(1)?,
                pid: row.try_get(2)?,
                role: row.try_get(3)?,
                program: row.try_get(4)?,
                state: row.try_get(5)?,
                query: row.try_get(6)?,
                is_endless: row.try_get(7)?,
            })
        };
        rows.iter().map(|row| blocker(row).map_err(explain)).collect()
    }

    fn tell(&self, doing: &str, blockers: &[Blocker]) -> Result<()> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for blocker in blockers {
            let is_new = told.len() < TOLD_MAX && told.insert((blocker.pid, blocker.table.clone()));
            // At first it may still give up by itself.
            if blocker.is_endless && !is_new {
                return Err(Error::failed(format!("cannot {doing}: {blocker}, and that one waits for us")).hint(
                    "end that session, or let it end, and make the snapshot again: it needs the tables for a while",
                ));
            }
            if is_new {
                let end = if blocker.pid == 0 {
                    "it goes on once that is committed or rolled back".to_owned()
                } else {
                    format!(
                        "it goes on once that session lets go; SELECT pg_terminate_backend({}) would end it",
                        blocker.pid
                    )
                };
                self.progress.warning(format!("waiting to {doing}: {blocker}; {end}"));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            f.write_str("a prepared transaction")?;
        } else {
            write!(f, "the session with pid {}", self.pid)?;
        }
        let who: Vec<String> =
            [&self.role, &self.program, &self.state].into_iter().filter(|w| !w.is_empty()).map(|w| escape(w)).collect();
        if !who.is_empty() {
            write!(f, " ({})", who.join(", "))?;
        }
        f.write_str(" holds a lock")?;
        if !self.table.is_empty() {
            write!(f, " on {}", escape(&self.table))?;
        }
        if !self.query.trim().is_empty() {
            let words: Vec<&str> = self.query.split_whitespace().collect();
            let words: String = words.join(" ").chars().take(QUERY_CHARS_MAX).collect();
            write!(f, ", its query: {}", escape(&words))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::database::settings::PartialSettings;

    fn blocker() -> Blocker {
        Blocker {
            table: "shop.orders".to_owned(),
            pid: 4711,
            role: "dba".to_owned(),
            program: "psql".to_owned(),
            state: "idle in transaction".to_owned(),
            query: "LOCK TABLE\n  shop.orders".to_owned(),
            is_endless: false,
        }
    }

    fn lookout() -> (Lookout, Arc<Mutex<Vec<String>>>) {
        let said = Arc::new(Mutex::new(Vec::new()));
        let sink = said.clone();
        let progress = Progress::new(move |item| sink.lock().unwrap().push(format!("{item:?}")));
        let settings = PartialSettings::default().complete(None, |_| {}).unwrap();
        (Lookout::new(&settings, "regenesis 1".to_owned(), &progress), said)
    }

    #[test]
    fn a_wait_is_told_once_with_pid_table_and_query() {
        let (lookout, said) = lookout();
        for _ in 0..3 {
            lookout.tell("read the tables' sizes", &[blocker()]).unwrap();
        }
        let said = said.lock().unwrap();
        assert_eq!(said.len(), 1, "{said:?}");
        let words = ["pid 4711", "dba, psql, idle in transaction", "shop.orders", "LOCK TABLE shop.orders"];
        for word in words.iter().chain(&["waiting to read the tables' sizes", "pg_terminate_backend(4711)"]) {
            assert!(said[0].contains(word), "no {word:?} in {said:?}");
        }
    }

    #[test]
    fn two_who_wait_for_each_other_are_an_error() {
        let (lookout, _) = lookout();
        let endless = [Blocker { is_endless: true, ..blocker() }];
        lookout.tell("read t", &endless).unwrap();
        let e = lookout.tell("read t", &endless).unwrap_err();
        assert!(e.to_string().contains("pid 4711") && e.to_string().contains("waits for us"), "{e}");
    }

    #[test]
    fn a_prepared_transaction_has_no_session_to_end() {
        let (lookout, said) = lookout();
        let prepared =
            Blocker { pid: 0, role: String::new(), program: String::new(), state: String::new(), ..blocker() };
        lookout.tell("lock the tables", &[Blocker { query: String::new(), ..prepared }]).unwrap();
        let said = said.lock().unwrap();
        assert!(said[0].contains("a prepared transaction holds a lock on shop.orders"), "{said:?}");
        assert!(!said[0].contains("pg_terminate_backend"), "{said:?}");
    }
}
