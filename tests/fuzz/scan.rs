//! The statement check: it ends with a verdict, the same one however the text comes, and what it lets pass is cut as psql does.

use kwil_formats::dump::scan::{ScanError, ScanReport, StatementScanner};

use super::split;

fn judge(text: &[u8], piece: usize) -> Result<ScanReport, ScanError> {
    let mut scanner = StatementScanner::new();
    text.chunks(piece).try_for_each(|piece| scanner.push(piece))?;
    scanner.finish()
}

/// # Panics
/// Where two verdicts differ.
pub(crate) fn scan(data: &[u8]) {
    let whole = judge(data, usize::MAX);
    let pieces = judge(data, 1 + data.first().map_or(0, |b| usize::from(*b)));
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
        (Err(_), Err(_)) => {}
        _ => panic!("{whole:?} in one piece, {pieces:?} in several: {}", data.escape_ascii()),
    }
    if whole.is_ok_and(|report| !report.guarded && report.rows == 0) {
        split::split(data);
    }
}
