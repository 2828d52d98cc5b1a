//! `peer raw`: bytes of the caller's choice on a stream, for tests of the wire.
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{args::Args, bind, connect, provider_address, say, spy::describe};

const VALUED: [&str; 8] = [
    "id", "addr", "hex", "file", "out", "bind", "timeout", "wait",
];
const FLAGS: [&str; 1] = ["no-fin"];
const HEAD: usize = 64;

pub async fn run(input: Vec<String>) -> Result<bool> {
    let args = Args::parse(input, &VALUED, &FLAGS)?;
    let mut request = hex::decode(args.need("hex")?).context("--hex")?;
    if let Some(path) = args.get("file") {
        request.extend(std::fs::read(path).with_context(|| path.to_string())?);
    }
    let endpoint = bind(&args).await?;
    let connection = connect(&endpoint, provider_address(&args)?, &args).await?;
    say(&format!("connected {}", connection.remote_id()));
    let (mut writer, mut reader) = connection.open_bi().await?;
    // A provider may refuse before it has read everything: that shows as `stop`, not as a failure.
    let _ = writer.write_all(&request).await;
    if !args.has("no-fin") {
        let _ = writer.finish();
    }

    let limit = args.seconds("wait", 5)?;
    let mut reply = Vec::new();
    let mut buffer = vec![0u8; 65536];
    let end = loop {
        match tokio::time::timeout(limit, reader.read(&mut buffer)).await {
            Err(_) => break "silence".to_string(),
            Ok(Ok(None)) => break "fin".to_string(),
            Ok(Ok(Some(n))) => reply.extend_from_slice(&buffer[..n]),
            Ok(Err(error)) => break describe(&error),
        }
    };
    let stopped = tokio::time::timeout(Duration::from_millis(300), writer.stopped()).await;
    let stop = match stopped {
        Ok(Ok(Some(code))) => code.to_string(),
        _ => "none".to_string(),
    };
    if let Some(path) = args.get("out") {
        std::fs::write(path, &reply).with_context(|| path.to_string())?;
    }
    say(&format!("bytes {}", reply.len()));
    say(&format!("blake3 {}", blake3::hash(&reply).to_hex()));
    say(&format!(
        "head {}",
        hex::encode(&reply[..reply.len().min(HEAD)])
    ));
    say(&format!("stop {stop}"));
    say(&format!("end {end}"));
    connection.close(0u32.into(), b"");
    endpoint.close().await;
    Ok(end == "fin")
}
