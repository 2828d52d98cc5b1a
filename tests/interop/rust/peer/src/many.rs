//! `peer get-many`: one GetMany request through the client of iroh-blobs.
use anyhow::{Context, Result};
use iroh_blobs::{
    get::fsm::{start_get_many, ConnectedNext, RequestCounters},
    hashseq::HashSeq,
    protocol::{ChunkRangesSeq, GetManyRequest, Request},
    Hash,
};

use crate::{
    answer::{Answer, Kind, Reader},
    args::{parse_hash, parse_ranges, Args},
    bind, connect, provider_address, say,
    spy::end_of,
};

const VALUED: [&str; 6] = ["id", "addr", "blob", "out", "bind", "timeout"];

pub async fn run(input: Vec<String>) -> Result<bool> {
    let args = Args::parse(input, &VALUED, &[])?;
    let (mut hashes, mut ranges) = (Vec::new(), Vec::new());
    for text in args.all("blob") {
        let (hash, spec) = text.split_once('=').unwrap_or((text, "all"));
        hashes.push(parse_hash(hash)?);
        ranges.push(parse_ranges(spec)?);
    }
    let endpoint = bind(&args).await?;
    let connection = connect(&endpoint, provider_address(&args)?, &args).await?;
    say(&format!("connected {}", connection.remote_id()));

    let request = GetManyRequest::new(hashes.clone(), ChunkRangesSeq::from_ranges(ranges));
    let wire = postcard::to_stdvec(&Request::GetMany(request.clone()))?;
    say(&format!("request {}", hex::encode(wire)));
    let mut answer = Answer::default();
    let mut reader = Reader {
        kind: Kind::GetMany,
        root: Hash::EMPTY, // not looked at: every index is a child
        known: Some(hashes.into_iter().collect::<HashSeq>()),
        keep_root: false,
        out: args.get("out"),
        quiet: false,
    };
    let work = async {
        let counters = RequestCounters::default();
        let first = match start_get_many(connection.clone(), request, counters).await? {
            Ok(child) => ConnectedNext::StartChild(child),
            Err(closing) => ConnectedNext::Closing(closing),
        };
        reader.receive(first, &mut answer).await
    };
    let result = match tokio::time::timeout(args.seconds("timeout", 60)?, work).await {
        Ok(result) => result,
        Err(_) => Err(anyhow::anyhow!("no end in time")),
    };
    say(&format!("blobs {}", answer.blobs));
    if result.is_ok() {
        let stats = answer.stats.context("no statistics after a good end")?;
        say(&format!("stream {}", stats.total_bytes_read()));
        say("end fin");
    }
    if let Err(error) = &result {
        say(&format!("end {}", end_of(error.as_ref())));
        say(&format!("error {error:#}"));
    }
    say(if result.is_ok() {
        "result ok"
    } else {
        "result failed"
    });
    connection.close(0u32.into(), b"");
    endpoint.close().await;
    Ok(result.is_ok())
}
