//! What goes onto every volume beside its chunks.

use kwil_formats::formats::GENESIS_FILE_NAME;

use super::ExportOptions;
use crate::{
    app::{kept::KeptStatements, meet, node},
    base::{Result, durable::PRIVATE_DIRECTORY_NAME, files::read_bounded, limits},
    bundle::{CERTIFICATE_NAME, EVIDENCE_NAMES, Paper, STATEMENTS_NAME},
    manifest::{Evidence, MANIFEST_FILE_NAME, VerifiedManifest, statement},
};

/// The name on a medium of the ticket with the swarm's secret, which is there only where it was asked for.
const TICKET_NAME: &str = "ticket.txt";

/// What goes with the chunks: the manifest and its genesis, what validators signed, what is known against manifests, and the ticket with
/// its secret only where that is asked for.
pub(super) fn carried(options: &ExportOptions, manifest: &VerifiedManifest) -> Result<Vec<Paper>> {
    let directory = &options.directory;
    let private = directory.join(PRIVATE_DIRECTORY_NAME);
    let paper = |name: &str, bytes| Paper { name: name.to_owned(), bytes };
    let genesis = read_bounded(&directory.join(GENESIS_FILE_NAME), limits::GENESIS_SIZE_BYTES_MAX, "genesis")?;
    manifest.check_genesis(&genesis)?;
    let mut papers = vec![paper(MANIFEST_FILE_NAME, manifest.bytes().to_vec()), paper(GENESIS_FILE_NAME, genesis)];
    let (chain_id, lead) = (&manifest.manifest().network.new_chain_id, &manifest.manifest().trust.lead);
    for evidence in options.state.evidence(chain_id, lead)? {
        let name = match &evidence {
            Evidence::Issue(_) => EVIDENCE_NAMES[0],
            Evidence::Equivocation(_) => EVIDENCE_NAMES[1],
            Evidence::Revocation(_) => EVIDENCE_NAMES[2],
            // Who is let into a swarm is of no meaning on a medium.
            Evidence::Certificate(_) | Evidence::Exclusion(_) => continue,
        };
        papers.push(paper(name, evidence.to_bytes()));
    }
    let statements = KeptStatements::new(private.join(node::STATEMENTS_NAME)).read();
    if !statements.is_empty() {
        papers.push(paper(STATEMENTS_NAME, statement::to_file(&statements)));
    }
    let certificate = meet::certificate_path(directory);
    if certificate.is_file() {
        papers
            .push(paper(CERTIFICATE_NAME, read_bounded(&certificate, limits::EVIDENCE_SIZE_BYTES_MAX, "certificate")?));
    }
    if options.with_secret {
        let ticket = private.join(node::TICKET_NAME);
        let bytes = read_bounded(&ticket, limits::TICKET_SIZE_BYTES_MAX, "ticket")
            .map_err(|e| e.hint("the directory has no ticket yet: serve it once, or leave the secret out"))?;
        papers.push(paper(TICKET_NAME, bytes));
    }
    Ok(papers)
}
