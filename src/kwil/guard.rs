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
//! a text with fewer is one batch. Everything of the schema `kwild_voting` stands in the last batch, because kwild takes a
//! database that has this schema for initialised: a restore that failed half-way is never started on.

/// Lines before the first statement, to the byte. psql's own variables come first, because the rest depends on them.
pub const PROLOGUE: &str = "\
\\set ON_ERROR_STOP on
\\set ON_ERROR_ROLLBACK off
\\set AUTOCOMMIT on
\\set SINGLELINE off
\\set SINGLESTEP off
\\set FETCH_COUNT 0
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET search_path = '';
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET idle_session_timeout = 0;
SET default_transaction_read_only = off;
SET default_transaction_isolation = 'read committed';
SET default_transaction_deferrable = off;
SET client_min_messages = warning;
SET check_function_bodies = off;
SET row_security = off;
SET array_nulls = on;
SET transform_null_equals = off;
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET TimeZone = 'UTC';
SET default_tablespace = '';
SET default_table_access_method = heap;
SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout' AND setting <> '0';
SELECT pg_catalog.set_config(name, 'origin', false) FROM pg_catalog.pg_settings WHERE name = 'session_replication_role' AND setting <> 'origin';
BEGIN;
";

/// Lines between two batches.
pub const NEXT_BATCH: &str = "COMMIT;\nBEGIN;\n";

/// The last line.
pub const EPILOGUE: &str = "COMMIT;\n";

/// Relations that one batch touches at most: tables, indexes, views and sequences.
pub const BATCH_RELATIONS_MAX: usize = 1000;
