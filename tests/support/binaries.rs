//! Tiny ELF and PE files and CUDA code containers, with what a test needs in them and nothing else.

/// `nvcc`'s container of one source file.
pub struct Fatbin(Vec<u8>);

impl Fatbin {
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// Native code; `exact` is what the `a` of `120a` says.
    pub fn sass(self, arch: u32, exact: bool, zstd: bool) -> Self {
        let flags = (if exact { 0x110_0000_u64 } else { 0 }) | if zstd { 0x8000 } else { 0 };
        self.entry(2, arch, (0, 0), flags)
    }

    pub fn ptx(self, arch: u32, version: (u16, u16)) -> Self {
        self.entry(1, arch, version, 0)
    }

    fn entry(mut self, kind: u16, arch: u32, (major, minor): (u16, u16), flags: u64) -> Self {
        let payload = [0xEE; 32];
        let mut header = vec![0; 64];
        header[0..2].copy_from_slice(&kind.to_le_bytes());
        header[4..8].copy_from_slice(&64_u32.to_le_bytes());
        header[8..16].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        header[24..26].copy_from_slice(&minor.to_le_bytes());
        header[26..28].copy_from_slice(&major.to_le_bytes());
        header[28..32].copy_from_slice(&arch.to_le_bytes());
        header[40..48].copy_from_slice(&flags.to_le_bytes());
        self.0.extend(header);
        self.0.extend(payload);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = 0xBA55_ED50_u32.to_le_bytes().to_vec();
        bytes.extend(1_u16.to_le_bytes());
        bytes.extend(16_u16.to_le_bytes());
        bytes.extend((self.0.len() as u64).to_le_bytes());
        bytes.extend(&self.0);
        bytes
    }
}

/// A 64-bit little-endian shared library, mapped as one segment so that addresses are file offsets.
#[derive(Default)]
pub struct TinyElf {
    pub machine: u16,
    pub soname: Option<&'static str>,
    pub needed: Vec<&'static str>,
    pub rpath: Option<&'static str>,
    pub runpath: Option<&'static str>,
    pub interpreter: Option<&'static str>,
    /// Library, version
    pub wants: Vec<(&'static str, &'static str)>,
    pub provides: Vec<&'static str>,
    pub fatbin: Option<Vec<u8>>,
    pub rodata: Vec<u8>,
}

pub const X86_64: u16 = 62;
pub const AARCH64: u16 = 183;

impl TinyElf {
    pub fn new(soname: &'static str) -> Self {
        Self { machine: X86_64, soname: Some(soname), ..Self::default() }
    }

    pub fn needs(mut self, names: &[&'static str]) -> Self {
        self.needed.extend(names);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        const HEADERS: usize = 64 + 3 * 56;
        let mut strings = vec![0_u8];
        let mut text = |text: &str| -> u64 {
            let at = strings.len() as u64;
            strings.extend(text.bytes().chain([0]));
            at
        };
        let mut dynamic: Vec<(u64, u64)> = Vec::new();
        dynamic.extend(self.needed.iter().map(|name| (1, text(name))));
        dynamic.extend(self.soname.map(|name| (14, text(name))));
        dynamic.extend(self.rpath.map(|path| (15, text(path))));
        dynamic.extend(self.runpath.map(|path| (29, text(path))));
        let wants: Vec<(u64, u64)> = self.wants.iter().map(|(file, version)| (text(file), text(version))).collect();
        let provides: Vec<u64> = self.provides.iter().map(|version| text(version)).collect();

        let mut out = vec![0; HEADERS];
        let interpreter_at = out.len();
        out.extend(self.interpreter.unwrap_or_default().bytes().chain([0]));
        pad(&mut out);
        let strings_at = out.len() as u64;
        out.extend(&strings);
        pad(&mut out);
        if !wants.is_empty() {
            dynamic.extend([(0x6fff_fffe, out.len() as u64), (0x6fff_ffff, wants.len() as u64)]);
            for (index, (file, version)) in wants.iter().enumerate() {
                let next = if index + 1 == wants.len() { 0 } else { 32_u32 };
                out.extend(1_u16.to_le_bytes());
                out.extend(1_u16.to_le_bytes());
                for word in [*file as u32, 16, next, 0, 0, *version as u32, 0] {
                    out.extend(word.to_le_bytes());
                }
            }
        }
        if !provides.is_empty() {
            dynamic.extend([(0x6fff_fffc, out.len() as u64), (0x6fff_fffd, provides.len() as u64)]);
            for (index, version) in provides.iter().enumerate() {
                let next = if index + 1 == provides.len() { 0 } else { 28_u32 };
                for half in [1_u16, 0, 2, 1] {
                    out.extend(half.to_le_bytes());
                }
                for word in [0, 20, next, *version as u32, 0] {
                    out.extend(word.to_le_bytes());
                }
            }
        }
        pad(&mut out);
        dynamic.extend([(5, strings_at), (10, strings.len() as u64), (0, 0)]);
        let dynamic_at = out.len();
        for (tag, value) in &dynamic {
            out.extend(tag.to_le_bytes());
            out.extend(value.to_le_bytes());
        }
        let dynamic_bytes = out.len() - dynamic_at;
        let rodata_at = out.len();
        out.extend(&self.rodata);
        pad(&mut out);
        let fatbin_at = out.len();
        let fatbin = self.fatbin.clone().unwrap_or_default();
        out.extend(&fatbin);
        let names = b"\0.rodata\0.nv_fatbin\0.shstrtab\0";
        let names_at = out.len();
        out.extend(names);
        pad(&mut out);
        let sections_at = out.len();
        let mut section = |name: u32, kind: u32, at: usize, size: usize| {
            let mut entry = [0; 64];
            entry[0..4].copy_from_slice(&name.to_le_bytes());
            entry[4..8].copy_from_slice(&kind.to_le_bytes());
            entry[24..32].copy_from_slice(&(at as u64).to_le_bytes());
            entry[32..40].copy_from_slice(&(size as u64).to_le_bytes());
            out.extend(entry);
        };
        section(0, 0, 0, 0);
        section(20, 3, names_at, names.len());
        section(1, 1, rodata_at, self.rodata.len());
        if self.fatbin.is_some() {
            section(9, 1, fatbin_at, fatbin.len());
        }
        let section_count = 3 + u16::from(self.fatbin.is_some());

        let total = out.len() as u64;
        let program = [
            (1_u32, 0_u64, total),
            (2, dynamic_at as u64, dynamic_bytes as u64),
            (
                if self.interpreter.is_some() { 3 } else { 0 },
                interpreter_at as u64,
                self.interpreter.map_or(0, |name| name.len() as u64 + 1),
            ),
        ];
        out[..16].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        put(&mut out, 16, &3_u16.to_le_bytes());
        put(&mut out, 18, &self.machine.to_le_bytes());
        put(&mut out, 20, &1_u32.to_le_bytes());
        put(&mut out, 32, &64_u64.to_le_bytes());
        put(&mut out, 40, &(sections_at as u64).to_le_bytes());
        for (at, half) in [(52, 64_u16), (54, 56), (56, 3), (58, 64), (60, section_count), (62, 1)] {
            put(&mut out, at, &half.to_le_bytes());
        }
        for (index, (kind, offset, size)) in program.into_iter().enumerate() {
            let at = 64 + index * 56;
            put(&mut out, at, &kind.to_le_bytes());
            for (field, value) in [(8, offset), (16, offset), (24, offset), (32, size), (40, size)] {
                put(&mut out, at + field, &value.to_le_bytes());
            }
        }
        out
    }
}

/// A 32-bit x86 library that needs nothing.
pub fn tiny_elf_32() -> Vec<u8> {
    let mut out = vec![0; 52];
    out[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 1, 1, 1]);
    put(&mut out, 16, &3_u16.to_le_bytes());
    put(&mut out, 18, &3_u16.to_le_bytes());
    put(&mut out, 20, &1_u32.to_le_bytes());
    put(&mut out, 40, &52_u16.to_le_bytes());
    out
}

/// A DLL for x86-64 that imports from `imports`, with GPU code if given.
pub fn tiny_pe(imports: &[&str], fatbin: Option<&[u8]>) -> Vec<u8> {
    const RDATA: u32 = 0x1000;
    const FATBIN: u32 = 0x10_0000;
    let table = (imports.len() + 1) * 20;
    let mut rdata = vec![0; table];
    for (index, name) in imports.iter().enumerate() {
        let at = RDATA + rdata.len() as u32;
        put(&mut rdata, index * 20 + 12, &at.to_le_bytes());
        put(&mut rdata, index * 20 + 16, &RDATA.to_le_bytes());
        rdata.extend(name.bytes().chain([0]));
    }
    let fatbin = fatbin.unwrap_or_default();
    let (headers, rdata_size) = (0x200_u32, rdata.len().next_multiple_of(0x200) as u32);
    let mut out = vec![0; headers as usize];
    out[..2].copy_from_slice(b"MZ");
    put(&mut out, 60, &64_u32.to_le_bytes());
    put(&mut out, 64, b"PE\0\0");
    put(&mut out, 68, &0x8664_u16.to_le_bytes());
    put(&mut out, 70, &2_u16.to_le_bytes());
    put(&mut out, 84, &240_u16.to_le_bytes());
    put(&mut out, 86, &0x2022_u16.to_le_bytes());
    let optional = 88;
    put(&mut out, optional, &0x20b_u16.to_le_bytes());
    put(&mut out, optional + 24, &0x1_8000_0000_u64.to_le_bytes());
    put(&mut out, optional + 32, &0x1000_u32.to_le_bytes());
    put(&mut out, optional + 36, &0x200_u32.to_le_bytes());
    put(&mut out, optional + 108, &16_u32.to_le_bytes());
    if !imports.is_empty() {
        put(&mut out, optional + 112 + 8, &RDATA.to_le_bytes());
        put(&mut out, optional + 112 + 12, &(table as u32).to_le_bytes());
    }
    let sections =
        [(b".rdata\0\0", RDATA, rdata_size, headers), (b".nv_fatb", FATBIN, fatbin.len() as u32, headers + rdata_size)];
    for (index, (name, address, size, at)) in sections.into_iter().enumerate() {
        let entry = optional + 240 + index * 40;
        put(&mut out, entry, name);
        for (field, value) in [(8, size), (12, address), (16, size), (20, at)] {
            put(&mut out, entry + field, &value.to_le_bytes());
        }
    }
    rdata.resize(rdata_size as usize, 0);
    out.extend(rdata);
    out.extend(fatbin);
    out
}

/// `/etc/ld.so.cache` in the layout of now; each entry a name and a path, for x86-64.
pub fn ld_cache(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = b"glibc-ld.so.cache1.1".to_vec();
    bytes.extend((entries.len() as u32).to_le_bytes());
    bytes.resize(48, 0);
    let start = 48 + entries.len() * 24;
    let mut strings = Vec::new();
    for (name, path) in entries {
        bytes.extend(0x303_u32.to_le_bytes());
        for text in [name, path] {
            bytes.extend(((start + strings.len()) as u32).to_le_bytes());
            strings.extend(text.bytes().chain([0]));
        }
        bytes.extend([0; 12]);
    }
    bytes.extend(strings);
    bytes
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
}

/// A 64-bit DLL or program with imported and exported functions, a manifest and a version.
#[derive(Default)]
pub struct TinyPe {
    /// Library, functions
    pub imports: Vec<(&'static str, Vec<&'static str>)>,
    pub exports: Vec<&'static str>,
    pub manifest: Option<&'static str>,
    pub machine: Option<u16>,
}

impl TinyPe {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn needs(mut self, library: &'static str, functions: &[&'static str]) -> Self {
        self.imports.push((library, functions.to_vec()));
        self
    }

    pub fn exports(mut self, functions: &[&'static str]) -> Self {
        self.exports = functions.to_vec();
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        const RDATA: u32 = 0x1000;
        let mut out = tiny_pe(&[], None);
        let mut rdata: Vec<u8> = vec![0; (self.imports.len() + 1) * 20];
        let here = |rdata: &Vec<u8>| RDATA + rdata.len() as u32;
        let text = |rdata: &mut Vec<u8>, text: &str| {
            let at = here(rdata);
            rdata.extend(text.bytes().chain([0]));
            at
        };
        for (index, (library, functions)) in self.imports.iter().enumerate() {
            let name = text(&mut rdata, library);
            let functions: Vec<u64> =
                functions.iter().map(|function| u64::from(text(&mut rdata, &format!("\0\0{function}")))).collect();
            let table = here(&rdata);
            rdata.extend(functions.into_iter().chain([0]).flat_map(u64::to_le_bytes));
            put(&mut rdata, index * 20, &table.to_le_bytes());
            put(&mut rdata, index * 20 + 12, &name.to_le_bytes());
            put(&mut rdata, index * 20 + 16, &table.to_le_bytes());
        }
        let mut directories = vec![(1, RDATA, (self.imports.len() as u32 + 1) * 20)];
        if !self.exports.is_empty() {
            let names: Vec<u32> = self.exports.iter().map(|name| text(&mut rdata, name)).collect();
            let table = here(&rdata);
            rdata.extend(names.iter().flat_map(|name| name.to_le_bytes()));
            let directory = here(&rdata);
            let mut bytes = vec![0; 40];
            put(&mut bytes, 24, &(names.len() as u32).to_le_bytes());
            put(&mut bytes, 32, &table.to_le_bytes());
            rdata.extend(bytes);
            directories.push((0, directory, 40));
        }
        if let Some(manifest) = self.manifest {
            let at = text(&mut rdata, manifest);
            let tree = here(&rdata);
            // Three levels of one entry each: type 24, name 1, a language; then the leaf.
            for (level, id) in [24_u32, 1, 1033].into_iter().enumerate() {
                let mut table = vec![0; 24];
                put(&mut table, 14, &1_u16.to_le_bytes());
                put(&mut table, 16, &id.to_le_bytes());
                let next = (level as u32 + 1) * 24;
                put(&mut table, 20, &(if level < 2 { next | 1 << 31 } else { next }).to_le_bytes());
                rdata.extend(table);
            }
            let leaf = [at, manifest.len() as u32, 0, 0];
            rdata.extend(leaf.iter().flat_map(|number| number.to_le_bytes()));
            directories.push((2, tree, 88));
        }
        for (index, address, size) in directories {
            put(&mut out, 88 + 112 + index * 8, &address.to_le_bytes());
            put(&mut out, 88 + 112 + index * 8 + 4, &size.to_le_bytes());
        }
        if let Some(machine) = self.machine {
            put(&mut out, 68, &machine.to_le_bytes());
        }
        rdata.resize(rdata.len().next_multiple_of(0x200), 0);
        // The only section that holds anything.
        for field in [8, 16] {
            put(&mut out, 88 + 240 + field, &(rdata.len() as u32).to_le_bytes());
        }
        out.truncate(0x200);
        out.extend(rdata);
        out
    }
}
