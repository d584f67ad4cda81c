//! Postgres: one consistent cut, and pg_dump for the text. The only place that names tokio-postgres.
