//! Archives written byte by byte, so that they can be as wrong as an attacker's.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

/// A tar.gz under construction.
#[derive(Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    /// An entry with any name and any type: `0` file, `1` hard link, `2` symbolic link, `3` device, `5` folder, `6` pipe.
    pub fn entry(
        mut self,
        kind: u8,
        name: impl AsRef<[u8]>,
        link: impl AsRef<[u8]>,
        mode: u32,
        content: &[u8],
    ) -> Self {
        let (name, link) = (name.as_ref(), link.as_ref());
        if name.len() > 100 {
            let long = [name, b"\0"].concat();
            self = self.entry(b'L', "././@LongLink", "", 0o644, &long);
        }
        let mut header = [0u8; 512];
        let count = name.len().min(100);
        header[..count].copy_from_slice(&name[..count]);
        let mut octal = |at: usize, width: usize, value: u64| {
            let text = format!("{value:0width$o}\0", width = width - 1);
            header[at..at + width].copy_from_slice(text.as_bytes());
        };
        octal(100, 8, u64::from(mode));
        octal(108, 8, 0);
        octal(116, 8, 0);
        octal(124, 12, content.len() as u64);
        octal(136, 12, 0);
        header[156] = kind;
        header[157..157 + link.len()].copy_from_slice(link);
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(header);
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.entry(b'0', name, "", 0o644, content.as_ref())
    }

    pub fn program(self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.entry(b'0', name, "", 0o755, content.as_ref())
    }

    pub fn link(self, name: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self {
        self.entry(b'2', name, to, 0o777, b"")
    }

    pub fn raw(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    pub fn gz(self) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&self.raw()).unwrap();
        encoder.finish().unwrap()
    }
}

/// A zip under construction.
#[derive(Default)]
pub struct Zip {
    body: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
}

pub struct ZipEntry<'a> {
    pub name: &'a [u8],
    pub content: &'a [u8],
    /// With the file type bits: 0o100644 for a file, 0o120777 for a link.
    pub mode: u32,
    pub flags: u16,
    pub method: Option<u16>,
    /// What the headers claim, where they lie.
    pub claimed_size: Option<u32>,
    pub claimed_crc: Option<u32>,
}

impl<'a> ZipEntry<'a> {
    pub fn file(name: &'a (impl AsRef<[u8]> + ?Sized), content: &'a [u8]) -> Self {
        let name = name.as_ref();
        Self { name, content, mode: 0o100_644, flags: 0, method: None, claimed_size: None, claimed_crc: None }
    }
}

impl Zip {
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(&ZipEntry::file(name, content.as_ref()))
    }

    pub fn entry(mut self, entry: &ZipEntry<'_>) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(entry.content).unwrap();
        let packed = encoder.finish().unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(entry.content);
        let mut common = Vec::new();
        common.extend(20u16.to_le_bytes());
        common.extend((entry.flags | 0x800).to_le_bytes());
        common.extend(entry.method.unwrap_or(8).to_le_bytes());
        common.extend([0, 0, 0x21, 0x58]);
        common.extend(entry.claimed_crc.unwrap_or(crc.sum()).to_le_bytes());
        common.extend((packed.len() as u32).to_le_bytes());
        common.extend(entry.claimed_size.unwrap_or(entry.content.len() as u32).to_le_bytes());
        common.extend((entry.name.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes());
        let offset = self.body.len() as u32;
        self.body.extend(b"PK\x03\x04");
        self.body.extend(&common);
        self.body.extend(entry.name);
        self.body.extend(packed);
        // Made on Unix, so that the mode counts.
        self.directory.extend(b"PK\x01\x02\x14\x03");
        self.directory.extend(&common);
        self.directory.extend([0; 6]);
        self.directory.extend((entry.mode << 16).to_le_bytes());
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(entry.name);
        self.count += 1;
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        let (at, length) = (self.body.len() as u32, self.directory.len() as u32);
        let mut bytes = [self.body, self.directory].concat();
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        bytes.extend(self.count.to_le_bytes());
        bytes.extend(self.count.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(at.to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    }
}
