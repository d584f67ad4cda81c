//! What the catalogue says about the tables whose rows are to be read: their sizes, and how their columns can be
//! written. In go pg_dump's `COPY` statements, out comes an answer for each of them, in their order.

use tokio_postgres::Row;

use super::{
    binary::Kind,
    connect::explain_query,
    copy::{Copy, TableSize},
    cut::Cut,
};
use crate::base::Result;

/// The size of each statement's table, in their order; zeros where a query stands in a table's place.
pub(super) async fn sizes(cut: &Cut, copies: &[Copy]) -> Result<Vec<TableSize>> {
    const DOING: &str = "read the tables' sizes";
    const SQL: &str = "SELECT coalesce(c.relkind = 'r' AND a.amname = 'heap', false), \
         coalesce(pg_catalog.pg_relation_size(c.oid), 0) / pg_catalog.current_setting('block_size')::bigint, \
         coalesce(pg_catalog.pg_table_size(c.oid), 0), coalesce(c.reltuples, 0)::bigint \
         FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS t (name, number) \
         LEFT JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(t.name) \
         LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam ORDER BY t.number";
    let explain = |e| explain_query(e, DOING, cut.settings());
    let rows = cut.client().query(SQL, &[&type_names(copies)]).await.map_err(explain)?;
    let number = |row: &Row, column| row.try_get(column).map(|n: i64| u64::try_from(n).unwrap_or(0)).map_err(explain);
    rows.iter()
        .map(|row| {
            let is_heap = row.try_get(0).map_err(explain)?;
            Ok(TableSize { is_heap, pages: number(row, 1)?, bytes: number(row, 2)?, rows: number(row, 3)? })
        })
        .collect()
}

/// How the columns of each statement's table are written, where all have known types (else `None`). A type is known by
/// the built-in functions that write it.
pub(super) async fn kinds(cut: &Cut, copies: &[Copy]) -> Result<Vec<Option<Vec<Kind>>>> {
    const DOING: &str = "read the columns' types";
    const SQL: &str = "SELECT t.number, pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum), \
         pg_catalog.array_agg(coalesce(o.proname, '')::text ORDER BY a.attnum), \
         pg_catalog.array_agg(coalesce(s.proname, '')::text ORDER BY a.attnum), \
         pg_catalog.array_agg(coalesce(eo.proname, '')::text ORDER BY a.attnum), \
         pg_catalog.array_agg(coalesce(es.proname, '')::text ORDER BY a.attnum) \
         FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS t (name, number) \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = pg_catalog.to_regclass(t.name) \
         AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' \
         JOIN pg_catalog.pg_type y ON y.oid = a.atttypid \
         LEFT JOIN pg_catalog.pg_proc o ON o.oid = y.typoutput AND o.oid < 16384 \
         LEFT JOIN pg_catalog.pg_proc s ON s.oid = y.typsend AND s.oid < 16384 \
         LEFT JOIN pg_catalog.pg_type e ON e.oid = y.typelem AND y.typtype = 'b' AND e.typdelim = ',' \
         LEFT JOIN pg_catalog.pg_proc eo ON eo.oid = e.typoutput AND eo.oid < 16384 \
         LEFT JOIN pg_catalog.pg_proc es ON es.oid = e.typsend AND es.oid < 16384 \
         GROUP BY t.number";
    let explain = |e| explain_query(e, DOING, cut.settings());
    let rows = cut.client().query(SQL, &[&type_names(copies)]).await.map_err(explain)?;
    let mut found = vec![None; copies.len()];
    for row in &rows {
        let number: i64 = row.try_get(0).map_err(explain)?;
        let at = usize::try_from(number).unwrap_or(0).wrapping_sub(1);
        let (Some(copy), Some(found)) = (copies.get(at), found.get_mut(at)) else { continue };
        // The rows' columns must be those that pg_dump asks for.
        let columns: String = row.try_get(1).map_err(explain)?;
        if columns != copy.columns {
            continue;
        }
        let list = |column| row.try_get::<_, Vec<String>>(column).map_err(explain);
        let (outputs, sends, of_outputs, of_sends) = (list(2)?, list(3)?, list(4)?, list(5)?);
        let kinds = outputs.iter().zip(&sends).zip(of_outputs.iter().zip(&of_sends));
        *found = kinds
            .map(|((output, send), (of_output, of_send))| match (output.as_str(), send.as_str()) {
                ("array_out", "array_send") => Kind::of(of_output, of_send).map(|of| Kind::Array(Box::new(of))),
                (output, send) => Kind::of(output, send),
            })
            .collect();
    }
    Ok(found)
}

fn type_names(copies: &[Copy]) -> Vec<Option<&str>> {
    copies.iter().map(|copy| copy.table.as_deref()).collect()
}
