//! The guard: the fixed lines at the start and the end of a snapshot's text that make psql stop at the first failing
//! statement and load all or nothing.
//!
//! kwild pipes the text into a psql of its own, which passes over what fails and takes settings from the database, the role,
//! the environment and a psqlrc. None of these can be asked for from here, so the text itself sets what it needs, before its
//! first statement.
//!
//! ```text
//! guarded text := PROLOGUE batch (NEXT_BATCH batch)* EPILOGUE
//! ```
//!
//! A batch is one transaction. A server's lock table is small, so a batch touches at most [`BATCH_RELATIONS_MAX`] relations;
//! a text with fewer is one batch. Everything of the schema `kwild_voting` stands in the last batch, and behind everything
//! else, because kwild takes a database that has this schema for initialised: a restore that failed half-way is never
//! started on. Within the two parts statements keep pg_dump's order.
//!
//! # Lines
//!
//! None of them can fail on PostgreSQL 15 to 18; the last but one fails, and the restore with it, where
//! `session_replication_role` was turned for a role that may not turn it back.
//!
//! | line | without it |
//! |---|---|
//! | `\set ON_ERROR_STOP on` | psql goes on after a statement that failed, and takes the rows of a table that is not there for statements |
//! | `\set ON_ERROR_ROLLBACK off` | psql keeps each statement that did not fail, by a savepoint before each |
//! | `\set AUTOCOMMIT on` | a transaction of psql's own begins after each batch and is never committed |
//! | `\set SINGLELINE off`, `SINGLESTEP off` | a line's end ends a statement; psql asks before each one, and reads the answer from the text |
//! | `\set FETCH_COUNT 0` | `SELECT setval(…)` runs through a cursor |
//! | `ROLLBACK` | a transaction that a psqlrc began (READ ONLY, SERIALIZABLE) holds all of it; where there is none, a warning |
//! | `statement_timeout`, `lock_timeout`, `transaction_timeout`, `idle_…_timeout` 0 | a large table's COPY is cut short |
//! | `client_encoding` UTF8 | text is stored as another text: `PGCLIENTENCODING`, `\encoding`, ALTER DATABASE |
//! | `standard_conforming_strings` on | a backslash in a literal becomes something else |
//! | `backslash_quote` safe_encoding | the same, for `\'` |
//! | `search_path` empty | names without a schema (types, functions) may be found in a schema of somebody's |
//! | `default_transaction_…` | nothing can be written, or the transaction fails for another one's sake |
//! | `client_min_messages` warning | the server says every step |
//! | `check_function_bodies` off | a function that names a table made later fails, as it does not in pg_dump's own restore |
//! | `row_security` off | a policy may hide rows instead of failing |
//! | `array_nulls` on | `NULL` in an array is stored as the text "NULL" |
//! | `transform_null_equals` off | `= NULL` in a CHECK or a view is made `IS NULL` |
//! | `bytea_output`, `extra_float_digits`, `DateStyle`, `IntervalStyle`, `TimeZone`, `xmloption` | values that become text, or come from it, in a CHECK, a default or a row are others |
//! | `default_tablespace`, `default_table_access_method` | tables go to another disk or another storage engine |
//! | `session_replication_role` origin | keys are not checked and triggers do not fire |
//!
//! `transaction_timeout` is unknown before PostgreSQL 17 and `session_replication_role` needs a superuser: they are set only
//! where they are other than they should be. TimeZone is GMT, because it needs no file of time zones.
//!
//! Not set, on purpose: `role` and `session_authorization`, because kwild's own connections have the same one and must own
//! what was restored; `synchronous_commit`, `work_mem` and others that change how fast, not what; `default_toast_compression`,
//! which changes only how values lie on the disk.

mod arrange;
mod batches;
mod rows_end;

pub use arrange::{ArrangeError, Arranger};
pub(super) use batches::Batches;
pub(crate) use rows_end::RowsEnd;

/// The guard's lines before the first statement. psql's own variables come first, because the rest depends on them.
pub const PROLOGUE: &str = "\
\\set ON_ERROR_STOP on
\\set ON_ERROR_ROLLBACK off
\\set AUTOCOMMIT on
\\set SINGLELINE off
\\set SINGLESTEP off
\\set FETCH_COUNT 0
ROLLBACK;
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET idle_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET backslash_quote = safe_encoding;
SET search_path = '';
SET default_transaction_read_only = off;
SET default_transaction_isolation = 'read committed';
SET default_transaction_deferrable = off;
SET client_min_messages = warning;
SET check_function_bodies = off;
SET row_security = off;
SET array_nulls = on;
SET transform_null_equals = off;
SET bytea_output = 'hex';
SET extra_float_digits = 1;
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET TimeZone = 'GMT';
SET xmloption = content;
SET default_tablespace = '';
SET default_table_access_method = heap;
SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout' AND setting <> '0';
SELECT pg_catalog.set_config(name, 'origin', false) FROM pg_catalog.pg_settings WHERE name = 'session_replication_role' AND setting <> 'origin';
BEGIN;
";

/// The guard's lines between two batches, each of which is one transaction.
pub const NEXT_BATCH: &str = "COMMIT;\nBEGIN;\n";

/// The guard's last line, and so the text's.
pub const EPILOGUE: &str = "COMMIT;\n";

/// The statement that makes `kwild_internal`, which may be there: a kwild whose restore failed leaves it behind.
pub const INTERNAL_SCHEMA: &str = "CREATE SCHEMA IF NOT EXISTS kwild_internal;\n";

/// Relations that one batch touches at most: tables and their TOAST tables, indexes, views and sequences.
pub const BATCH_RELATIONS_MAX: usize = 1000;

/// The schema by which kwild tells an initialised database; everything of it stands in the last batch.
pub const LAST_SCHEMA: &str = "kwild_voting";

/// Whether a text that begins so is guarded; the beginning must be no shorter than [`PROLOGUE`].
pub fn is_guarded(beginning: &[u8]) -> bool {
    beginning.starts_with(PROLOGUE.as_bytes())
}
