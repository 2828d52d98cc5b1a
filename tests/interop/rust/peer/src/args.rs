//! Command line: `--name value`, `--flag`, and plain words. No library: the build stays small.
use anyhow::{bail, Context, Result};
use bao_tree::{ChunkNum, ChunkRanges};
use iroh_blobs::Hash;

/// What was given after the subcommand.
#[derive(Clone)]
pub struct Args {
    options: Vec<(String, String)>,
    pub words: Vec<String>,
}

impl Args {
    /// `flags` take no value; every other `--name` that is in `valued` takes the next argument.
    pub fn parse(input: Vec<String>, valued: &[&str], flags: &[&str]) -> Result<Self> {
        let mut out = Self {
            options: Vec::new(),
            words: Vec::new(),
        };
        let mut rest = input.into_iter();
        while let Some(arg) = rest.next() {
            if arg == "--" {
                out.words.extend(rest.by_ref());
            } else if let Some(name) = arg.strip_prefix("--") {
                let value = if flags.contains(&name) {
                    String::new()
                } else if valued.contains(&name) {
                    rest.next()
                        .with_context(|| format!("--{name} needs a value"))?
                } else {
                    bail!("unknown option --{name}");
                };
                out.options.push((name.into(), value));
            } else {
                out.words.push(arg);
            }
        }
        Ok(out)
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.options
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> + 'a {
        self.options
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    pub fn need(&self, name: &str) -> Result<&str> {
        self.get(name)
            .with_context(|| format!("--{name} is missing"))
    }

    pub fn seconds(&self, name: &str, default: u64) -> Result<std::time::Duration> {
        let seconds = match self.get(name) {
            Some(text) => text.parse().with_context(|| format!("--{name} {text}"))?,
            None => default,
        };
        Ok(std::time::Duration::from_secs(seconds))
    }
}

/// Chunk ranges: a comma list of `a-b` (half open), `a-` (to the end), `a` (one chunk), `last`,
/// `all`, `none`. A chunk is 1 KiB.
pub fn parse_ranges(spec: &str) -> Result<ChunkRanges> {
    let mut ranges = ChunkRanges::empty();
    for part in spec.split(',') {
        ranges |= match part {
            "all" => ChunkRanges::all(),
            "none" => ChunkRanges::empty(),
            "last" => ChunkRanges::from(ChunkNum(u64::MAX)..),
            _ => match part.split_once('-') {
                None => {
                    let a: u64 = part.parse().with_context(|| format!("range {part}"))?;
                    let end = a.checked_add(1).context("chunk number too large")?;
                    ChunkRanges::from(ChunkNum(a)..ChunkNum(end))
                }
                Some((a, "")) => ChunkRanges::from(ChunkNum(a.parse()?)..),
                Some((a, b)) => {
                    let (a, b): (u64, u64) = (a.parse()?, b.parse()?);
                    if a >= b {
                        bail!("range {part} is empty");
                    }
                    ChunkRanges::from(ChunkNum(a)..ChunkNum(b))
                }
            },
        };
    }
    Ok(ranges)
}

/// A hash from 64 hexadecimal digits.
pub fn parse_hash(text: &str) -> Result<Hash> {
    let mut bytes = [0u8; 32];
    hex::decode_to_slice(text, &mut bytes).with_context(|| format!("hash {text}"))?;
    Ok(Hash::from_bytes(bytes))
}
