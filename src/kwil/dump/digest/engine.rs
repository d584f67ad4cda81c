//! Rows of `kwild_engine`, with names in place of the ids that honest nodes differ in. Rows that refer to a table whose
//! names are not known yet wait until the text is over.

use std::{cell::Cell, collections::BTreeMap};

use memchr::memchr;
use sha2::{Digest, Sha256};

use super::{DigestError, HashList, rows::END};
use crate::{
    base::limits::DIGEST_ENGINE_SIZE_BYTES_MAX,
    dump::token::{CopyHeader, Token},
};

/// What an id may be the id of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Action,
    Namespace,
    Extension,
    Role,
}

/// A table of `kwild_engine` with surrogate ids; each has its own in the column `id`.
struct Spec {
    table: &'static str,
    /// What other tables refer to by this one's ids, and the columns that name it; `None` where none refers to it.
    defines: Option<(Kind, &'static [&'static str])>,
    references: &'static [(&'static str, Kind)],
}

const SPECS: [Spec; 9] = [
    Spec { table: "actions", defines: Some((Kind::Action, &["namespace", "name"])), references: &[] },
    Spec { table: "parameters", defines: None, references: &[("action_id", Kind::Action)] },
    Spec { table: "return_fields", defines: None, references: &[("action_id", Kind::Action)] },
    Spec { table: "namespaces", defines: Some((Kind::Namespace, &["name"])), references: &[] },
    Spec {
        table: "initialized_extensions",
        defines: Some((Kind::Extension, &["namespace_id"])),
        references: &[("namespace_id", Kind::Namespace)],
    },
    Spec {
        table: "extension_initialization_parameters",
        defines: None,
        references: &[("extension_id", Kind::Extension)],
    },
    Spec { table: "roles", defines: Some((Kind::Role, &["name"])), references: &[] },
    Spec {
        table: "role_privileges",
        defines: None,
        references: &[("role_id", Kind::Role), ("namespace_id", Kind::Namespace)],
    },
    Spec { table: "user_roles", defines: None, references: &[("role_id", Kind::Role)] },
];

/// The most columns that one of these tables may have; the widest has nine.
const COLUMNS_MAX: usize = 64;
const NULL: &[u8] = b"\\N";
/// What stands for a reference to nothing: an escape that no row of pg_dump's has.
const NOTHING: &[u8] = b"\\?";
/// About the bytes that an entry of a map takes beside its name.
const ENTRY_BYTES: usize = 64;

/// The columns of one table that matter, by their place.
#[derive(Debug)]
struct Layout {
    columns: usize,
    id: usize,
    defines: Option<(Kind, Vec<usize>)>,
    references: Vec<(usize, Kind)>,
}

/// The rows of an open block.
#[derive(Debug)]
pub(super) struct EngineRows {
    layout: Layout,
    /// The number of the first row's line, counted from 1; 0 before any data came.
    line: u64,
    count: u64,
    /// The front of a row that was cut by the end of a piece.
    cut: Vec<u8>,
    /// The rows so far, where what they refer to is not known yet; `None` where it is.
    waiting: Option<Vec<u8>>,
}

/// The ids seen so far and what they stand for.
#[derive(Debug, Default)]
pub(super) struct Engine {
    actions: Names,
    namespaces: Names,
    /// The field `namespace_id` of `initialized_extensions`.
    extensions: Names,
    roles: Names,
    waiting: Vec<Waiting>,
    held_bytes: usize,
}

/// The rows of a table, to be hashed when all names are known.
#[derive(Debug)]
struct Waiting {
    /// The table's place in the list of tables.
    table: usize,
    layout: Layout,
    line: u64,
    rows: Vec<u8>,
}

#[derive(Debug, Default)]
struct Names {
    by_id: BTreeMap<i64, Box<[u8]>>,
    /// The table's block is over, so that all its names are known.
    complete: bool,
    /// The highest id that is referred to and not there.
    missing: Cell<Option<i64>>,
    /// The last id that the table's sequence has given.
    given: Option<i64>,
}

impl Engine {
    /// Begins a block; `None` where its table is none of those with ids.
    pub(super) fn open(&self, header: &CopyHeader) -> Result<Option<EngineRows>, String> {
        if header.table.schema != "kwild_engine" {
            return Ok(None);
        }
        let Some(spec) = SPECS.iter().find(|spec| spec.table == header.table.object) else { return Ok(None) };
        if header.columns.len() > COLUMNS_MAX {
            return Err(format!("{} has more than {COLUMNS_MAX} columns", header.table));
        }
        let place = |name: &str| {
            let mut places = header.columns.iter().enumerate().filter(|(_, column)| *column == name);
            match (places.next(), places.next()) {
                (Some((place, _)), None) => Ok(place),
                _ => Err(format!("{} has not exactly one column {name}", header.table)),
            }
        };
        let defines = match spec.defines {
            Some((kind, columns)) => Some((kind, columns.iter().map(|c| place(c)).collect::<Result<_, _>>()?)),
            None => None,
        };
        let references = spec
            .references
            .iter()
            .map(|(column, kind)| Ok((place(column)?, *kind)))
            .collect::<Result<Vec<_>, String>>()?;
        let known = references.iter().all(|(_, kind)| match kind {
            Kind::Action => self.actions.complete,
            Kind::Namespace => self.namespaces.complete,
            Kind::Extension => self.extensions.complete && self.namespaces.complete,
            Kind::Role => self.roles.complete,
        });
        let layout = Layout { columns: header.columns.len(), id: place("id")?, defines, references };
        let waiting = (!known).then(Vec::new);
        Ok(Some(EngineRows { layout, line: 0, count: 0, cut: Vec::new(), waiting }))
    }

    /// Takes any piece of the block; the answer is the offset in it behind the block's end, or `None` before the end.
    pub(super) fn take(
        &mut self,
        rows: &mut EngineRows,
        line: u64,
        data: &[u8],
        list: &mut impl HashList,
    ) -> Result<Option<usize>, DigestError> {
        let mut at = 0;
        let mut line = line;
        if rows.line == 0 {
            rows.line = line;
        }
        while let Some(newline) = memchr(b'\n', &data[at..]) {
            let piece = &data[at..=at + newline];
            at += piece.len();
            let mut cut = std::mem::take(&mut rows.cut);
            let row = if cut.is_empty() {
                piece
            } else {
                self.hold(cut.len() + piece.len()).map_err(|reason| DigestError::Text { line, reason })?;
                cut.extend_from_slice(piece);
                &cut
            };
            if row == END {
                return Ok(Some(at));
            }
            if let Some(hash) = self.row(rows, row).map_err(|reason| DigestError::Text { line, reason })? {
                list.push(hash).map_err(DigestError::List)?;
            }
            line += 1;
        }
        self.hold(rows.cut.len() + data.len() - at).map_err(|reason| DigestError::Text { line, reason })?;
        rows.cut.extend_from_slice(&data[at..]);
        Ok(None)
    }

    /// An error where so many more bytes are too many to be held.
    fn hold(&self, bytes: usize) -> Result<(), String> {
        if self.held_bytes + bytes > DIGEST_ENGINE_SIZE_BYTES_MAX {
            return Err("the rows of kwild_engine take more than 16 MiB while their ids are replaced".to_owned());
        }
        Ok(())
    }

    /// Learns a row's id and hashes it, if what it refers to is known.
    fn row(&mut self, rows: &mut EngineRows, row: &[u8]) -> Result<Option<[u8; 32]>, String> {
        rows.count += 1;
        let fields = rows.layout.fields(row)?;
        let own = fields[rows.layout.id];
        let id = surrogate_id(own)?;
        if let Some((kind, places)) = &rows.layout.defines {
            let name = places.iter().map(|place| fields[*place]).collect::<Vec<_>>().join(&b'\t');
            self.hold(name.len() + ENTRY_BYTES)?;
            self.held_bytes += name.len() + ENTRY_BYTES;
            if self.names_mut(*kind).by_id.insert(id, name.into()).is_some() {
                return Err(format!("the id {id} appears twice"));
            }
        }
        match &mut rows.waiting {
            None => self.hash(&rows.layout, &fields).map(Some),
            Some(waiting) => {
                self.hold(row.len())?;
                self.held_bytes += row.len();
                waiting.extend_from_slice(row);
                Ok(None)
            }
        }
    }

    /// Learns what a `SELECT pg_catalog.setval('kwild_engine.…_id_seq', n, true)` says.
    pub(super) fn set_sequence(&mut self, tokens: &[Token<'_>]) {
        let [_, _, _, setval, _, Token::Literal(name), _, Token::Number(value), _, called, ..] = tokens else { return };
        let kind = match *name {
            "kwild_engine.actions_id_seq" => Kind::Action,
            "kwild_engine.namespaces_id_seq" => Kind::Namespace,
            "kwild_engine.initialized_extensions_id_seq" => Kind::Extension,
            "kwild_engine.roles_id_seq" => Kind::Role,
            _ => return,
        };
        if let Ok(value) = value.parse::<i64>()
            && setval.is("setval")
        {
            self.names_mut(kind).given = Some(if called.is("true") { value } else { value.saturating_sub(1) });
        }
    }

    fn names_mut(&mut self, kind: Kind) -> &mut Names {
        match kind {
            Kind::Action => &mut self.actions,
            Kind::Namespace => &mut self.namespaces,
            Kind::Extension => &mut self.extensions,
            Kind::Role => &mut self.roles,
        }
    }

    /// Ends a block that stands at `table` in the list of tables; says how many rows it had.
    pub(super) fn close(&mut self, rows: EngineRows, table: usize) -> u64 {
        let EngineRows { layout, line, count, waiting, .. } = rows;
        if let Some((kind, _)) = &layout.defines {
            self.names_mut(*kind).complete = true;
        }
        if let Some(rows) = waiting {
            self.waiting.push(Waiting { table, layout, line, rows });
        }
        count
    }

    /// Gives the hashes of the rows that waited, table by table.
    pub(super) fn finish(
        mut self,
        last_line: u64,
        mut give: impl FnMut(usize, &mut dyn Iterator<Item = Result<[u8; 32], DigestError>>) -> Result<(), DigestError>,
    ) -> Result<(), DigestError> {
        for Waiting { table, layout, line, rows } in std::mem::take(&mut self.waiting) {
            let hash = |(line, row)| {
                let hash = layout.fields(row).and_then(|fields| self.hash(&layout, &fields));
                hash.map_err(|reason| DigestError::Text { line, reason })
            };
            give(table, &mut (line..).zip(rows.split_inclusive(|b| *b == b'\n')).map(hash))?;
        }
        // Otherwise a row that is made later would be what they refer to.
        for (names, what) in [
            (&self.actions, "action"),
            (&self.namespaces, "namespace"),
            (&self.extensions, "initialized extension"),
            (&self.roles, "role"),
        ] {
            if let Some(id) = names.missing.get().filter(|id| names.given.is_none_or(|given| *id > given)) {
                let reason = format!("a row of kwild_engine refers to a {what} {id} that is yet to be made");
                return Err(DigestError::Text { line: last_line, reason });
            }
        }
        Ok(())
    }

    fn hash(&self, layout: &Layout, fields: &[&[u8]]) -> Result<[u8; 32], String> {
        let mut hash = Sha256::new();
        for (place, field) in fields.iter().enumerate() {
            if place > 0 {
                hash.update(b"\t");
            }
            if place == layout.id {
                continue;
            }
            match layout.references.iter().find(|(reference, _)| *reference == place) {
                Some((_, kind)) => hash.update(self.name(*kind, field)?),
                None => hash.update(field),
            }
        }
        hash.update(b"\n");
        Ok(hash.finalize().into())
    }

    /// The name of what a reference refers to: a null stays, and `\?` stands for nothing.
    fn name(&self, kind: Kind, reference: &[u8]) -> Result<&[u8], String> {
        if reference == NULL {
            return Ok(NULL);
        }
        let id = surrogate_id(reference)?;
        let names = match kind {
            Kind::Action => &self.actions,
            Kind::Namespace => &self.namespaces,
            Kind::Extension => &self.extensions,
            Kind::Role => &self.roles,
        };
        match names.by_id.get(&id) {
            None => {
                names.missing.set(names.missing.get().max(Some(id)));
                Ok(NOTHING)
            }
            Some(namespace_id) if kind == Kind::Extension => self.name(Kind::Namespace, namespace_id),
            Some(name) => Ok(name),
        }
    }
}

impl Layout {
    fn fields<'r>(&self, row: &'r [u8]) -> Result<Vec<&'r [u8]>, String> {
        let row = row.strip_suffix(b"\n").unwrap_or(row);
        let fields: Vec<&[u8]> = row.splitn(self.columns + 1, |b| *b == b'\t').collect();
        if fields.len() == self.columns {
            Ok(fields)
        } else {
            Err(format!("a row that has not {} fields, as its table has columns", self.columns))
        }
    }
}

/// Reads an id as the server writes it; in another spelling two readers might take it for two things.
fn surrogate_id(field: &[u8]) -> Result<i64, String> {
    let text = std::str::from_utf8(field).unwrap_or_default();
    match text.parse::<i64>() {
        Ok(n) if n.to_string() == text => Ok(n),
        _ => Err(format!("{} is no id", String::from_utf8_lossy(&field[..field.len().min(40)]))),
    }
}
