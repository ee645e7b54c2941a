//! A file in slices: several connections at once, one queue, one journal, and a hash that follows behind.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use url::Url;

use super::part::{self, Part};
use super::{BUFFER, DISK_MARGIN, Downloaded, Transfer, changed, checked_range, etag, not_a_web_page};
use crate::net::client::Answer;
use crate::net::digest::Sha256Digest;
use crate::net::journal::{Identity, Journal, RangeSet};
use crate::net::{Error, shown};
use crate::units::{Bytes, MIB};

/// How much may arrive on one connection before the journal says so. With eight connections a kill costs half a slice.
const JOURNAL_STEP: u64 = MIB;

/// What the workers share.
struct Shared {
    part: Part,
    journal: Mutex<Journal>,
    arrived: Condvar,
    queue: Mutex<VecDeque<Range<u64>>>,
    /// Where the original URL led last, and how often it was asked. A signed URL serves until it is refused.
    resolved: Mutex<(Url, u32)>,
    failed: AtomicBool,
}

impl Transfer<'_> {
    pub(super) fn in_slices(
        &self,
        identity: Identity,
        arrived: RangeSet,
        first: Range<u64>,
        answer: Answer,
    ) -> Result<Downloaded, Error> {
        let size = identity.size;
        let destination = &self.request.destination;
        part::check_space(destination, size - arrived.bytes(), DISK_MARGIN)?;
        let part = Part::open(destination, Some(size))?;
        let mut queue: VecDeque<_> = arrived.missing(size, self.request.slice.0).into();
        // The first answer is already on its way, for the first piece.
        let first = first.start..first.end.min(size);
        queue.retain(|piece| piece.start != first.start);
        let workers = self.request.connections.clamp(1, queue.len() + 1);
        self.progress.started(&self.request.name(), Some(Bytes(size)), Bytes(arrived.bytes()));
        let shared = Shared {
            part,
            journal: Mutex::new(Journal::create(&part::journal_path(destination), identity, arrived)?),
            arrived: Condvar::new(),
            queue: Mutex::new(queue),
            resolved: Mutex::new((answer.url.clone(), 0)),
            failed: AtomicBool::new(false),
        };
        let (sha256, results) = std::thread::scope(|scope| {
            let hasher = scope.spawn(|| self.hash_behind(&shared, size));
            let mut threads = vec![scope.spawn(|| self.work(&shared, Some((first, answer))))];
            threads.extend((1..workers).map(|_| scope.spawn(|| self.work(&shared, None))));
            let results: Vec<_> = threads.into_iter().map(joined).collect();
            (joined(hasher), results)
        });
        results.into_iter().collect::<Result<(), Error>>()?;
        let sha256 = sha256?;
        shared.part.flush()?;
        let journal = shared.journal.into_inner().unwrap_or_else(PoisonError::into_inner);
        drop(shared.part);
        drop(journal);
        self.finish(sha256, size)
    }

    /// Fetches pieces until none is left, or until another worker has failed.
    fn work(&self, shared: &Shared, first: Option<(Range<u64>, Answer)>) -> Result<(), Error> {
        let mut next = first.map(|(range, answer)| (range, Some(answer)));
        loop {
            let Some((piece, answer)) =
                next.take().or_else(|| locked(&shared.queue).pop_front().map(|piece| (piece, None)))
            else {
                return Ok(());
            };
            let result = self.fetch(shared, piece, answer);
            if result.is_err() {
                shared.failed.store(true, Ordering::Relaxed);
                shared.arrived.notify_all();
            }
            result?;
            if shared.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }

    /// One piece, over as many connections as it takes.
    fn fetch(&self, shared: &Shared, piece: Range<u64>, mut answer: Option<Answer>) -> Result<(), Error> {
        let mut at = piece.start;
        let mut failures = 0;
        while at < piece.end {
            let before = at;
            let answered = match answer.take() {
                Some(answer) => Ok(answer),
                None => self.piece_answer(shared, &(at..piece.end)),
            };
            let Err(error) = answered.and_then(|answer| self.receive(shared, answer, &mut at, piece.end)) else {
                if shared.failed.load(Ordering::Relaxed) {
                    return Ok(());
                }
                continue;
            };
            if at > before {
                failures = 0;
            }
            self.pause(error, &mut failures, Some(&shared.failed))?;
            if shared.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Asks the resolved URL, and the original one again when the resolved one has expired.
    fn piece_answer(&self, shared: &Shared, range: &Range<u64>) -> Result<Answer, Error> {
        let identity = locked(&shared.journal).identity.clone();
        let (resolved, generation) = locked(&shared.resolved).clone();
        let mut answer = self.client.send(&self.ask(&resolved, Some(range), Some(&identity)))?;
        if matches!(answer.status, 400 | 401 | 403 | 404 | 410) && resolved != self.request.url {
            tracing::debug!(status = answer.status, "the signed URL has expired, asking the original again");
            answer = self.client.send(&self.ask(&self.request.url, Some(range), Some(&identity)))?;
            let mut current = locked(&shared.resolved);
            if current.1 == generation {
                *current = (answer.url.clone(), generation + 1);
            }
        }
        let answer = answer.good().and_then(not_a_web_page)?;
        match answer.status {
            206 => {
                checked_range(&answer, range, Some(identity.size))?;
                let now = etag(&answer);
                if now.is_some() && identity.etag.is_some() && now != identity.etag {
                    return Err(changed(&answer));
                }
                Ok(answer)
            }
            _ if etag(&answer) != identity.etag => Err(changed(&answer)),
            _ => Err(Error::RangesStopped { url: shown(&answer.url) }),
        }
    }

    /// Reads a body into the part from `at` to `end`, and journals as it goes.
    fn receive(&self, shared: &Shared, mut answer: Answer, at: &mut u64, end: u64) -> Result<(), Error> {
        use std::io::Read as _;
        let mut buffer = vec![0; BUFFER];
        let mut journaled = *at;
        let result = loop {
            if *at >= end || shared.failed.load(Ordering::Relaxed) {
                break Ok(());
            }
            let room = buffer.len().min((end - *at) as usize);
            match answer.body.read(&mut buffer[..room]) {
                Ok(0) => {
                    let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                    break Err(Error::Body { url: shown(&answer.url), source });
                }
                Ok(count) => {
                    if *at == 0 {
                        self.sniff(&buffer[..count])?;
                    }
                    shared.part.write_all_at(&buffer[..count], *at)?;
                    *at += count as u64;
                    self.fetched.fetch_add(count as u64, Ordering::Relaxed);
                    self.progress.advanced(count as u64);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => break Err(Error::Body { url: shown(&answer.url), source }),
            }
            if *at - journaled >= JOURNAL_STEP {
                locked(&shared.journal).record(journaled..*at)?;
                shared.arrived.notify_all();
                journaled = *at;
            }
        };
        if *at > journaled {
            locked(&shared.journal).record(journaled..*at)?;
            shared.arrived.notify_all();
        }
        result
    }

    /// Hashes the part from its beginning, as far as it has arrived without a gap. None when the download failed first.
    fn hash_behind(&self, shared: &Shared, size: u64) -> Result<Option<Sha256Digest>, Error> {
        let hashed = part::hash_file(&self.request.destination, size, |position| {
            let mut journal = locked(&shared.journal);
            loop {
                if shared.failed.load(Ordering::Relaxed) {
                    return None;
                }
                let front = journal.arrived.front();
                if front > position {
                    return Some(front);
                }
                // The timeout covers a failure that is announced between the look and the wait.
                journal = shared
                    .arrived
                    .wait_timeout(journal, Duration::from_millis(100))
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
        });
        if hashed.is_err() {
            shared.failed.store(true, Ordering::Relaxed);
        }
        Ok(hashed?)
    }
}

/// A lock whose holder panicked still guards whole values: each is changed in one step.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
