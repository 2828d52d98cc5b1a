//! The answer to a Get or GetMany request, through the client of iroh-blobs, and its lines.
use std::io::{Seek, SeekFrom, Write};

use anyhow::{Context, Result};
use bao_tree::io::fsm::BaoContentItem;
use iroh_blobs::{
    get::{
        fsm::{BlobContentNext, ConnectedNext, EndBlobNext},
        Stats,
    },
    hashseq::HashSeq,
    util::RecvStream,
    Hash,
};

use crate::say;

/// What one blob of the answer brought.
struct Blob {
    index: u64,
    hash: Hash,
    size: u64,
    ranges: Vec<(u64, u64)>, // bytes, half open, ascending, merged
    payload: blake3::Hasher,
    bytes: u64,
}

impl Blob {
    fn new(index: u64, hash: Hash, size: u64) -> Self {
        let payload = blake3::Hasher::new();
        Self {
            index,
            hash,
            size,
            ranges: Vec::new(),
            payload,
            bytes: 0,
        }
    }

    fn add(&mut self, offset: u64, data: &[u8]) {
        let end = offset + data.len() as u64;
        self.payload.update(data);
        self.bytes += data.len() as u64;
        match self.ranges.last_mut() {
            Some(last) if last.1 == offset => last.1 = end,
            _ if data.is_empty() => {}
            _ => self.ranges.push((offset, end)),
        }
    }

    fn report(&self) {
        let index = self.index;
        say(&format!(
            "blob {index} {} {}",
            self.hash.to_hex(),
            self.size
        ));
        for (start, end) in &self.ranges {
            say(&format!("range {index} {start} {end}"));
        }
        let hash = self.payload.finalize();
        say(&format!("payload {index} {} {}", self.bytes, hash.to_hex()));
    }
}

/// How the indexes of a request name blobs.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// Index 0 is the root, index N is child N - 1.
    Get,
    /// Index N is the hash N of the request.
    GetMany,
}

/// Reads one answer. Get: the root blob goes to `out`, child N to `out.N`; GetMany: hash N to `out.N`.
pub struct Reader<'a> {
    pub kind: Kind,
    pub root: Hash,
    /// The hash sequence, when the request leaves it out; the hashes of a GetMany.
    pub known: Option<HashSeq>,
    /// The root blob is a sequence: its bytes are kept.
    pub keep_root: bool,
    pub out: Option<&'a str>,
    pub quiet: bool,
}

/// The answer so far: how it went and, for a hash sequence, the bytes of the root blob.
#[derive(Default)]
pub struct Answer {
    pub blobs: u64,
    pub root: Vec<u8>,
    /// The client's own count, known after a good end.
    pub stats: Option<Stats>,
}

impl Reader<'_> {
    fn create(&self, index: u64) -> Result<Option<std::fs::File>> {
        let Some(out) = self.out else { return Ok(None) };
        let path = match (self.kind, index) {
            (Kind::Get, 0) => out.to_string(),
            (Kind::Get, _) => format!("{out}.{}", index - 1),
            (Kind::GetMany, _) => format!("{out}.{index}"),
        };
        let file = std::fs::File::create(&path).with_context(|| path)?;
        Ok(Some(file))
    }

    /// The blob of an index that is not the root; nothing beyond the last one.
    fn hash_of(&self, index: u64) -> Result<Option<Hash>> {
        let known = self
            .known
            .as_ref()
            .context("children without their hashes")?;
        let place = match self.kind {
            Kind::Get => index - 1,
            Kind::GetMany => index,
        };
        Ok(usize::try_from(place).ok().and_then(|i| known.get(i)))
    }

    /// Reads to the end; `answer` has what came, also after an error.
    pub async fn receive<R: RecvStream>(
        &mut self,
        first: ConnectedNext<R>,
        answer: &mut Answer,
    ) -> Result<()> {
        let mut next = first;
        loop {
            let (index, hash, header) = match next {
                ConnectedNext::StartRoot(root) => (0, self.root, root.next()),
                ConnectedNext::StartChild(child) => {
                    let index = child.offset();
                    match self.hash_of(index)? {
                        Some(hash) => (index, hash, child.next(hash)),
                        None => {
                            answer.stats = Some(child.finish().next().await?);
                            return Ok(());
                        }
                    }
                }
                ConnectedNext::Closing(closing) => {
                    answer.stats = Some(closing.next().await?);
                    return Ok(());
                }
            };
            let is_root = self.kind == Kind::Get && index == 0;
            let (mut content, size) = header.next().await?;
            let mut blob = Blob::new(index, hash, size);
            let mut file = self.create(index)?;
            let end = loop {
                match content.next().await {
                    BlobContentNext::Done(end) => break end,
                    BlobContentNext::More((rest, item)) => {
                        content = rest;
                        let item = item.inspect_err(|_| {
                            if !self.quiet {
                                blob.report();
                            }
                        })?;
                        if let BaoContentItem::Leaf(leaf) = item {
                            blob.add(leaf.offset, &leaf.data);
                            if is_root && self.keep_root {
                                answer.root.extend_from_slice(&leaf.data);
                            }
                            if let Some(file) = &mut file {
                                file.seek(SeekFrom::Start(leaf.offset))?;
                                file.write_all(&leaf.data)?;
                            }
                        }
                    }
                }
            };
            if !self.quiet {
                blob.report();
            }
            answer.blobs += 1;
            if is_root && self.keep_root {
                self.known = HashSeq::new(answer.root.clone().into());
            }
            next = match end.next() {
                EndBlobNext::MoreChildren(child) => ConnectedNext::StartChild(child),
                EndBlobNext::Closing(closing) => ConnectedNext::Closing(closing),
            };
        }
    }
}
