//! A file as a decoder's buffer: what the decoder skips is skipped on disk, not read.

use std::fs::File;
use std::io::{self, Read, Seek};

use bytes::Buf;

/// Bytes read at once. Nodes are smaller, weights larger: nodes are read past, weights sought past.
const WINDOW: usize = 64 * 1024;

/// A window that moves along a file.
pub(super) struct FileBuf {
    file: File,
    window: Box<[u8]>,
    /// The part of `window` that is not consumed; empty only at the end of the file.
    from: usize,
    to: usize,
    /// Bytes not consumed, those in the window included.
    left: usize,
    failed: Option<io::Error>,
}

impl FileBuf {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let left = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let mut buf = Self { file, window: vec![0; WINDOW].into(), from: 0, to: 0, left, failed: None };
        buf.refill();
        Ok(buf)
    }

    /// The read error that ended the file early, if there was one.
    pub(super) fn finish(self) -> io::Result<()> {
        self.failed.map_or(Ok(()), Err)
    }

    fn refill(&mut self) {
        (self.from, self.to) = (0, 0);
        while self.to == 0 && self.left > 0 {
            match self.file.read(&mut self.window) {
                Ok(0) => self.fail(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.to = read.min(self.left),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.fail(error),
            }
        }
    }

    fn fail(&mut self, error: io::Error) {
        self.left = 0;
        self.failed = Some(error);
    }
}

impl Buf for FileBuf {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        &self.window[self.from..self.to]
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.left, "the decoder skips no more than remains");
        self.left -= count;
        let here = self.to - self.from;
        if count < here {
            self.from += count;
            return;
        }
        if let Err(error) = self.file.seek_relative((count - here) as i64) {
            self.fail(error);
        }
        self.refill();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn skips_and_reads_across_windows() {
        let bytes: Vec<u8> = (0..3 * WINDOW + 7).map(|at| (at % 251) as u8).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        let mut buf = FileBuf::new(file.reopen().unwrap()).unwrap();
        buf.advance(5);
        assert_eq!(buf.get_u8(), bytes[5]);
        buf.advance(2 * WINDOW);
        assert_eq!(buf.copy_to_bytes(WINDOW), bytes[2 * WINDOW + 6..][..WINDOW]);
        assert_eq!(buf.get_u8(), bytes[bytes.len() - 1]);
        assert!(!buf.has_remaining());
        assert!(buf.chunk().is_empty());
        buf.finish().unwrap();
    }
}
