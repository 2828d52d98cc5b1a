//! A small driver of iroh and iroh-blobs for the interoperability tests of copse. It prints plain
//! `key value` lines; ../../../README.md lists them. No relay, no discovery, loopback by default.
mod answer;
mod args;
mod echo;
mod events;
mod get;
mod inspect;
mod many;
mod observe;
mod provide;
mod push;
mod raw;
mod spy;

use std::net::SocketAddr;

use anyhow::{Context, Result};
use args::Args;
use iroh::{
    endpoint::{presets, Connection},
    Endpoint, EndpointAddr, EndpointId, RelayMode, SecretKey,
};

const USAGE: &str = "usage: peer provide|get|get-many|push|observe|raw|echo|hash|ticket ..., \
                     see tests/interop/README.md";

/// An endpoint with one UDP socket: `--bind`, else a free port of 127.0.0.1.
async fn bind(args: &Args) -> Result<Endpoint> {
    let address: SocketAddr = args.get("bind").unwrap_or("127.0.0.1:0").parse()?;
    let mut builder = Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .clear_ip_transports()
        .bind_addr(address)?;
    if let Some(secret) = args.get("secret") {
        builder = builder.secret_key(secret.parse::<SecretKey>()?);
    }
    Ok(builder.bind().await?)
}

/// A connection for blobs to `addr`, bounded by `--timeout` (60 s).
async fn connect(endpoint: &Endpoint, addr: EndpointAddr, args: &Args) -> Result<Connection> {
    connect_to(endpoint, addr, iroh_blobs::ALPN, args).await
}

async fn connect_to(
    endpoint: &Endpoint,
    addr: EndpointAddr,
    alpn: &[u8],
    args: &Args,
) -> Result<Connection> {
    let dial = endpoint.connect(addr, alpn);
    Ok(tokio::time::timeout(args.seconds("timeout", 60)?, dial)
        .await
        .context("no connection in time")??)
}

/// The provider named by `--id HEX --addr IP:PORT`.
fn provider_address(args: &Args) -> Result<EndpointAddr> {
    let id: EndpointId = args.need("id")?.parse()?;
    Ok(EndpointAddr::new(id).with_ip_addr(args.need("addr")?.parse()?))
}

/// Writes a line at once: the runner reads through a pipe.
pub fn say(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    // A reader that went away is no failure of ours: the exit code still tells the result.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

async fn run() -> Result<bool> {
    let mut input: Vec<String> = std::env::args().skip(1).collect();
    let command = if input.is_empty() {
        String::new()
    } else {
        input.remove(0)
    };
    match command.as_str() {
        "provide" => provide::run(input).await,
        "get" => get::run(input).await,
        "get-many" => many::run(input).await,
        "push" => push::run(input).await,
        "observe" => observe::run(input).await,
        "echo" => echo::run(input).await,
        "raw" => raw::run(input).await,
        "hash" => inspect::hash(input),
        "ticket" => inspect::ticket(input),
        _ => anyhow::bail!(USAGE),
    }
}

/// Exit code: 0 as asked, 1 when the peer did not answer as asked (the lines say how), 2 when the
/// program itself could not do its part.
#[tokio::main]
async fn main() {
    let code = match run().await {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            eprintln!("peer: {error:#}");
            2
        }
    };
    std::process::exit(code);
}
