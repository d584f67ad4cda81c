//! The recorded networks of four validators that the demo migrates: each family's database, genesis and node keys, as
//! real kwild processes left them.

use std::fmt::Write as _;

use kwil_formats::formats::Family;

/// Bytes of incompressible data in a row that the demo adds.
const ROW_SIZE_BYTES: u64 = 16 * 1024;
/// The id of the first row that the demo adds, above every id that the recorded rows have.
const FIRST_ID: u64 = 1_000_000;

/// A recorded network.
#[derive(Debug)]
pub(super) struct World {
    pub(super) family: Family,
    /// The database as pg_dump's text, gzip.
    pub(super) database: &'static [u8],
    /// The genesis that the old network began with.
    pub(super) genesis: &'static [u8],
    /// The validators' key files, the lead's first.
    pub(super) keys: [&'static [u8]; 4],
    /// Table of a user, and the columns of a row `n` whose data is `{data}`.
    grows: (&'static str, &'static str),
    /// The data's type in SQL, from random bytes.
    data: &'static str,
}

macro_rules! recorded {
    ($path:literal) => {
        include_bytes!(concat!("worlds/", $path)).as_slice()
    };
}

/// The recorded network of a family.
pub(super) fn world(family: Family) -> World {
    match family {
        Family::V09 => World {
            family,
            database: recorded!("v0.9/database.sql.gz"),
            genesis: recorded!("v0.9/genesis.json"),
            keys: [
                recorded!("v0.9/node0.private_key"),
                recorded!("v0.9/node1.private_key"),
                recorded!("v0.9/node2.private_key"),
                recorded!("v0.9/node3.private_key"),
            ],
            grows: (
                "ds_xfccfd6dcc9592deca57a9d1aee92946f2dae036c9b6b42ec41161aa5.lines (id, who, what, at_height)",
                "n, '0x1563915e194D8CfBA1943570603F7606A3115508', {data}, 45",
            ),
            data: "string_agg(translate(encode(public.gen_random_bytes(1024), 'base64'), E'\\n', ''), '')",
        },
        Family::V010 => World {
            family,
            database: recorded!("v0.10/database.sql.gz"),
            genesis: recorded!("v0.10/genesis.json"),
            // The network's last block had node 4 in the place of node 3.
            keys: [
                recorded!("v0.10/node0.nodekey.json"),
                recorded!("v0.10/node1.nodekey.json"),
                recorded!("v0.10/node2.nodekey.json"),
                recorded!("v0.10/node4.nodekey.json"),
            ],
            grows: ("notes.notes (id, txt, bin)", "n, 'demo note ' || n, {data}"),
            data: "string_agg(public.gen_random_bytes(1024), ''::bytea)",
        },
    }
}

impl World {
    /// Statements that add rows to a user's table until the compressed snapshot has about `size_bytes` more, a batch each.
    pub(super) fn growth(&self, size_bytes: u64) -> Vec<String> {
        const BATCH_ROWS: u64 = 1024;
        let rows = size_bytes.div_ceil(ROW_SIZE_BYTES);
        (0..rows.div_ceil(BATCH_ROWS))
            .map(|batch| {
                let first = FIRST_ID + batch * BATCH_ROWS;
                let last = FIRST_ID + rows.min((batch + 1) * BATCH_ROWS) - 1;
                self.insert(first, last)
            })
            .collect()
    }

    fn insert(&self, first: u64, last: u64) -> String {
        let (table, columns) = self.grows;
        let pieces = ROW_SIZE_BYTES / 1024;
        // Naming n inside makes the data new in each row.
        let data = format!("(SELECT {} FROM generate_series(1, {pieces} + 0 * n))", self.data);
        let mut sql = format!("INSERT INTO {table} SELECT {}", columns.replace("{data}", &data));
        let _ = write!(sql, " FROM generate_series({first}, {last}) AS n;");
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwil_formats::formats::{genesis::Genesis, key::PrivateKey};

    #[test]
    fn the_recordings_are_what_they_should_be() {
        for family in [Family::V09, Family::V010] {
            let world = world(family);
            assert!(world.database.starts_with(&[0x1f, 0x8b]), "{family}");
            let genesis = Genesis::parse(world.genesis).unwrap();
            assert_eq!(genesis.family(), family);
            let lead = PrivateKey::parse_file(world.keys[0]).unwrap().0.public();
            assert!(genesis.validators().unwrap().iter().any(|v| v.key == lead), "{family}");
            let mut keys: Vec<_> = world.keys.iter().map(|k| PrivateKey::parse_file(k).unwrap().0.public()).collect();
            keys.dedup();
            assert_eq!(keys.len(), 4);
        }
    }

    #[test]
    fn growth_adds_the_rows_that_the_size_asks_for() {
        let world = world(Family::V010);
        assert_eq!(world.growth(0), Vec::<String>::new());
        let one = world.growth(1);
        assert_eq!(one.len(), 1);
        assert!(one[0].ends_with("FROM generate_series(1000000, 1000000) AS n;"), "{one:?}");
        // 64 MiB are 4096 rows of 16 KiB in four batches; one byte more begins a fifth.
        assert_eq!(world.growth(64 << 20).len(), 4);
        let more = world.growth((64 << 20) + 1);
        assert!(more[3].contains("generate_series(1003072, 1004095) AS n"), "{}", more[3]);
        assert!(more[4].contains("generate_series(1004096, 1004096) AS n"), "{}", more[4]);
    }
}
