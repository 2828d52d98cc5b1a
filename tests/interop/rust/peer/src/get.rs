//! `peer get`: one Get request through the client of iroh-blobs, which verifies what arrives.
use std::collections::BTreeMap;

use anyhow::{bail, Context, Result};
use bao_tree::ChunkRanges;
use iroh::{endpoint::Connection, EndpointAddr};
use iroh_blobs::{
    get::fsm::{AtConnected, RequestCounters},
    hashseq::HashSeq,
    protocol::{ChunkRangesSeq, GetRequest, Request},
    ticket::BlobTicket,
    BlobFormat, Hash,
};

use crate::{
    answer::{Answer, Kind, Reader},
    args::{parse_hash, parse_ranges, Args},
    bind, connect, provider_address, say,
    spy::Spy,
};

const VALUED: [&str; 10] = [
    "ticket", "id", "addr", "hash", "ranges", "children", "child", "out", "bind", "timeout",
];
const FLAGS: [&str; 2] = ["size-proof", "hashseq"];

/// Fetches the hash sequence itself, for requests that name children only.
async fn fetch_sequence(connection: &Connection, hash: Hash) -> Result<HashSeq> {
    let (writer, stream) = connection.open_bi().await?;
    let start = tokio::time::Instant::now();
    let request = GetRequest::blob(hash);
    let mut spy = Spy::new(stream);
    let connected = AtConnected::new(start, &mut spy, writer, request, RequestCounters::default());
    let mut answer = Answer::default();
    let mut reader = Reader {
        kind: Kind::Get,
        root: hash,
        known: None,
        keep_root: true,
        out: None,
        quiet: true,
    };
    reader.receive(connected.next().await?, &mut answer).await?;
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
    let (writer, stream) = connection.open_bi().await?;
    let mut spy = Spy::new(stream);
    let started = tokio::time::Instant::now();
    let connected = AtConnected::new(
        started,
        &mut spy,
        writer,
        request,
        RequestCounters::default(),
    );
    let mut answer = Answer::default();
    let mut reader = Reader {
        kind: Kind::Get,
        root: hash,
        known,
        keep_root: sequence,
        out: args.get("out"),
        quiet: false,
    };
    let limit = args.seconds("timeout", 60)?;
    let work = async { reader.receive(connected.next().await?, &mut answer).await };
    let result = match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(anyhow::anyhow!("no end in time")),
    };
    let extra = match result {
        Ok(()) => tokio::time::timeout(limit, spy.drain()).await.unwrap_or(0),
        Err(_) => 0,
    };
    let end = spy.end.clone().unwrap_or_else(|| "open".into());
    say(&format!("blobs {}", answer.blobs));
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
