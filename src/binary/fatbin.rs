//! The CUDA code in a library: which GPUs it is compiled for (SASS), which it can be compiled for at run time (PTX).
//!
//! A section of containers, one per source file; each holds one entry per target. Only the headers are read.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use object::read::ReadRef;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{BinaryError, Depth};
use crate::units::{ComputeCapability, CudaVersion, ParseUnitError};

const FORMAT: &str = "CUDA code";
/// As found in every shipped library that was looked at (knowledge: failures 2.5).
const MAGIC: u32 = 0xBA55_ED50;
const CONTAINER_HEADER_BYTES: u64 = 16;
/// The part of an entry's header that we read.
const ENTRY_HEADER_BYTES: u64 = 48;
const KIND_PTX: u16 = 1;
const KIND_SASS: u16 = 2;
const FLAG_ZSTD: u64 = 0x8000;
/// Set on targets such as `120a`, whose code runs on exactly that GPU.
const FLAG_EXACT: u64 = 0x10_0000;
/// `libggml-cuda.so` has 143; a hostile file could claim millions.
const MOST_CONTAINERS: u64 = 20_000;
const MOST_ENTRIES: u64 = 200_000;
/// Containers follow each other with little padding.
const LONGEST_GAP_BYTES: u64 = 4096;

/// A GPU generation that code is for: `8.6`, or `12.0a` for exactly that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    pub capability: ComputeCapability,
    /// Runs on no other generation, not even on a later one of the same major version.
    pub exact: bool,
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.capability, if self.exact { "a" } else { "" })
    }
}

impl FromStr for Target {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let exact = text.ends_with('a');
        Ok(Self { capability: text.strip_suffix('a').unwrap_or(text).parse()?, exact })
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Target {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Target".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string"})
    }
}

/// The GPU code of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CudaCode {
    /// Ready to run, sorted.
    pub sass: Vec<Target>,
    /// Compiled by the driver when first used, sorted.
    pub ptx: Vec<Target>,
    /// The newest PTX language version: the driver must know it to compile.
    pub ptx_version: Option<CudaVersion>,
    /// With zstd, which drivers before CUDA 12.4 cannot unpack.
    pub compressed: bool,
    pub containers: u64,
    /// Some containers have other targets than most; `sass` and `ptx` tell what most have.
    pub uneven: bool,
}

#[derive(Default)]
struct Tally {
    sass: BTreeMap<Target, u64>,
    ptx: BTreeMap<Target, u64>,
    ptx_version: Option<CudaVersion>,
    compressed: bool,
    containers: u64,
    entries: u64,
}

/// Reads the containers of the section at `offset`.
pub(super) fn read<'data, R: ReadRef<'data>>(
    data: R,
    offset: u64,
    size: u64,
    depth: Depth,
) -> Result<CudaCode, BinaryError> {
    // In what nvcc writes they are all alike.
    let most_containers = if depth == Depth::Sampled { 1 } else { MOST_CONTAINERS };
    let end = offset.checked_add(size).ok_or_else(|| damaged("the section is longer than any file"))?;
    let mut tally = Tally::default();
    let (mut at, mut gap) = (offset, 0);
    while at.saturating_add(CONTAINER_HEADER_BYTES) <= end && tally.containers < most_containers {
        let header = bytes(data, at, CONTAINER_HEADER_BYTES)?;
        if u32_at(header, 0) != MAGIC {
            gap += 8;
            if gap > LONGEST_GAP_BYTES {
                break;
            }
            at += 8;
            continue;
        }
        gap = 0;
        // {u32 magic, u16 version, u16 header size, u64 size of the entries}
        let first = at.saturating_add(u64::from(u16_at(header, 6)).max(CONTAINER_HEADER_BYTES));
        let last = first.checked_add(u64_at(header, 8)).filter(|last| *last <= end);
        let last = last.ok_or_else(|| damaged("a container reaches past its section"))?;
        read_container(data, first, last, &mut tally)?;
        at = last.saturating_add(7) & !7;
    }
    if tally.containers == 0 {
        return Err(damaged("the section holds no container"));
    }
    Ok(tally.finish())
}

fn read_container<'data, R: ReadRef<'data>>(
    data: R,
    first: u64,
    last: u64,
    tally: &mut Tally,
) -> Result<(), BinaryError> {
    tally.containers += 1;
    let mut at = first;
    while at.saturating_add(ENTRY_HEADER_BYTES) <= last {
        tally.entries += 1;
        if tally.entries > MOST_ENTRIES {
            return Err(damaged("implausibly many entries"));
        }
        // {u16 kind, u16, u32 header size, u64 payload size, …, u16 minor @24, u16 major @26, u32 target @28, …, u64 flags @40}
        let entry = bytes(data, at, ENTRY_HEADER_BYTES)?;
        let (kind, header, payload) = (u16_at(entry, 0), u64::from(u32_at(entry, 4)), u64_at(entry, 8));
        let (minor, major, number, flags) =
            (u16_at(entry, 24), u16_at(entry, 26), u32_at(entry, 28), u64_at(entry, 40));
        let target = Target {
            capability: ComputeCapability::new(number / 10, number % 10),
            exact: flags & FLAG_EXACT == FLAG_EXACT,
        };
        match kind {
            KIND_SASS => *tally.sass.entry(target).or_default() += 1,
            KIND_PTX => {
                *tally.ptx.entry(target).or_default() += 1;
                let version = CudaVersion::new(major.into(), minor.into());
                tally.ptx_version = tally.ptx_version.max(Some(version));
            }
            // Link-time code and whatever comes next is no code that can run as it is.
            _ => {}
        }
        tally.compressed |= flags & FLAG_ZSTD == FLAG_ZSTD && matches!(kind, KIND_SASS | KIND_PTX);
        let step = header.checked_add(payload).filter(|step| *step >= ENTRY_HEADER_BYTES);
        at = step.and_then(|step| at.checked_add(step)).ok_or_else(|| damaged("an entry's size makes no sense"))?;
    }
    Ok(())
}

impl Tally {
    fn finish(self) -> CudaCode {
        // What at least half of the containers have: a stray source file with other flags must not decide.
        let common = |counts: &BTreeMap<Target, u64>| -> Vec<Target> {
            counts.iter().filter(|(_, count)| **count * 2 >= self.containers).map(|(target, _)| *target).collect()
        };
        let every = |counts: &BTreeMap<Target, u64>| counts.values().all(|count| *count >= self.containers);
        CudaCode {
            sass: common(&self.sass),
            ptx: common(&self.ptx),
            ptx_version: self.ptx_version,
            compressed: self.compressed,
            containers: self.containers,
            uneven: !(every(&self.sass) && every(&self.ptx)),
        }
    }
}

fn damaged(what: &str) -> BinaryError {
    BinaryError::damaged(FORMAT, what)
}

fn bytes<'data, R: ReadRef<'data>>(data: R, at: u64, size: u64) -> Result<&'data [u8], BinaryError> {
    data.read_bytes_at(at, size).map_err(|()| damaged("it ends outside the file"))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
