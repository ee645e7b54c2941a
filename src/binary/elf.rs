//! ELF, read as the Linux loader reads it: program headers and the dynamic table; sections only for names and GPU code.

use std::collections::{BTreeMap, BTreeSet};

use object::elf::{self as raw, FileHeader32, FileHeader64};
use object::read::ReadRef;
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, SectionTable, Sym};
use object::{Endianness, SectionIndex};

use super::backend_api;
use super::fatbin;
use super::text::{self, Texts};
use super::{
    BinaryError, Depth, Format, Image, Machine, RequiredVersions, VERSION_FUNCTION_BYTES, VERSION_FUNCTIONS,
    VERSION_NUMBERS, is_of_llama, is_telling, returned_text_address,
};

const FORMAT: &str = "ELF";
/// Far above any real file; keeps what a hostile one can make us read small.
const LONGEST_DYNAMIC_TABLE_BYTES: u64 = 1 << 20;
const LONGEST_NAME_TABLE_BYTES: u64 = 64 << 20;
const MOST_VERSIONS: usize = 4096;

pub(super) fn read<'data, R: ReadRef<'data>>(data: R, depth: Depth) -> Result<Image, BinaryError> {
    let ident = data.read_bytes_at(0, 16).map_err(|()| BinaryError::damaged(FORMAT, "the header is cut off"))?;
    match (ident[4], ident[5]) {
        (2, 1 | 2) => read_class::<FileHeader64<Endianness>, R>(data, depth),
        (1, 1 | 2) => read_class::<FileHeader32<Endianness>, R>(data, depth),
        _ => Err(BinaryError::damaged(FORMAT, "the header names no word size or byte order")),
    }
}

struct Reader<'data, E: FileHeader<Endian = Endianness>, R: ReadRef<'data>> {
    data: R,
    endian: Endianness,
    segments: &'data [E::ProgramHeader],
}

fn read_class<'data, E: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(
    data: R,
    depth: Depth,
) -> Result<Image, BinaryError> {
    let damaged = |error: object::Error| BinaryError::damaged(FORMAT, error.to_string());
    let header = E::parse(data).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    let segments = header.program_headers(endian, data).map_err(damaged)?;
    let reader = Reader::<E, R> { data, endian, segments };
    let mut image = Image {
        format: Format::Elf,
        machine: match header.e_machine(endian) {
            raw::EM_X86_64 if header.is_type_64() => Machine::X86_64,
            raw::EM_386 => Machine::X86,
            raw::EM_AARCH64 => Machine::Aarch64,
            _ => Machine::Other,
        },
        name: None,
        needed: Vec::new(),
        delayed: Vec::new(),
        rpath: Vec::new(),
        runpath: Vec::new(),
        interpreter: reader.interpreter()?,
        required_versions: Vec::new(),
        provided_versions: Vec::new(),
        file_version: None,
        assemblies: None,
        cuda: None,
        exports: BTreeSet::new(),
        constants: BTreeMap::new(),
        wanted: BTreeSet::new(),
        offered: BTreeSet::new(),
        texts: Texts::default(),
    };
    reader.read_dynamic(&mut image)?;
    if depth != Depth::Links {
        let sections = header.sections(endian, data).map_err(damaged)?;
        reader.read_sections(&sections, depth, &mut image)?;
    }
    Ok(image)
}

/// The addresses in the dynamic table that lead on.
#[derive(Default)]
struct Tables {
    strings: Option<u64>,
    strings_size: u64,
    needed_versions: Option<(u64, u64)>,
    provided_versions: Option<(u64, u64)>,
}

impl<'data, E: FileHeader<Endian = Endianness>, R: ReadRef<'data>> Reader<'data, E, R> {
    fn interpreter(&self) -> Result<Option<String>, BinaryError> {
        for segment in self.segments {
            if segment.p_type(self.endian) == raw::PT_INTERP {
                let size = segment.p_filesz(self.endian).into();
                if size > 4096 {
                    return Err(BinaryError::damaged(FORMAT, "the interpreter's name is too long"));
                }
                let bytes = self.bytes(segment.p_offset(self.endian).into(), size, "the interpreter's name")?;
                let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                return Ok(Some(String::from_utf8_lossy(name).into_owned()));
            }
        }
        Ok(None)
    }

    fn read_dynamic(&self, image: &mut Image) -> Result<(), BinaryError> {
        let Some(segment) = self.segments.iter().find(|segment| segment.p_type(self.endian) == raw::PT_DYNAMIC) else {
            // A static program, or a relocatable object: it needs nothing.
            return Ok(());
        };
        if segment.p_filesz(self.endian).into() > LONGEST_DYNAMIC_TABLE_BYTES {
            return Err(BinaryError::damaged(FORMAT, "the dynamic table is implausibly long"));
        }
        let entries = segment
            .dynamic(self.endian, self.data)
            .map_err(|error| BinaryError::damaged(FORMAT, error.to_string()))?
            .unwrap_or_default();
        let mut tables = Tables::default();
        let (mut version_address, mut version_count) = ((None, None), (0, 0));
        for entry in entries {
            let value = entry.val(self.endian);
            match entry.tag(self.endian) {
                raw::DT_NULL => break,
                raw::DT_STRTAB => tables.strings = Some(value),
                raw::DT_STRSZ => tables.strings_size = value,
                raw::DT_VERNEED => version_address.0 = Some(value),
                raw::DT_VERNEEDNUM => version_count.0 = value,
                raw::DT_VERDEF => version_address.1 = Some(value),
                raw::DT_VERDEFNUM => version_count.1 = value,
                _ => {}
            }
        }
        tables.needed_versions = version_address.0.map(|address| (address, version_count.0));
        tables.provided_versions = version_address.1.map(|address| (address, version_count.1));
        let strings = self.strings(&tables)?;
        for entry in entries {
            let value = entry.val(self.endian);
            match entry.tag(self.endian) {
                raw::DT_NULL => break,
                raw::DT_NEEDED => image.needed.push(string(strings, value)?),
                raw::DT_SONAME => image.name = Some(string(strings, value)?),
                raw::DT_RPATH => image.rpath = search_path(&string(strings, value)?),
                raw::DT_RUNPATH => image.runpath = search_path(&string(strings, value)?),
                _ => {}
            }
        }
        if let Some((address, count)) = tables.needed_versions {
            image.required_versions = self.needed_versions(address, count, strings)?;
        }
        if let Some((address, count)) = tables.provided_versions {
            image.provided_versions = self.provided_versions(address, count, strings)?;
        }
        Ok(())
    }

    fn strings(&self, tables: &Tables) -> Result<&'data [u8], BinaryError> {
        let Some(address) = tables.strings else { return Ok(&[]) };
        if tables.strings_size > LONGEST_NAME_TABLE_BYTES {
            return Err(BinaryError::damaged(FORMAT, "the table of names is implausibly long"));
        }
        self.bytes(self.offset(address)?, tables.strings_size, "the table of names")
    }

    fn needed_versions(&self, address: u64, count: u64, strings: &[u8]) -> Result<Vec<RequiredVersions>, BinaryError> {
        let mut found: Vec<RequiredVersions> = Vec::new();
        let mut total = 0;
        let mut at = self.offset(address)?;
        for _ in 0..count.min(MOST_VERSIONS as u64) {
            // Elf_Verneed: u16 version, u16 count, u32 file, u32 first, u32 next
            let entry = self.bytes(at, 16, "the required versions")?;
            let library = string(strings, self.u32(entry, 4).into())?;
            let mut versions = Vec::new();
            let mut inner = at.saturating_add(self.u32(entry, 8).into());
            for _ in 0..self.u16(entry, 2) {
                // Elf_Vernaux: u32 hash, u16 flags, u16 other, u32 name, u32 next
                let auxiliary = self.bytes(inner, 16, "the required versions")?;
                versions.push(string(strings, self.u32(auxiliary, 8).into())?);
                total += 1;
                if total > MOST_VERSIONS {
                    return Err(BinaryError::damaged(FORMAT, "implausibly many required versions"));
                }
                match self.u32(auxiliary, 12) {
                    0 => break,
                    step => inner = inner.saturating_add(step.into()),
                }
            }
            found.push(RequiredVersions { library, versions });
            match self.u32(entry, 12) {
                0 => break,
                step => at = at.saturating_add(step.into()),
            }
        }
        Ok(found)
    }

    fn provided_versions(&self, address: u64, count: u64, strings: &[u8]) -> Result<Vec<String>, BinaryError> {
        let mut found = Vec::new();
        let mut at = self.offset(address)?;
        for _ in 0..count.min(MOST_VERSIONS as u64) {
            // Elf_Verdef: u16 version, u16 flags, u16 index, u16 count, u32 hash, u32 first, u32 next
            let entry = self.bytes(at, 20, "the provided versions")?;
            let is_the_file_itself = self.u16(entry, 2) & 1 == 1;
            if !is_the_file_itself {
                let first = at.saturating_add(self.u32(entry, 12).into());
                let auxiliary = self.bytes(first, 8, "the provided versions")?;
                found.push(string(strings, self.u32(auxiliary, 0).into())?);
            }
            match self.u32(entry, 16) {
                0 => break,
                step => at = at.saturating_add(step.into()),
            }
        }
        Ok(found)
    }

    fn read_sections(
        &self,
        sections: &SectionTable<'data, E, R>,
        depth: Depth,
        image: &mut Image,
    ) -> Result<(), BinaryError> {
        for section in sections.iter() {
            // A name that cannot be read is a section that we do not look for.
            let name = sections.section_name(self.endian, section).unwrap_or_default();
            let Some((offset, size)) = section.file_range(self.endian) else { continue };
            match name {
                b".nv_fatbin" => {
                    image.cuda = Some(fatbin::read(self.data, offset, size, depth)?);
                }
                b".rodata" => text::search(self.data, offset, size, &mut image.texts),
                _ if section.sh_type(self.endian) == raw::SHT_DYNSYM => {
                    self.read_exports(sections, section, image);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Names that cannot be read are left out: they are not ours.
    fn read_exports(&self, sections: &SectionTable<'data, E, R>, table: &'data E::SectionHeader, image: &mut Image) {
        let Ok(names) = sections.section(SectionIndex(table.sh_link(self.endian) as usize)) else { return };
        let Some((offset, size)) = names.file_range(self.endian) else { return };
        if size > LONGEST_NAME_TABLE_BYTES || table.sh_size(self.endian).into() > LONGEST_NAME_TABLE_BYTES {
            return;
        }
        let Ok(symbols) = table.data_as_array::<E::Sym, R>(self.endian, self.data) else { return };
        let Ok(names) = self.data.read_bytes_at(offset, size) else { return };
        for symbol in symbols {
            let Ok(name) = string(names, symbol.st_name(self.endian).into()) else { continue };
            if symbol.is_undefined(self.endian) {
                // What may be absent is not wanted.
                if is_of_llama(&name) && symbol.st_bind() != raw::STB_WEAK {
                    image.wanted.insert(name);
                }
                continue;
            }
            if is_of_llama(&name) {
                image.offered.insert(name.clone());
            }
            if let Some(value) = self.constant(&name, symbol.st_value(self.endian).into(), image.machine) {
                image.constants.insert(name.clone(), value);
            }
            if is_telling(&name) {
                image.exports.insert(name);
            }
        }
    }

    /// The value of an exported version. One that cannot be read is not known.
    fn constant(&self, name: &str, address: u64, machine: Machine) -> Option<String> {
        if VERSION_NUMBERS.contains(&name) {
            let bytes = self.bytes(self.offset(address).ok()?, 4, name).ok()?;
            return Some(self.u32(bytes, 0).to_string());
        }
        if backend_api::is_registration(name) {
            return self.backend_api(address, machine).map(|version| version.to_string());
        }
        if !VERSION_FUNCTIONS.contains(&name) {
            return None;
        }
        let code = self.bytes(self.offset(address).ok()?, VERSION_FUNCTION_BYTES, name).ok()?;
        let text = self.offset(returned_text_address(code, address, machine)?).ok()?;
        let bytes = self.data.read_bytes_at_until(text..text.checked_add(64)?, 0).ok()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    fn backend_api(&self, address: u64, machine: Machine) -> Option<u32> {
        let offset = self.offset(address).ok()?;
        let length = backend_api::CODE_BYTES.min(self.data.len().ok()?.saturating_sub(offset));
        let code = self.data.read_bytes_at(offset, length).ok()?;
        let number_at = |address| Some(self.u32(self.bytes(self.offset(address).ok()?, 4, "a number").ok()?, 0));
        backend_api::version(code, address, machine, number_at)
    }

    /// Where a mapped address lies in the file.
    fn offset(&self, address: u64) -> Result<u64, BinaryError> {
        self.segments
            .iter()
            .filter(|segment| segment.p_type(self.endian) == raw::PT_LOAD)
            .find_map(|segment| {
                let inside = address.checked_sub(segment.p_vaddr(self.endian).into())?;
                let offset: u64 = segment.p_offset(self.endian).into();
                (inside < segment.p_filesz(self.endian).into()).then(|| offset.checked_add(inside)).flatten()
            })
            .ok_or_else(|| BinaryError::damaged(FORMAT, format!("address {address:#x} lies in no segment")))
    }

    fn bytes(&self, offset: u64, size: u64, what: &str) -> Result<&'data [u8], BinaryError> {
        self.data
            .read_bytes_at(offset, size)
            .map_err(|()| BinaryError::damaged(FORMAT, format!("{what} lies outside the file")))
    }

    fn u16(&self, bytes: &[u8], at: usize) -> u16 {
        let bytes = [bytes[at], bytes[at + 1]];
        match self.endian {
            Endianness::Little => u16::from_le_bytes(bytes),
            Endianness::Big => u16::from_be_bytes(bytes),
        }
    }

    fn u32(&self, bytes: &[u8], at: usize) -> u32 {
        let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        match self.endian {
            Endianness::Little => u32::from_le_bytes(bytes),
            Endianness::Big => u32::from_be_bytes(bytes),
        }
    }
}

fn string(table: &[u8], at: u64) -> Result<String, BinaryError> {
    usize::try_from(at)
        .ok()
        .and_then(|at| table.get(at..))
        .and_then(|rest| rest.split(|byte| *byte == 0).next().filter(|text| text.len() < rest.len()))
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .ok_or_else(|| BinaryError::damaged(FORMAT, "a name lies outside the table of names"))
}

fn search_path(text: &str) -> Vec<String> {
    text.split(':').filter(|folder| !folder.is_empty()).map(str::to_owned).collect()
}
