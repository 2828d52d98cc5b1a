//! `peer provide`: serves blobs of iroh-blobs until standard input ends.
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{bail, Context, Result};
use iroh::{
    protocol::{IncomingFilterOutcome, Router},
    EndpointAddr,
};
use iroh_blobs::{
    api::{blobs::AddBytesOptions, Store, TempTag},
    format::collection::Collection,
    hashseq::HashSeq,
    store::{fs::FsStore, mem::MemStore},
    ticket::BlobTicket,
    BlobFormat, BlobsProtocol, Hash,
};
use tokio::io::AsyncReadExt;

use crate::{
    args::{parse_ranges, Args},
    bind, events, say,
};

const VALUED: [&str; 9] = [
    "bind",
    "secret",
    "store",
    "collection",
    "collection-missing",
    "partial",
    "missing-at",
    "refuse",
    "limit",
];
const FLAGS: [&str; 6] = [
    "mem",
    "hashseq",
    "hashseq-missing",
    "log",
    "allow-push",
    "retry",
];

/// A hash of which nobody has the blob.
fn absent_hash() -> Hash {
    Hash::from_bytes(*blake3::hash(b"copse: nobody has this blob").as_bytes())
}

/// A folder that is removed at the end, unless it was given by `--store`.
struct StoreFolder {
    path: PathBuf,
    ours: bool,
}

impl StoreFolder {
    fn new(args: &Args) -> Self {
        match args.get("store") {
            Some(path) => Self {
                path: path.into(),
                ours: false,
            },
            None => Self {
                path: std::env::temp_dir().join(format!("copse-peer-{}", std::process::id())),
                ours: true,
            },
        }
    }
}

impl Drop for StoreFolder {
    fn drop(&mut self) {
        if self.ours {
            // It does not exist with --mem; nothing depends on its removal.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Everything that is served: the handles keep the blobs alive.
struct Served {
    store: Store,
    addr: EndpointAddr,
    tags: Vec<TempTag>,
}

impl Served {
    fn ticket(&self, what: &str, hash: Hash, format: BlobFormat) {
        let ticket = BlobTicket::new(self.addr.clone(), hash, format);
        say(&format!("ticket {what} {} {ticket}", hash.to_hex()));
    }

    async fn file(&mut self, path: &str) -> Result<Hash> {
        let full = std::path::absolute(path)?;
        let size = std::fs::metadata(&full)
            .with_context(|| path.to_string())?
            .len();
        let tag = self.store.blobs().add_path(full).temp_tag().await?;
        let hash = tag.hash();
        self.tags.push(tag);
        say(&format!("hash {} {size} {path}", hash.to_hex()));
        self.ticket("raw", hash, BlobFormat::Raw);
        Ok(hash)
    }

    async fn sequence(&mut self, what: &str, hashes: Vec<Hash>) -> Result<()> {
        let size = hashes.len() * 32;
        let data = hashes.into_iter().collect::<HashSeq>().into();
        let options = AddBytesOptions {
            data,
            format: BlobFormat::HashSeq,
        };
        let tag = self
            .store
            .blobs()
            .add_bytes_with_opts(options)
            .temp_tag()
            .await?;
        let hash = tag.hash();
        self.tags.push(tag);
        say(&format!("{what} {} {size}", hash.to_hex()));
        self.ticket(what, hash, BlobFormat::HashSeq);
        Ok(())
    }

    /// Only some chunks of a file: encoded by a store that has all of it, imported into ours.
    async fn partial(&mut self, path: &str, spec: &str) -> Result<()> {
        let ranges = parse_ranges(spec)?;
        let whole = MemStore::new();
        let data = std::fs::read(path).with_context(|| path.to_string())?;
        let size = data.len();
        let hash = whole.blobs().add_bytes(data).temp_tag().await?;
        let encoded = whole
            .blobs()
            .export_bao(hash.hash(), ranges.clone())
            .bao_to_vec()
            .await?;
        // The tag comes first: without one the store may drop what is imported.
        let batch = iroh_blobs::HashAndFormat::raw(hash.hash());
        self.tags.push(self.store.tags().temp_tag(batch).await?);
        self.store
            .blobs()
            .import_bao_bytes(hash.hash(), ranges, encoded)
            .await?;
        say(&format!("partial {} {size} {path}", hash.hash().to_hex()));
        self.ticket("partial", hash.hash(), BlobFormat::Raw);
        Ok(())
    }
}

pub async fn run(input: Vec<String>) -> Result<bool> {
    let args = Args::parse(input, &VALUED, &FLAGS)?;
    let folder = StoreFolder::new(&args);
    let store: Store = match args.has("mem") {
        true => MemStore::new().into(),
        false => {
            let path: &Path = &folder.path;
            std::fs::create_dir_all(path).with_context(|| path.display().to_string())?;
            FsStore::load(path).await?.into()
        }
    };
    let endpoint = bind(&args).await?;
    let mut addr = EndpointAddr::new(endpoint.id());
    for socket in endpoint.bound_sockets() {
        addr = addr.with_ip_addr(socket);
    }
    say(&format!("id {}", endpoint.id()));
    for socket in endpoint.bound_sockets() {
        say(&format!("addr {socket}"));
    }
    let mut served = Served {
        store: store.clone(),
        addr,
        tags: Vec::new(),
    };

    let mut hashes = Vec::new();
    for path in &args.words {
        hashes.push(served.file(path).await?);
    }
    if args.has("hashseq") {
        served.sequence("hashseq", hashes.clone()).await?;
    }
    if args.has("hashseq-missing") {
        let at = match args.get("missing-at") {
            Some(text) => text.parse()?,
            None => hashes.len() / 2,
        };
        if at > hashes.len() {
            bail!("--missing-at is beyond the end");
        }
        let mut holed = hashes.clone();
        holed.insert(at, absent_hash());
        say(&format!("missing {at} {}", absent_hash().to_hex()));
        served.sequence("hashseq-missing", holed).await?;
    }
    for text in args.all("partial") {
        let (path, spec) = text.rsplit_once('=').context("--partial is PATH=RANGES")?;
        served.partial(path, spec).await?;
    }
    let mut collection = Collection::default();
    for text in args.all("collection") {
        let (name, path) = text.split_once('=').context("--collection is NAME=PATH")?;
        let hash = served.file(path).await?;
        collection.push(name.into(), hash);
    }
    for name in args.all("collection-missing") {
        collection.push(name.into(), absent_hash());
    }
    if !collection.is_empty() {
        let tag = collection.store(&store).await?;
        say(&format!("collection {}", tag.hash().to_hex()));
        served.ticket("collection", tag.hash(), BlobFormat::HashSeq);
        served.tags.push(tag);
    }

    let (events, told) = events::listen(&args)?;
    let blobs = BlobsProtocol::new(&store, Some(events));
    let mut router = Router::builder(endpoint).accept(iroh_blobs::ALPN, blobs);
    if args.has("retry") {
        router = router.incoming_filter(Arc::new(|incoming| {
            if incoming.remote_addr_validated() {
                return IncomingFilterOutcome::Accept;
            }
            say("retry");
            IncomingFilterOutcome::Retry
        }));
    }
    let router = router.spawn();
    say("ready");
    let mut sink = [0u8; 256];
    let mut input = tokio::io::stdin();
    while matches!(input.read(&mut sink).await, Ok(n) if n > 0) {}
    router.shutdown().await?;
    drop(router);
    // What was served is in the pipe by now; a client that vanished must not hold up the end.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), told).await;
    Ok(true)
}
