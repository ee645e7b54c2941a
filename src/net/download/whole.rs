//! A file as one stream, from a server that knows no ranges, or lies about them.

use std::sync::atomic::Ordering;

use super::part::{self, Part};
use super::{BUFFER, DISK_MARGIN, Downloaded, Transfer, not_a_web_page};
use crate::net::client::Answer;
use crate::net::{Error, shown};
use crate::units::Bytes;

impl Transfer<'_> {
    /// The file as one stream, from a server that knows no ranges. A cut begins it again.
    pub(super) fn whole(&self, mut answer: Option<Answer>) -> Result<Downloaded, Error> {
        part::remove(&self.request.destination)?;
        let mut failures = 0;
        let size = loop {
            let answered = match answer.take() {
                Some(answer) => Ok(answer),
                None => self
                    .client
                    .send(&self.ask(&self.request.url, None, None))
                    .and_then(Answer::good)
                    .and_then(not_a_web_page),
            };
            match answered.and_then(|answer| self.receive_whole(answer)) {
                Ok(size) => break size,
                Err(error) => self.pause(error, &mut failures, None)?,
            }
        };
        self.finish(None, size)
    }

    fn receive_whole(&self, mut answer: Answer) -> Result<u64, Error> {
        use std::io::Read as _;
        let promised = answer.header("content-length").and_then(|text| text.parse::<u64>().ok());
        if let Some(promised) = promised {
            self.check_size(&answer.url, promised)?;
        }
        let total = promised.or(self.request.size);
        part::check_space(&self.request.destination, total.unwrap_or(0), DISK_MARGIN)?;
        let part = Part::open(&self.request.destination, None)?;
        self.progress.started(&self.request.name(), total.map(Bytes), Bytes(0));
        let mut buffer = vec![0; BUFFER];
        let mut at = 0;
        loop {
            let count = match answer.body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(Error::Body { url: shown(&answer.url), source }),
            };
            if at == 0 {
                self.sniff(&buffer[..count])?;
            }
            if self.request.size.is_some_and(|expected| at + count as u64 > expected) {
                return self.check_size(&answer.url, at + count as u64).map(|()| at);
            }
            part.write_all_at(&buffer[..count], at)?;
            at += count as u64;
            self.fetched.fetch_add(count as u64, Ordering::Relaxed);
            self.progress.advanced(count as u64);
        }
        self.check_size(&answer.url, at)?;
        part.flush()?;
        Ok(at)
    }
}
