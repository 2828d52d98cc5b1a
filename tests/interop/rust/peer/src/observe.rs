//! `peer observe`: what a provider has of a blob, and how that grows, through iroh-blobs.
use anyhow::{Context, Result};
use bao_tree::ChunkRanges;
use iroh::endpoint::Connection;
use iroh_blobs::{protocol::ObserveRequest, store::mem::MemStore, Hash};
use n0_future::StreamExt;

use crate::{
    args::{parse_hash, Args},
    bind, connect, provider_address, say,
    spy::end_of,
};

const VALUED: [&str; 7] = ["id", "addr", "hash", "items", "bind", "timeout", "wait"];
const FLAGS: [&str; 1] = ["complete"];

/// `0-64,70-` or `none`.
pub fn describe_ranges(ranges: &ChunkRanges) -> String {
    if ranges.is_empty() {
        return "none".into();
    }
    let mut text = String::new();
    for (place, boundary) in ranges.boundaries().iter().enumerate() {
        if place % 2 == 0 && place > 0 {
            text.push(',');
        }
        text.push_str(&boundary.0.to_string());
        if place % 2 == 0 {
            text.push('-');
        }
    }
    text
}

/// What is known of a blob after some items: each changes the ranges where it differs.
#[derive(Default)]
pub struct State {
    pub size: u64,
    pub ranges: ChunkRanges,
}

impl State {
    pub fn is_complete(&self) -> bool {
        self.ranges == ChunkRanges::all()
    }
}

/// Watches until `enough` says so. The outer error is a timeout or the end of the stream.
pub async fn watch(
    connection: &Connection,
    hash: Hash,
    mut enough: impl FnMut(&State) -> bool,
) -> Result<State> {
    let store = MemStore::new(); // the call hangs on a store, though it uses none
    let stream = store
        .remote()
        .observe(connection.clone(), ObserveRequest::new(hash));
    tokio::pin!(stream);
    let mut state = State::default();
    loop {
        let item = stream.next().await.context("the stream ended")??;
        say(&format!(
            "item {} {}",
            item.size(),
            describe_ranges(&item.ranges)
        ));
        state.size = item.size();
        state.ranges ^= item.ranges;
        if enough(&state) {
            return Ok(state);
        }
    }
}

pub async fn run(input: Vec<String>) -> Result<bool> {
    let args = Args::parse(input, &VALUED, &FLAGS)?;
    let hash = parse_hash(args.need("hash")?)?;
    let items: u64 = args.get("items").unwrap_or("0").parse()?;
    let endpoint = bind(&args).await?;
    let connection = connect(&endpoint, provider_address(&args)?, &args).await?;
    say(&format!("connected {}", connection.remote_id()));
    let mut seen = 0;
    let work = watch(&connection, hash, |state| {
        seen += 1;
        seen == items || (args.has("complete") && state.is_complete())
    });
    let fine = match tokio::time::timeout(args.seconds("wait", 5)?, work).await {
        Err(_) => {
            say("end silence");
            false
        }
        Ok(Ok(state)) => {
            let ranges = describe_ranges(&state.ranges);
            say(&format!("state {} {ranges}", state.size));
            say("end left");
            true
        }
        Ok(Err(error)) => {
            say(&format!("end {}", end_of(error.as_ref())));
            say(&format!("error {error:#}"));
            false
        }
    };
    say(if fine { "result ok" } else { "result failed" });
    connection.close(0u32.into(), b"");
    endpoint.close().await;
    Ok(fine)
}
