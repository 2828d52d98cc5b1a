//! `peer hash` and `peer ticket`: what the runner cannot compute with its standard library.
use anyhow::{Context, Result};
use iroh_blobs::{ticket::BlobTicket, BlobFormat};

use crate::say;

/// `hash HEX SIZE PATH` for every path.
pub fn hash(paths: Vec<String>) -> Result<bool> {
    for path in paths {
        let file = std::fs::File::open(&path).with_context(|| path.clone())?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file)?;
        say(&format!(
            "hash {} {} {path}",
            hasher.finalize().to_hex(),
            hasher.count()
        ));
    }
    Ok(true)
}

/// `id`, `addr` and `hash` lines of every ticket, and its format.
pub fn ticket(tickets: Vec<String>) -> Result<bool> {
    for text in tickets {
        let ticket: BlobTicket = text.parse()?;
        say(&format!("id {}", ticket.addr().id));
        for url in ticket.addr().relay_urls() {
            say(&format!("relay {url}"));
        }
        for addr in ticket.addr().ip_addrs() {
            say(&format!("addr {addr}"));
        }
        let format = if ticket.format() == BlobFormat::Raw {
            "raw"
        } else {
            "hashseq"
        };
        say(&format!("format {format}"));
        say(&format!("hash {}", ticket.hash().to_hex()));
    }
    Ok(true)
}
