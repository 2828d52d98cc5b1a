//! `peer push`: a blob or a hash sequence given to a provider, through iroh-blobs.
use anyhow::{bail, Context, Result};
use bao_tree::ChunkRanges;
use iroh::endpoint::Connection;
use iroh_blobs::{
    api::Store,
    protocol::{ChunkRangesSeq, PushRequest},
    store::mem::MemStore,
    Hash,
};
use tokio::task::JoinSet;

use crate::{
    args::{parse_ranges, Args},
    bind, connect,
    observe::watch,
    provider_address, say,
    spy::stop_of,
};

const VALUED: [&str; 7] = ["id", "addr", "ranges", "corrupt", "bind", "timeout", "wait"];
const FLAGS: [&str; 2] = ["hashseq", "no-confirm"];

/// The bytes of a push, with a bit of byte `at` flipped, on a stream of our own; the client of
/// iroh-blobs sends only what is right. Gives the code by which we were stopped.
async fn push_spoilt(
    connection: &Connection,
    store: &Store,
    hash: Hash,
    request: &PushRequest,
    ranges: ChunkRanges,
    at: usize,
) -> Result<Option<u64>> {
    let mut body = store.blobs().export_bao(hash, ranges).bao_to_vec().await?;
    *body.get_mut(at).context("--corrupt is beyond the end")? ^= 1;
    let encoded = postcard::to_stdvec(request)?;
    let mut head = vec![8u8];
    head.extend(postcard::to_stdvec(&(encoded.len() as u64))?);
    head.extend(encoded);
    let (mut writer, mut reader) = connection.open_bi().await?;
    reader.stop(0u32.into())?;
    // Whether all of it gets out depends on when the receiver notices: the code says it all.
    let _ = writer.write_all(&head).await;
    let _ = writer.write_all(&body).await;
    let _ = writer.finish();
    Ok(writer.stopped().await?.map(u64::from))
}

pub async fn run(input: Vec<String>) -> Result<bool> {
    let args = Args::parse(input, &VALUED, &FLAGS)?;
    let store: Store = MemStore::new().into();
    let mut hashes = Vec::new();
    for path in &args.words {
        let data = std::fs::read(path).with_context(|| path.clone())?;
        let size = data.len();
        let tag = store.blobs().add_bytes(data).await?; // a tag with a name: it stays
        say(&format!("hash {} {size} {path}", tag.hash.to_hex()));
        hashes.push(tag.hash);
    }
    let ranges = parse_ranges(args.get("ranges").unwrap_or("all"))?;
    let requests = if args.has("hashseq") {
        let sequence: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        let root = store.blobs().add_bytes(sequence).await?.hash;
        say(&format!("hashseq {}", root.to_hex()));
        hashes.insert(0, root);
        vec![PushRequest::new(root, ChunkRangesSeq::all())]
    } else {
        let each =
            |hash: &Hash| PushRequest::new(*hash, ChunkRangesSeq::from_ranges([ranges.clone()]));
        hashes.iter().map(each).collect()
    };

    let endpoint = bind(&args).await?;
    let connection = connect(&endpoint, provider_address(&args)?, &args).await?;
    say(&format!("connected {}", connection.remote_id()));
    let limit = args.seconds("timeout", 60)?;
    if let Some(at) = args.get("corrupt") {
        let [request] = &requests[..] else {
            bail!("--corrupt is for one PATH");
        };
        let at = at.parse()?;
        let work = push_spoilt(&connection, &store, hashes[0], request, ranges.clone(), at);
        let stop = tokio::time::timeout(limit, work).await??;
        let stop = stop.map_or("none".into(), |code| code.to_string());
        say(&format!("stop {stop}"));
    } else {
        let mut all = JoinSet::new();
        for request in requests {
            let work = store.remote().execute_push(connection.clone(), request);
            all.spawn(tokio::time::timeout(limit, work.complete()));
        }
        while let Some(done) = all.join_next().await {
            match done?? {
                Ok(_) => say("pushed"),
                Err(error) => {
                    let error = error.into_boxed_dyn_error();
                    let stop = stop_of(error.as_ref()).map(|code| code.to_string());
                    say(&format!("stop {}", stop.unwrap_or("none".into())));
                    say(&format!("error {error}"));
                }
            }
        }
    }

    // Nobody acknowledges a push: whoever wants to know asks what is there now.
    let mut fine = true;
    if !args.has("no-confirm") {
        for hash in hashes.into_iter().filter(|hash| *hash != Hash::EMPTY) {
            let whole = ranges == ChunkRanges::all();
            let work = watch(&connection, hash, |state| match whole {
                true => state.is_complete(),
                false => state.ranges.is_superset(&ranges),
            });
            fine = matches!(
                tokio::time::timeout(args.seconds("wait", 5)?, work).await,
                Ok(Ok(_))
            );
            if !fine {
                break;
            }
            say(&format!("confirmed {}", hash.to_hex()));
        }
    }
    say(if fine { "result ok" } else { "result failed" });
    connection.close(0u32.into(), b"");
    endpoint.close().await;
    Ok(fine)
}
