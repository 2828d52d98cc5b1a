//! `peer echo`: the protocol of examples/quickstart/echo.cpp over iroh. Each stream of the dialer
//! comes back until its end, each datagram as it is.
use anyhow::{bail, ensure, Context, Result};
use bytes::Bytes;
use iroh::{
    endpoint::Connection,
    protocol::{AcceptError, ProtocolHandler, Router},
};
use tokio::{io::AsyncReadExt, task::JoinSet};

use crate::{args::Args, bind, connect_to, provider_address, say};

const ALPN: &[u8] = b"copse/echo/1";

#[derive(Debug, Clone)]
struct Echo;

impl ProtocolHandler for Echo {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        say(&format!("accepted {}", connection.remote_id()));
        let mut streams = JoinSet::new();
        let (mut copied, mut datagrams) = (0, 0);
        loop {
            tokio::select! {
                stream = connection.accept_bi() => {
                    let Ok((mut writer, mut reader)) = stream else { break };
                    copied += 1;
                    streams.spawn(async move {
                        // A dialer that leaves ends its streams: nobody is there to be told.
                        if tokio::io::copy(&mut reader, &mut writer).await.is_ok() {
                            let _ = writer.finish();
                            let _ = writer.stopped().await;
                        }
                    });
                }
                datagram = connection.read_datagram() => {
                    let Ok(datagram) = datagram else { break };
                    datagrams += 1;
                    let _ = connection.send_datagram_wait(datagram).await;
                }
            }
        }
        while streams.join_next().await.is_some() {}
        say(&format!("echoed {copied} {datagrams}"));
        Ok(())
    }
}

async fn serve(args: Args) -> Result<bool> {
    let endpoint = bind(&args).await?;
    say(&format!("id {}", endpoint.id()));
    for socket in endpoint.bound_sockets() {
        say(&format!("addr {socket}"));
    }
    let router = Router::builder(endpoint).accept(ALPN, Echo).spawn();
    say("ready");
    let mut sink = [0u8; 256];
    let mut input = tokio::io::stdin();
    while matches!(input.read(&mut sink).await, Ok(n) if n > 0) {}
    router.shutdown().await?;
    Ok(true)
}

/// Bytes that differ from stream to stream and never repeat soon.
fn pattern(seed: u64, size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes.into()
}

async fn echo_stream(connection: Connection, seed: u64, size: usize) -> Result<()> {
    let (mut writer, mut reader) = connection.open_bi().await?;
    let sent = pattern(seed, size);
    let copy = sent.clone();
    let writing = tokio::spawn(async move {
        writer.write_all(&copy).await?;
        writer.finish()?;
        anyhow::Ok(())
    });
    let got = reader.read_to_end(size + 1).await?;
    writing.await??;
    ensure!(got == sent, "stream {seed} came back otherwise");
    Ok(())
}

/// Sends each datagram until it comes back: they may be lost.
/// `limit` is for servers that may send less than we may: the packets of the two ways differ.
async fn echo_datagrams(connection: &Connection, count: u64, limit: usize) -> Result<()> {
    let most = connection
        .max_datagram_size()
        .context("the other side takes no datagrams")?;
    say(&format!("max-datagram {most}"));
    let most = most.min(limit);
    for n in 0..count {
        // From the smallest to the largest; the first eight bytes name it.
        let size = 8 + (most - 8) * n as usize / (count as usize - 1).max(1);
        let sent = Bytes::from([&n.to_le_bytes()[..], &pattern(n, size - 8)].concat());
        let mut tries = 0;
        loop {
            tries += 1;
            ensure!(tries <= 20, "datagram {n} was lost each time");
            connection.send_datagram(sent.clone())?;
            let answer = async {
                loop {
                    let got = connection.read_datagram().await?;
                    ensure!(got.len() >= 8, "a datagram of {} bytes", got.len());
                    if got[..8] == sent[..8] {
                        return Ok(got);
                    }
                }
            };
            let second = std::time::Duration::from_secs(1);
            if let Ok(got) = tokio::time::timeout(second, answer).await {
                ensure!(got? == sent, "datagram {n} came back otherwise");
                break;
            }
        }
    }
    Ok(())
}

async fn dial(args: Args) -> Result<bool> {
    let number = |name, default: u64| match args.get(name) {
        Some(text) => text.parse::<u64>().with_context(|| name.to_string()),
        None => Ok(default),
    };
    let (streams, bytes) = (number("streams", 1)?, number("bytes", 1000)? as usize);
    let datagrams = number("datagrams", 0)?;
    let limit = number("datagram-bytes", 65536)? as usize;
    let endpoint = bind(&args).await?;
    let connection = connect_to(&endpoint, provider_address(&args)?, ALPN, &args).await?;
    say(&format!("connected {}", connection.remote_id()));
    let work = async {
        let mut all = JoinSet::new();
        for n in 0..streams {
            all.spawn(echo_stream(connection.clone(), n, bytes));
        }
        while let Some(done) = all.join_next().await {
            done??;
        }
        say(&format!("streams {streams}"));
        if datagrams > 0 {
            echo_datagrams(&connection, datagrams, limit).await?;
            say(&format!("datagrams {datagrams}"));
        }
        anyhow::Ok(())
    };
    let result = tokio::time::timeout(args.seconds("timeout", 60)?, work).await;
    let fine = match result.unwrap_or_else(|_| Err(anyhow::anyhow!("no end in time"))) {
        Ok(()) => true,
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

pub async fn run(mut input: Vec<String>) -> Result<bool> {
    let valued = [
        "id",
        "addr",
        "bind",
        "timeout",
        "streams",
        "bytes",
        "datagrams",
        "datagram-bytes",
    ];
    let how = if input.is_empty() {
        String::new()
    } else {
        input.remove(0)
    };
    let args = Args::parse(input, &valued, &[])?;
    match how.as_str() {
        "serve" => serve(args).await,
        "dial" => dial(args).await,
        _ => bail!("usage: peer echo serve|dial ..."),
    }
}
