//! zip: every name is checked first, then the files are unpacked by several threads, the largest first.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use zip::{CompressionMethod, ZipArchive};

use super::{Choose, Error, Links, Refusal, Target, UnpackedFile, What, name, safe_name};

/// More threads than this wait for the disk.
const MOST_THREADS: usize = 8;
/// A link's target is a path.
const LONGEST_TARGET: u64 = 4096;

struct Planned {
    index: usize,
    name: String,
    executable: bool,
    size: u64,
}

type Reader = BufReader<fs_err::File>;

fn open(archive: &Path, target: &Target) -> Result<ZipArchive<Reader>, Error> {
    ZipArchive::new(BufReader::new(fs_err::File::open(archive)?)).map_err(|error| target.damaged(error))
}

pub(super) fn unpack(
    archive: &Path,
    target: &mut Target,
    choose: Choose<'_>,
) -> Result<(BTreeMap<String, UnpackedFile>, Links), Error> {
    let mut zip = open(archive, target)?;
    // The reader keeps one entry a name; the directory's own count tells when it held a name twice.
    if directory_count(archive)?.is_some_and(|count| count != zip.len() as u64) {
        return Err(target.damaged("its directory names a file twice, or names fewer than it says"));
    }
    let (mut planned, links) = plan(&mut zip, target, choose)?;
    planned.sort_by_key(|file| std::cmp::Reverse(file.size));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, MOST_THREADS).min(planned.len());
    let (next, bytes, failed) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let (target, planned) = (&*target, &planned[..]);
    let work = || -> Result<Vec<(String, UnpackedFile)>, Error> {
        let mut zip = open(archive, target)?;
        let mut done = Vec::new();
        while let Some(file) = planned.get(next.fetch_add(1, Ordering::Relaxed)) {
            if failed.load(Ordering::Relaxed) {
                break;
            }
            done.push((file.name.clone(), unpack_one(&mut zip, target, file, &bytes)?));
        }
        Ok(done)
    };
    let parts: Vec<_> = std::thread::scope(|scope| {
        let spawn = |_| scope.spawn(|| work().inspect_err(|_| failed.store(true, Ordering::Relaxed)));
        let threads: Vec<_> = (0..threads).map(spawn).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    let mut files = BTreeMap::new();
    for part in parts {
        files.extend(part?);
    }
    Ok((files, links))
}

fn plan(zip: &mut ZipArchive<Reader>, target: &mut Target, choose: Choose<'_>) -> Result<(Vec<Planned>, Links), Error> {
    target.check_entries(zip.len())?;
    let (mut planned, mut links, mut promised) = (Vec::new(), Links::default(), 0u64);
    for index in 0..zip.len() {
        let mut entry = zip.by_index_raw(index).map_err(|error| target.damaged(error))?;
        let raw = entry.name_raw().to_vec();
        let shown = String::from_utf8_lossy(&raw).into_owned();
        let whole = safe_name(&raw).map_err(|refusal| target.refused(&shown, refusal))?;
        let Some(wanted) = choose(&whole).filter(|name| !name.is_empty()) else { continue };
        if entry.encrypted() {
            return Err(target.refused(&shown, Refusal::Encrypted));
        }
        let method = entry.compression();
        if !matches!(method, CompressionMethod::Stored | CompressionMethod::Deflated) {
            return Err(target.refused(&shown, Refusal::Method(method.to_string())));
        }
        promised = promised.saturating_add(entry.size());
        target.check_bytes(promised)?;
        let mode = entry.unix_mode();
        if entry.is_dir() {
            target.claim(&wanted, What::Folder)?;
            fs_err::create_dir_all(target.folder.join(&wanted))?;
        } else if entry.is_symlink() {
            target.claim(&wanted, What::Link)?;
            drop(entry);
            let mut to = Vec::new();
            entry = zip.by_index(index).map_err(|error| target.damaged(error))?;
            let read = entry.by_ref().take(LONGEST_TARGET).read_to_end(&mut to);
            read.map_err(|error| target.damaged(error))?;
            name::link_target(&wanted, &to).map_err(|refusal| target.refused(&shown, refusal))?;
            links.symbolic.insert(wanted, String::from_utf8_lossy(&to).into_owned());
        } else {
            // The file type bits of a mode: 0 where none was stored, 0o10 for a regular file.
            if let Some(kind @ 1..) = mode.map(|mode| mode >> 12)
                && kind != 0o10
            {
                return Err(target.refused(&shown, Refusal::Special("a device, a pipe or a socket")));
            }
            target.claim(&wanted, What::File)?;
            let executable = mode.is_some_and(|mode| mode & 0o111 != 0);
            planned.push(Planned { index, name: wanted, executable, size: entry.size() });
        }
    }
    Ok((planned, links))
}

fn unpack_one(
    zip: &mut ZipArchive<Reader>,
    target: &Target,
    file: &Planned,
    bytes: &AtomicU64,
) -> Result<UnpackedFile, Error> {
    let mut entry = zip.by_index(file.index).map_err(|error| target.damaged(error))?;
    let unpacked = target.write(&file.name, file.executable, &mut entry, |read| {
        // Counted as it comes: what the directory promises of sizes is not believed.
        target.check_bytes(bytes.fetch_add(read, Ordering::Relaxed) + read)
    })?;
    if unpacked.size != file.size {
        return Err(target.damaged(format!("`{}` has another size than its directory says", file.name)));
    }
    Ok(unpacked)
}

/// How many entries the end record of a zip promises; none where it does not fit (zip64) or cannot be found.
/// APPNOTE.TXT 4.3.16: signature, then the total count at byte 10 of a record of 22 bytes and a comment.
fn directory_count(archive: &Path) -> io::Result<Option<u64>> {
    use std::io::{Seek as _, SeekFrom};
    const RECORD: usize = 22;
    let mut file = fs_err::File::open(archive)?;
    let length = file.metadata()?.len();
    let tail = length.min(RECORD as u64 + u64::from(u16::MAX));
    file.seek(SeekFrom::End(-(tail as i64)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let at = end.windows(RECORD).rposition(|record| record.starts_with(b"PK\x05\x06"));
    let count = at.map(|at| u16::from_le_bytes([end[at + 10], end[at + 11]]));
    Ok(count.filter(|count| *count != u16::MAX).map(u64::from))
}
