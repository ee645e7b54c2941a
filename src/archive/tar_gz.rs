//! tar.gz, read as one stream.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entries, EntryType};

use super::{Choose, Error, Links, Refusal, Target, UnpackedFile, What, name, safe_name};

type Stream = MultiGzDecoder<BufReader<fs_err::File>>;

fn open(archive: &Path) -> io::Result<Archive<Stream>> {
    Ok(Archive::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 18, fs_err::File::open(archive)?))))
}

pub(super) fn unpack(
    archive: &Path,
    target: &mut Target,
    choose: Choose<'_>,
) -> Result<(BTreeMap<String, UnpackedFile>, Links), Error> {
    let mut tar = open(archive)?;
    let result = entries(&mut tar, target, choose)?;
    // What follows the last entry: padding, then the checksum that gzip carries.
    let mut rest = tar.into_inner().take(1 << 26);
    io::copy(&mut rest, &mut io::sink()).map_err(|error| target.damaged(error))?;
    Ok(result)
}

fn entries(
    tar: &mut Archive<Stream>,
    target: &mut Target,
    choose: Choose<'_>,
) -> Result<(BTreeMap<String, UnpackedFile>, Links), Error> {
    let (mut files, mut links, mut count, mut bytes) = (BTreeMap::new(), Links::default(), 0, 0);
    let entries: Entries<'_, Stream> = tar.entries().map_err(|error| target.damaged(error))?;
    for entry in entries {
        let mut entry = entry.map_err(|error| target.damaged(error))?;
        count += 1;
        target.check_entries(count)?;
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue;
        }
        let raw = entry.path_bytes().into_owned();
        let shown = String::from_utf8_lossy(&raw).into_owned();
        let wanted = match safe_name(&raw) {
            Ok(whole) if whole.is_empty() => continue,
            Ok(whole) => choose(&whole),
            // What is left out anyway may have any name: images are full of `package:amd64.list`.
            Err(refusal) if choose(shown.trim_start_matches("./")).is_some() => {
                return Err(target.refused(&shown, refusal));
            }
            Err(_) => None,
        };
        let Some(wanted) = wanted else {
            // Left out, but it has to pass by, and counts.
            bytes += entry.size();
            target.check_bytes(bytes)?;
            continue;
        };
        if wanted.is_empty() {
            continue;
        }
        match kind {
            EntryType::Directory => {
                target.claim(&wanted, What::Folder)?;
                fs_err::create_dir_all(target.folder.join(&wanted))?;
            }
            EntryType::Regular | EntryType::Continuous => {
                target.claim(&wanted, What::File)?;
                let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
                let promised = entry.size();
                let file = target.write(&wanted, executable, &mut entry, |read| {
                    bytes += read;
                    target.check_bytes(bytes)
                })?;
                if file.size != promised {
                    return Err(target.damaged(format!("`{wanted}` breaks off")));
                }
                files.insert(wanted, file);
            }
            EntryType::Symlink => {
                target.claim(&wanted, What::Link)?;
                let to = entry.link_name_bytes().unwrap_or_default().into_owned();
                name::link_target(&wanted, &to).map_err(|refusal| target.refused(&shown, refusal))?;
                links.symbolic.insert(wanted, String::from_utf8_lossy(&to).into_owned());
            }
            EntryType::Link => {
                target.claim(&wanted, What::File)?;
                let to = entry.link_name_bytes().unwrap_or_default().into_owned();
                let inside = safe_name(&to).map_err(|refusal| target.refused(&shown, refusal))?;
                let nowhere = || target.refused(&shown, Refusal::LinkNowhere(inside.clone()));
                let other = choose(&inside).filter(|other| files.contains_key(other)).ok_or_else(nowhere)?;
                links.hard.insert(wanted, other);
            }
            EntryType::Char | EntryType::Block => {
                return Err(target.refused(&shown, Refusal::Special("a device")));
            }
            EntryType::Fifo => return Err(target.refused(&shown, Refusal::Special("a pipe"))),
            EntryType::GNUSparse => return Err(target.refused(&shown, Refusal::Special("a sparse file"))),
            _ => return Err(target.refused(&shown, Refusal::Special("something unknown"))),
        }
    }
    if count == 0 {
        return Err(target.damaged("it holds nothing"));
    }
    Ok((files, links))
}
