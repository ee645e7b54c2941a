//! PE, read as the Windows loader reads it: headers, imports, delayed imports, the version resource, GPU code.

use std::collections::{BTreeMap, BTreeSet};

use object::LittleEndian as LE;
use object::pe::{
    self as raw, IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT, IMAGE_DIRECTORY_ENTRY_EXPORT, IMAGE_DIRECTORY_ENTRY_IMPORT,
    IMAGE_DIRECTORY_ENTRY_RESOURCE, ImageDosHeader, ImageNtHeaders32, ImageNtHeaders64,
};
use object::read::ReadRef;
use object::read::pe::{DataDirectories, ImageNtHeaders, ImageOptionalHeader, SectionTable, optional_header_magic};

use super::text::{self, Texts};
use super::{
    BinaryError, Depth, Format, Image, Machine, VERSION_FUNCTION_BYTES, VERSION_FUNCTIONS, VERSION_NUMBERS, fatbin,
    is_telling, returned_text_address,
};

const FORMAT: &str = "PE";
/// No real file imports from more libraries or exports more names.
const MOST_IMPORTED_LIBRARIES: u32 = 4096;
const MOST_EXPORTS: u32 = 1 << 20;
const LONGEST_NAME_BYTES: u64 = 4096;
const LARGEST_RESOURCES_BYTES: u64 = 4 << 20;

pub(super) fn read<'data, R: ReadRef<'data>>(data: R, depth: Depth) -> Result<Image, BinaryError> {
    match optional_header_magic(data).map_err(damaged)? {
        raw::IMAGE_NT_OPTIONAL_HDR64_MAGIC => read_class::<ImageNtHeaders64, R>(data, depth),
        raw::IMAGE_NT_OPTIONAL_HDR32_MAGIC => read_class::<ImageNtHeaders32, R>(data, depth),
        _ => Err(BinaryError::damaged(FORMAT, "the header names no word size")),
    }
}

fn damaged(error: object::Error) -> BinaryError {
    BinaryError::damaged(FORMAT, error.to_string())
}

struct Reader<'data, R: ReadRef<'data>> {
    data: R,
    sections: SectionTable<'data>,
    directories: DataDirectories<'data>,
    image_base: u64,
}

fn read_class<'data, Pe: ImageNtHeaders, R: ReadRef<'data>>(data: R, depth: Depth) -> Result<Image, BinaryError> {
    let dos = ImageDosHeader::parse(data).map_err(damaged)?;
    let mut offset = dos.nt_headers_offset().into();
    let (headers, directories) = Pe::parse(data, &mut offset).map_err(damaged)?;
    let sections = headers.sections(data, offset).map_err(damaged)?;
    let reader = Reader { data, sections, directories, image_base: headers.optional_header().image_base() };
    let mut image = Image {
        format: Format::Pe,
        machine: match headers.file_header().machine.get(LE) {
            raw::IMAGE_FILE_MACHINE_AMD64 => Machine::X86_64,
            raw::IMAGE_FILE_MACHINE_I386 => Machine::X86,
            raw::IMAGE_FILE_MACHINE_ARM64 => Machine::Aarch64,
            _ => Machine::Other,
        },
        name: None,
        needed: reader.imports()?,
        delayed: reader.delayed_imports()?,
        rpath: Vec::new(),
        runpath: Vec::new(),
        interpreter: None,
        required_versions: Vec::new(),
        provided_versions: Vec::new(),
        file_version: reader.file_version(),
        cuda: None,
        exports: BTreeSet::new(),
        constants: BTreeMap::new(),
        texts: Texts::default(),
    };
    if depth != Depth::Links {
        reader.read_exports(&mut image)?;
        reader.read_sections(depth, &mut image)?;
    }
    Ok(image)
}

impl<'data, R: ReadRef<'data>> Reader<'data, R> {
    fn directory(&self, index: usize) -> Option<(u32, u32)> {
        let directory = self.directories.get(index)?;
        let (address, size) = directory.address_range();
        (address != 0 && size != 0).then_some((address, size))
    }

    fn imports(&self) -> Result<Vec<String>, BinaryError> {
        // IMAGE_IMPORT_DESCRIPTOR is 20 bytes, its name's address at 12; a zero name ends the table.
        let Some((table, _)) = self.directory(IMAGE_DIRECTORY_ENTRY_IMPORT) else { return Ok(Vec::new()) };
        self.library_names(table, 20, |descriptor| u64::from(u32_at(descriptor, 12)))
    }

    fn delayed_imports(&self) -> Result<Vec<String>, BinaryError> {
        let Some((table, _)) = self.directory(IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT) else { return Ok(Vec::new()) };
        self.library_names(table, 32, |descriptor| {
            // Old linkers wrote addresses instead of offsets from the image's base; the first bit tells.
            let (attributes, name) = (u32_at(descriptor, 0), u64::from(u32_at(descriptor, 4)));
            if attributes & 1 == 0 { name.saturating_sub(self.image_base & 0xffff_ffff) } else { name }
        })
    }

    fn library_names(
        &self,
        table: u32,
        descriptor_bytes: u32,
        name_of: impl Fn(&[u8]) -> u64,
    ) -> Result<Vec<String>, BinaryError> {
        let mut names = Vec::new();
        for index in 0..MOST_IMPORTED_LIBRARIES {
            let address = table.checked_add(index * descriptor_bytes);
            let address = address.ok_or_else(|| BinaryError::damaged(FORMAT, "the imports lie outside the file"))?;
            let descriptor = self.bytes(address, descriptor_bytes.into(), "the imports")?;
            match u32::try_from(name_of(descriptor)) {
                Ok(0) => break,
                Ok(name) => names.push(self.string(name)?),
                Err(_) => return Err(BinaryError::damaged(FORMAT, "an import's name lies outside the file")),
            }
        }
        Ok(names)
    }

    fn read_exports(&self, image: &mut Image) -> Result<(), BinaryError> {
        let Some((table, _)) = self.directory(IMAGE_DIRECTORY_ENTRY_EXPORT) else { return Ok(()) };
        // IMAGE_EXPORT_DIRECTORY: the DLL's name @12, the number of names @24, the names' addresses @32
        let directory = self.bytes(table, 40, "the exports")?;
        let (name, count, names) = (u32_at(directory, 12), u32_at(directory, 24), u32_at(directory, 32));
        if name != 0 {
            image.name = Some(self.string(name)?);
        }
        if count == 0 {
            return Ok(());
        }
        if count > MOST_EXPORTS {
            return Err(BinaryError::damaged(FORMAT, "implausibly many exports"));
        }
        let addresses = self.bytes(names, u64::from(count) * 4, "the exports")?;
        let list: Vec<u32> = addresses.chunks_exact(4).map(|address| u32_at(address, 0)).collect();
        // The names follow each other: one read serves them all.
        let first = list.iter().copied().min().unwrap_or_default();
        let last = list.iter().copied().max().unwrap_or_default();
        let block = self.bytes(first, u64::from(last - first), "the exports' names").unwrap_or_default();
        for (index, address) in list.into_iter().enumerate() {
            let name = match block.get((address - first) as usize..).filter(|rest| !rest.is_empty()) {
                Some(rest) => {
                    let length = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
                    String::from_utf8_lossy(&rest[..length]).into_owned()
                }
                None => self.string(address)?,
            };
            if let Some(value) = self.constant(&name, index as u32, directory, image.machine) {
                image.constants.insert(name.clone(), value);
            }
            if is_telling(&name) {
                image.exports.insert(name);
            }
        }
        Ok(())
    }

    /// The value of an exported version. One that cannot be read is not known.
    fn constant(&self, name: &str, index: u32, directory: &[u8], machine: Machine) -> Option<String> {
        if !VERSION_NUMBERS.contains(&name) && !VERSION_FUNCTIONS.contains(&name) {
            return None;
        }
        // The functions' addresses @28, their numbers by name @36
        let (functions, ordinals) = (u32_at(directory, 28), u32_at(directory, 36));
        let ordinal = self.bytes(ordinals.checked_add(index.checked_mul(2)?)?, 2, name).ok()?;
        let ordinal = u32::from(u16::from_le_bytes([ordinal[0], ordinal[1]]));
        let address = u32_at(self.bytes(functions.checked_add(ordinal * 4)?, 4, name).ok()?, 0);
        if VERSION_NUMBERS.contains(&name) {
            return Some(u32_at(self.bytes(address, 4, name).ok()?, 0).to_string());
        }
        let code = self.bytes(address, VERSION_FUNCTION_BYTES, name).ok()?;
        let text = returned_text_address(code, address.into(), machine)?;
        self.string(u32::try_from(text).ok()?).ok()
    }

    fn read_sections(&self, depth: Depth, image: &mut Image) -> Result<(), BinaryError> {
        for section in self.sections.iter() {
            let (offset, size) = section.pe_file_range();
            match section.raw_name() {
                // The name is cut to eight bytes.
                b".nv_fatb" => image.cuda = Some(fatbin::read(self.data, offset.into(), size.into(), depth)?),
                b".rdata" => text::search(self.data, offset.into(), size.into(), &mut image.texts),
                _ => {}
            }
        }
        Ok(())
    }

    /// The four numbers of the version resource. A resource tree that makes no sense is no version.
    fn file_version(&self) -> Option<String> {
        const TYPE_VERSION: u16 = 16;
        /// Begins `VS_FIXEDFILEINFO`.
        const SIGNATURE: [u8; 4] = 0xFEEF_04BD_u32.to_le_bytes();
        let (address, size) = self.directory(IMAGE_DIRECTORY_ENTRY_RESOURCE)?;
        let tree = self.bytes(address, u64::from(size).min(LARGEST_RESOURCES_BYTES), "the resources").ok()?;
        let directory = object::read::pe::ResourceDirectory::new(tree);
        let versions =
            directory.root().ok()?.entries.iter().find(|entry| entry.name_or_id().id() == Some(TYPE_VERSION))?;
        let names = versions.data(directory).ok()?.table()?;
        let languages = names.entries.first()?.data(directory).ok()?.table()?;
        let leaf = languages.entries.first()?.data(directory).ok()?.data()?;
        let length = u64::from(leaf.size.get(LE)).min(LARGEST_RESOURCES_BYTES);
        let bytes = self.bytes(leaf.offset_to_data.get(LE), length, "the version").ok()?;
        let fixed = bytes.get(memchr::memmem::find(bytes, &SIGNATURE)?..)?;
        if fixed.len() < 16 {
            return None;
        }
        let (high, low) = (u32_at(fixed, 8), u32_at(fixed, 12));
        Some(format!("{}.{}.{}.{}", high >> 16, high & 0xffff, low >> 16, low & 0xffff))
    }

    fn file_offset(&self, address: u32) -> Option<u64> {
        let (offset, _) = self.sections.pe_file_range_at(address)?;
        Some(offset.into())
    }

    fn bytes(&self, address: u32, size: u64, what: &str) -> Result<&'data [u8], BinaryError> {
        self.file_offset(address)
            .and_then(|offset| self.data.read_bytes_at(offset, size).ok())
            .ok_or_else(|| BinaryError::damaged(FORMAT, format!("{what} lie outside the file")))
    }

    fn string(&self, address: u32) -> Result<String, BinaryError> {
        let outside = || BinaryError::damaged(FORMAT, "a name lies outside the file");
        let offset = self.file_offset(address).ok_or_else(outside)?;
        let end = self.data.len().map_err(|()| outside())?.min(offset.saturating_add(LONGEST_NAME_BYTES));
        let bytes = self.data.read_bytes_at_until(offset..end, 0).map_err(|()| outside())?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
