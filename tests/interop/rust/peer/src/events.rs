//! What `peer provide` allows, refuses and tells of requests.
use anyhow::{bail, Result};
use iroh_blobs::provider::events::{
    AbortReason, ConnectMode, EventMask, EventResult, EventSender, ObserveMode, ProviderMessage,
    RequestMode, RequestUpdate,
};
use tokio::task::{JoinHandle, JoinSet};

use crate::{args::Args, say};

const LOG_STEP: u64 = 16 << 20;

/// What is answered to a kind of request that is asked about.
fn verdict(args: &Args, kind: &str) -> EventResult {
    if args.all("refuse").any(|refused| refused == kind) {
        Err(AbortReason::Permission)
    } else if args.all("limit").any(|limited| limited == kind) {
        Err(AbortReason::RateLimited)
    } else {
        Ok(())
    }
}

fn mask(args: &Args) -> Result<EventMask> {
    let mut mask = EventMask::DEFAULT;
    if args.has("log") {
        mask.get = RequestMode::NotifyLog;
    }
    if args.has("allow-push") {
        mask.push = RequestMode::Intercept;
    }
    for kind in args.all("refuse").chain(args.all("limit")) {
        match kind {
            "connect" => mask.connected = ConnectMode::Intercept,
            "get" => mask.get = RequestMode::InterceptLog,
            "get-many" => mask.get_many = RequestMode::Intercept,
            "push" => mask.push = RequestMode::Intercept,
            "observe" => mask.observe = ObserveMode::Intercept,
            _ => bail!("there are no requests of the kind {kind}"),
        }
    }
    Ok(mask)
}

/// With `--log`: `sent INDEX BYTES` in steps of 16 MiB and `served PAYLOAD OTHER` when a request
/// has ended, both for get requests.
/// Events carry offsets only, so the count starts at the first one: a size proof counts nothing.
async fn log(mut updates: irpc::channel::mpsc::Receiver<RequestUpdate>) {
    let (mut index, mut first, mut next) = (0, None, LOG_STEP);
    while let Ok(Some(update)) = updates.recv().await {
        let stats = match update {
            RequestUpdate::Started(started) => {
                (index, first, next) = (started.index, None, LOG_STEP);
                continue;
            }
            RequestUpdate::Progress(progress) => {
                let start = *first.get_or_insert(progress.end_offset);
                let sent = progress.end_offset.saturating_sub(start);
                if sent >= next {
                    say(&format!("sent {index} {sent}"));
                    next = sent + LOG_STEP;
                }
                continue;
            }
            RequestUpdate::Completed(end) => end.stats,
            RequestUpdate::Aborted(end) => end.stats,
        };
        let (payload, other) = (stats.payload_bytes_sent, stats.other_bytes_sent);
        say(&format!("served {payload} {other}"));
    }
}

/// The sender for the protocol handler, and the task that answers, which ends when that is gone.
pub fn listen(args: &Args) -> Result<(EventSender, JoinHandle<()>)> {
    let (tx, mut rx) = tokio::sync::mpsc::channel(64);
    let mask = mask(args)?;
    let args = args.clone();
    let task = tokio::spawn(async move {
        let mut requests = JoinSet::new();
        while let Some(message) = rx.recv().await {
            // A requester that left does not wait for its verdict.
            let _ = match message {
                ProviderMessage::GetRequestReceivedNotify(message) => {
                    requests.spawn(log(message.rx));
                    continue;
                }
                ProviderMessage::ClientConnected(message) => {
                    message.tx.send(verdict(&args, "connect")).await
                }
                ProviderMessage::GetRequestReceived(message) => {
                    message.tx.send(verdict(&args, "get")).await
                }
                ProviderMessage::GetManyRequestReceived(message) => {
                    message.tx.send(verdict(&args, "get-many")).await
                }
                ProviderMessage::PushRequestReceived(message) => {
                    say(&format!("push {}", message.inner.request.hash.to_hex()));
                    message.tx.send(verdict(&args, "push")).await
                }
                ProviderMessage::ObserveRequestReceived(message) => {
                    message.tx.send(verdict(&args, "observe")).await
                }
                _ => continue,
            };
        }
        while requests.join_next().await.is_some() {}
    });
    Ok((EventSender::new(tx, mask), task))
}
