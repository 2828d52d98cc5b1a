//! `peer get`: one Get request through the client of iroh-blobs, which verifies what arrives.
use std::{
    collections::BTreeMap,
    io::{Seek, SeekFrom, Write},
};

use anyhow::{bail, Context, Result};
use bao_tree::{io::fsm::BaoContentItem, ChunkRanges};
use iroh::{endpoint::Connection, EndpointAddr};
use iroh_blobs::{
    get::fsm::{AtConnected, BlobContentNext, ConnectedNext, EndBlobNext, RequestCounters},
    hashseq::HashSeq,
    protocol::{ChunkRangesSeq, GetRequest, Request},
    ticket::BlobTicket,
    BlobFormat, Hash,
};

use crate::{
    args::{parse_hash, parse_ranges, Args},
    bind, connect, provider_address, say,
    spy::Spy,
};

const VALUED: [&str; 10] = [
    "ticket", "id", "addr", "hash", "ranges", "children", "child", "out", "bind", "timeout",
];
const FLAGS: [&str; 2] = ["size-proof", "hashseq"];

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
        say(&format!(
            "blob {} {} {}",
            self.index,
            self.hash.to_hex(),
            self.size
        ));
        for (start, end) in &self.ranges {
            say(&format!("range {} {start} {end}", self.index));
        }
        say(&format!(
            "payload {} {} {}",
            self.index,
            self.bytes,
            self.payload.finalize().to_hex()
        ));
    }
}

/// Where the answer goes: the root blob to `--out FILE`, child N to `FILE.N`.
struct Files<'a> {
    out: Option<&'a str>,
}

impl Files<'_> {
    fn create(&self, index: u64) -> Result<Option<std::fs::File>> {
        let Some(out) = self.out else { return Ok(None) };
        let path = if index == 0 {
            out.to_string()
        } else {
            format!("{out}.{}", index - 1)
        };
        Ok(Some(
            std::fs::File::create(&path).with_context(|| path.clone())?,
        ))
    }
}

/// The answer so far: how it went and, for a hash sequence, the bytes of the root blob.
struct Answer {
    blobs: u64,
    root: Vec<u8>,
}

/// Reads the answer to its end. `known` is the hash sequence when the request leaves it out.
async fn receive(
    connected: AtConnected<&mut Spy, iroh::endpoint::SendStream>,
    root_hash: Hash,
    known: Option<&HashSeq>,
    keep_root: bool,
    files: &Files<'_>,
    quiet: bool,
) -> (Answer, Result<()>) {
    let mut answer = Answer {
        blobs: 0,
        root: Vec::new(),
    };
    let result = receive_into(
        connected,
        root_hash,
        known,
        keep_root,
        files,
        quiet,
        &mut answer,
    );
    let result = result.await;
    (answer, result)
}

async fn receive_into(
    connected: AtConnected<&mut Spy, iroh::endpoint::SendStream>,
    root_hash: Hash,
    known: Option<&HashSeq>,
    keep_root: bool,
    files: &Files<'_>,
    quiet: bool,
    answer: &mut Answer,
) -> Result<()> {
    let mut sequence = known.cloned();
    let mut next = match connected.next().await? {
        ConnectedNext::StartRoot(root) => Ok((0, root_hash, root.next())),
        ConnectedNext::StartChild(child) => Err(child),
        ConnectedNext::Closing(closing) => {
            closing.next().await?;
            return Ok(());
        }
    };
    loop {
        let (index, hash, header) = match next {
            Ok(root) => root,
            Err(child) => {
                let index = child.offset();
                let sequence = sequence.as_ref().context("children without their hashes")?;
                match usize::try_from(index - 1)
                    .ok()
                    .and_then(|i| sequence.get(i))
                {
                    Some(hash) => (index, hash, child.next(hash)),
                    None => {
                        child.finish().next().await?; // beyond the last child
                        return Ok(());
                    }
                }
            }
        };
        let (mut content, size) = header.next().await?;
        let payload = blake3::Hasher::new();
        let mut blob = Blob {
            index,
            hash,
            size,
            ranges: Vec::new(),
            payload,
            bytes: 0,
        };
        let mut file = files.create(index)?;
        let end = loop {
            match content.next().await {
                BlobContentNext::Done(end) => break end,
                BlobContentNext::More((rest, item)) => {
                    content = rest;
                    let item = match item {
                        Ok(item) => item,
                        Err(error) => {
                            if !quiet {
                                blob.report();
                            }
                            return Err(error.into());
                        }
                    };
                    if let BaoContentItem::Leaf(leaf) = item {
                        blob.add(leaf.offset, &leaf.data);
                        if index == 0 && keep_root {
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
        if !quiet {
            blob.report();
        }
        answer.blobs += 1;
        if index == 0 && keep_root {
            sequence = HashSeq::new(std::mem::take(&mut answer.root).into());
            answer.root = sequence
                .clone()
                .map(|s| s.into_inner().to_vec())
                .unwrap_or_default();
        }
        next = match end.next() {
            EndBlobNext::MoreChildren(child) => Err(child),
            EndBlobNext::Closing(closing) => {
                closing.next().await?;
                return Ok(());
            }
        };
    }
}

/// Fetches the hash sequence itself, for requests that name children only.
async fn fetch_sequence(connection: &Connection, hash: Hash) -> Result<HashSeq> {
    let (writer, reader) = connection.open_bi().await?;
    let mut spy = Spy::new(reader);
    let request = GetRequest::blob(hash);
    let start = tokio::time::Instant::now();
    let connected = AtConnected::new(start, &mut spy, writer, request, RequestCounters::default());
    let (answer, result) = receive(connected, hash, None, true, &Files { out: None }, true).await;
    result?;
    HashSeq::new(answer.root.into()).context("the root is no hash sequence")
}

/// The ranges asked for, per blob.
fn request_ranges(args: &Args, sequence: bool) -> Result<ChunkRangesSeq> {
    let proof = args.has("size-proof");
    let root = match (args.get("ranges"), proof) {
        (Some(_), true) => bail!("--ranges and --size-proof exclude each other"),
        (Some(spec), _) => parse_ranges(spec)?,
        (None, true) if !sequence => parse_ranges("last")?,
        (None, _) => ChunkRanges::all(),
    };
    if !sequence {
        return Ok(ChunkRangesSeq::from_ranges([root]));
    }
    let mut single = BTreeMap::new();
    for text in args.all("child") {
        let (number, spec) = text.split_once('=').context("--child is N=RANGES")?;
        let number: u64 = number.parse()?;
        if number >= 1 << 20 {
            bail!("child number too large");
        }
        single.insert(number, parse_ranges(spec)?);
    }
    if let Some((&last, _)) = single.last_key_value() {
        let children = (0..=last).map(|n| single.get(&n).cloned().unwrap_or_default());
        return Ok(ChunkRangesSeq::from_ranges(
            std::iter::once(root).chain(children),
        ));
    }
    let children =
        parse_ranges(
            args.get("children")
                .unwrap_or(if proof { "last" } else { "all" }),
        )?;
    Ok(ChunkRangesSeq::from_ranges_infinite([root, children]))
}

pub async fn run(input: Vec<String>) -> Result<bool> {
    let args = Args::parse(input, &VALUED, &FLAGS)?;
    let (addr, hash, format): (EndpointAddr, Hash, BlobFormat) = match args.get("ticket") {
        Some(ticket) => ticket.parse::<BlobTicket>()?.into_parts(),
        None => (
            provider_address(&args)?,
            parse_hash(args.need("hash")?)?,
            BlobFormat::Raw,
        ),
    };
    let sequence = format == BlobFormat::HashSeq || args.has("hashseq");
    let ranges = request_ranges(&args, sequence)?;
    let endpoint = bind(&args).await?;
    let connection = connect(&endpoint, addr, &args).await?;
    say(&format!("connected {}", connection.remote_id()));
    let all_of_root = args.get("ranges").is_none_or(|spec| spec == "all");
    let known = match sequence && !all_of_root {
        true => Some(fetch_sequence(&connection, hash).await?),
        false => None,
    };

    let request = GetRequest::new(hash, ranges);
    let wire = postcard::to_stdvec(&Request::Get(request.clone()))?;
    say(&format!("request {}", hex::encode(wire)));
    let (writer, reader) = connection.open_bi().await?;
    let mut spy = Spy::new(reader);
    let started = tokio::time::Instant::now();
    let connected = AtConnected::new(
        started,
        &mut spy,
        writer,
        request,
        RequestCounters::default(),
    );
    let files = Files {
        out: args.get("out"),
    };
    let limit = args.seconds("timeout", 60)?;
    let work = receive(connected, hash, known.as_ref(), sequence, &files, false);
    let (blobs, result) = match tokio::time::timeout(limit, work).await {
        Ok((answer, result)) => (answer.blobs, result),
        Err(_) => (0, Err(anyhow::anyhow!("no end in time"))),
    };
    let extra = match result {
        Ok(()) => tokio::time::timeout(limit, spy.drain()).await.unwrap_or(0),
        Err(_) => 0,
    };
    let end = spy.end.clone().unwrap_or_else(|| "open".into());
    say(&format!("blobs {blobs}"));
    say(&format!("stream {}", spy.bytes));
    say(&format!("extra {extra}"));
    say(&format!("end {end}"));
    say(&format!("milliseconds {}", started.elapsed().as_millis()));
    let fine = match &result {
        Ok(()) => extra == 0 && end == "fin",
        Err(error) => {
            say(&format!("error {error:#}"));
            false
        }
    };
    say(if fine { "result ok" } else { "result failed" });
    connection.close(0u32.into(), b"");
    endpoint.close().await;
    Ok(fine)
}
