//! How far a new node has come in its database: restored, started, with blocks. Looks, changes nothing.

use super::{
    connect::{Connection, explain_query, is_missing_database},
    settings::Settings,
};
use crate::base::{Context, Next, Result};

/// What of a node stands in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeStage {
    /// The database holds neither Kwil's schemas nor the chain's table.
    Nothing,
    /// There are tables of a snapshot, or some of them, but not `kwild_chain.chain`, which kwild makes when it starts.
    NoChain,
    /// kwild has started, and no block has been committed.
    NoBlock,
    /// kwild has committed at least one block.
    HasBlocks,
}

impl NodeStage {
    /// Looks at the database that the settings lead to; changes nothing.
    ///
    /// # Errors
    /// When the database does not exist, or cannot be reached or asked.
    pub async fn look(settings: &Settings) -> Result<Self> {
        const DOING: &str = "look how far kwild has come";
        let connection = match Connection::open(settings).await {
            Ok(connection) => connection,
            Err(e) if is_missing_database(&e) => return Err(e.hint(Next::NameNewDatabase)),
            Err(e) => return Err(e),
        };
        let explain = |e| explain_query(e, DOING, settings).hint(Next::NameNewDatabase);
        let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname IN \
                   ('kwild_voting', 'kwild_accts', 'kwild_internal', 'kwild_engine')), \
                   EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                   WHERE n.nspname = 'kwild_chain' AND c.relname = 'chain')";
        let row = connection.client.query_one(sql, &[]).await.map_err(explain)?;
        let is = |column: usize| row.try_get::<_, bool>(column).or_failed(|| DOING);
        match (is(0)?, is(1)?) {
            (false, false) => return Ok(NodeStage::Nothing),
            (_, false) => return Ok(NodeStage::NoChain),
            (_, true) => {}
        }
        let row = connection.client.query_one("SELECT EXISTS (SELECT FROM kwild_chain.chain WHERE height >= 0)", &[]);
        let row = row.await.map_err(explain)?;
        Ok(if row.try_get::<_, bool>(0).or_failed(|| DOING)? { NodeStage::HasBlocks } else { NodeStage::NoBlock })
    }
}
