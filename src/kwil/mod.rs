//! PURE: both families' formats: dump filter, statement scanner, genesis, keys, config, database queries as text.
