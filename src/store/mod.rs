//! Chunks on disk, the have-journal, resume. Takes only verified chunks.
