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
    BinaryError, Depth, Format, Image, Machine, VERSION_FUNCTION_BYTES, VERSION_FUNCTIONS, VERSION_NUMBERS,
    backend_api, fatbin, is_telling, returned_text_address, side_by_side,
};

const FORMAT: &str = "PE";
/// No real file imports from more libraries or exports more names.
const MOST_IMPORTED_LIBRARIES: u32 = 4096;
const MOST_EXPORTS: u32 = 1 << 20;
const MOST_IMPORTED_FUNCTIONS: u32 = 1 << 16;
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

/// The whole section of that name, for the few small ones that are wanted whole.
pub(super) fn section<'data, R: ReadRef<'data>>(data: R, name: &[u8]) -> Result<Option<&'data [u8]>, BinaryError> {
    let (reader, _) = Reader::new::<ImageNtHeaders64>(data)?;
    let Some(section) = reader.sections.iter().find(|section| section.raw_name() == name) else { return Ok(None) };
    let (offset, size) = section.pe_file_range();
    let size = u64::from(size).min(LARGEST_RESOURCES_BYTES);
    let bytes = data.read_bytes_at(offset.into(), size);
    bytes.map(Some).map_err(|()| BinaryError::damaged(FORMAT, "a section lies outside the file"))
}

/// The names of the functions that a 64-bit file imports from `library`, those by number left out.
pub(super) fn imported_functions<'data, R: ReadRef<'data>>(
    data: R,
    library: &str,
) -> Result<BTreeSet<String>, BinaryError> {
    const BY_NUMBER: u64 = 1 << 63;
    let (reader, _) = Reader::new::<ImageNtHeaders64>(data)?;
    let mut names = BTreeSet::new();
    let Some((table, _)) = reader.directory(IMAGE_DIRECTORY_ENTRY_IMPORT) else { return Ok(names) };
    for index in 0..MOST_IMPORTED_LIBRARIES {
        let address = table.checked_add(index * 20);
        let address = address.ok_or_else(|| BinaryError::damaged(FORMAT, "the imports lie outside the file"))?;
        // IMAGE_IMPORT_DESCRIPTOR: the names' table @0, the library's name @12, the addresses' table @16
        let descriptor = reader.bytes(address, 20, "the imports")?;
        let (lookup, name, addresses) = (u32_at(descriptor, 0), u32_at(descriptor, 12), u32_at(descriptor, 16));
        if name == 0 {
            break;
        }
        if !reader.string(name)?.eq_ignore_ascii_case(library) {
            continue;
        }
        let lookup = if lookup == 0 { addresses } else { lookup };
        for index in 0..MOST_IMPORTED_FUNCTIONS {
            let Some(at) = lookup.checked_add(index * 8) else { break };
            let entry = reader.bytes(at, 8, "the imported functions")?;
            let entry = u64::from(u32_at(entry, 0)) | u64::from(u32_at(entry, 4)) << 32;
            if entry == 0 {
                break;
            }
            if entry & BY_NUMBER == 0
                && let Some(name) = u32::try_from(entry).ok().and_then(|entry| entry.checked_add(2))
            {
                names.insert(reader.string(name)?);
            }
        }
    }
    Ok(names)
}

/// The names of all functions that a 64-bit file exports.
pub(super) fn exported_names<'data, R: ReadRef<'data>>(data: R) -> Result<BTreeSet<String>, BinaryError> {
    let (reader, _) = Reader::new::<ImageNtHeaders64>(data)?;
    let Some((_, list)) = reader.export_names()? else { return Ok(BTreeSet::new()) };
    Ok(list.into_iter().collect())
}

/// The export directory, and the names in its order.
type Exports<'data> = (&'data [u8], Vec<String>);

struct Reader<'data, R: ReadRef<'data>> {
    data: R,
    sections: SectionTable<'data>,
    directories: DataDirectories<'data>,
    image_base: u64,
}

fn read_class<'data, Pe: ImageNtHeaders, R: ReadRef<'data>>(data: R, depth: Depth) -> Result<Image, BinaryError> {
    let (reader, headers) = Reader::new::<Pe>(data)?;
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
        assemblies: reader.manifest().map(side_by_side::dependent_assemblies),
        cuda: None,
        exports: BTreeSet::new(),
        constants: BTreeMap::new(),
        wanted: BTreeSet::new(),
        offered: BTreeSet::new(),
        texts: Texts::default(),
    };
    if depth != Depth::Links {
        reader.read_exports(&mut image)?;
        reader.read_sections(depth, &mut image)?;
    }
    Ok(image)
}

impl<'data, R: ReadRef<'data>> Reader<'data, R> {
    fn new<Pe: ImageNtHeaders>(data: R) -> Result<(Self, &'data Pe), BinaryError> {
        let dos = ImageDosHeader::parse(data).map_err(damaged)?;
        let mut offset = dos.nt_headers_offset().into();
        let (headers, directories) = Pe::parse(data, &mut offset).map_err(damaged)?;
        let sections = headers.sections(data, offset).map_err(damaged)?;
        let image_base = headers.optional_header().image_base();
        Ok((Self { data, sections, directories, image_base }, headers))
    }

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
        let Some((directory, names)) = self.export_names()? else { return Ok(()) };
        let name = u32_at(directory, 12);
        if name != 0 {
            image.name = Some(self.string(name)?);
        }
        for (index, name) in names.into_iter().enumerate() {
            if let Some(value) = self.constant(&name, index as u32, directory, image.machine) {
                image.constants.insert(name.clone(), value);
            }
            if is_telling(&name) {
                image.exports.insert(name);
            }
        }
        Ok(())
    }

    /// The export directory and the exported names in its order. None: it exports nothing.
    fn export_names(&self) -> Result<Option<Exports<'data>>, BinaryError> {
        let Some((table, _)) = self.directory(IMAGE_DIRECTORY_ENTRY_EXPORT) else { return Ok(None) };
        // IMAGE_EXPORT_DIRECTORY: the DLL's name @12, the number of names @24, the names' addresses @32
        let directory = self.bytes(table, 40, "the exports")?;
        let (count, names) = (u32_at(directory, 24), u32_at(directory, 32));
        if count == 0 {
            return Ok(Some((directory, Vec::new())));
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
        let name = |address: u32| match block.get((address - first) as usize..).filter(|rest| !rest.is_empty()) {
            // The block ends where the last name begins.
            Some(rest) => match rest.iter().position(|byte| *byte == 0) {
                Some(length) => Ok(String::from_utf8_lossy(&rest[..length]).into_owned()),
                None => self.string(address),
            },
            None => self.string(address),
        };
        Ok(Some((directory, list.into_iter().map(name).collect::<Result<_, _>>()?)))
    }

    /// The value of an exported version. One that cannot be read is not known.
    fn constant(&self, name: &str, index: u32, directory: &[u8], machine: Machine) -> Option<String> {
        let is_registration = backend_api::is_registration(name);
        if !VERSION_NUMBERS.contains(&name) && !VERSION_FUNCTIONS.contains(&name) && !is_registration {
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
        if is_registration {
            let offset = self.file_offset(address)?;
            let length = backend_api::CODE_BYTES.min(self.data.len().ok()?.saturating_sub(offset));
            let code = self.data.read_bytes_at(offset, length).ok()?;
            let number_at = |address| Some(u32_at(self.bytes(u32::try_from(address).ok()?, 4, name).ok()?, 0));
            return backend_api::version(code, address.into(), machine, number_at).map(|version| version.to_string());
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

    /// The four numbers of the version resource.
    fn file_version(&self) -> Option<String> {
        const TYPE_VERSION: u16 = 16;
        /// Begins `VS_FIXEDFILEINFO`.
        const SIGNATURE: [u8; 4] = 0xFEEF_04BD_u32.to_le_bytes();
        let bytes = self.resource(TYPE_VERSION)?;
        let fixed = bytes.get(memchr::memmem::find(bytes, &SIGNATURE)?..)?;
        if fixed.len() < 16 {
            return None;
        }
        let (high, low) = (u32_at(fixed, 8), u32_at(fixed, 12));
        Some(format!("{}.{}.{}.{}", high >> 16, high & 0xffff, low >> 16, low & 0xffff))
    }

    /// The side-by-side manifest.
    fn manifest(&self) -> Option<&'data [u8]> {
        const TYPE_MANIFEST: u16 = 24;
        self.resource(TYPE_MANIFEST)
    }

    /// The first resource of a type. A resource tree that makes no sense holds none.
    fn resource(&self, wanted: u16) -> Option<&'data [u8]> {
        let (address, size) = self.directory(IMAGE_DIRECTORY_ENTRY_RESOURCE)?;
        let tree = self.bytes(address, u64::from(size).min(LARGEST_RESOURCES_BYTES), "the resources").ok()?;
        let directory = object::read::pe::ResourceDirectory::new(tree);
        let types = directory.root().ok()?;
        let names = types.entries.iter().find(|entry| entry.name_or_id().id() == Some(wanted))?;
        let names = names.data(directory).ok()?.table()?;
        let languages = names.entries.first()?.data(directory).ok()?.table()?;
        let leaf = languages.entries.first()?.data(directory).ok()?.data()?;
        let length = u64::from(leaf.size.get(LE)).min(LARGEST_RESOURCES_BYTES);
        self.bytes(leaf.offset_to_data.get(LE), length, "a resource").ok()
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
