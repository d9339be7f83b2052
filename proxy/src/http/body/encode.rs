//! Content being coded as it goes by. What is there is flushed whenever there is no more for the moment, so that a slow
//! stream (server-sent events) is not held back.

use std::io::{self, Write as _};
use std::rc::Rc;

use bytes::Bytes;
use flate2::write::GzEncoder;
use http_body::Frame;

use crate::http::filters::Coding;
use crate::http::worker::Worker;

/// One response's coder. Up to 1.5 MiB of memory each, and 256 of them a worker.
pub(in crate::http) struct Encoding {
    /// `None` once all of it is coded.
    encoder: Option<Encoder>,
    /// Bytes taken since the last flush.
    unflushed: usize,
    /// What follows the content.
    trailers: Option<Frame<Bytes>>,
    worker: Rc<Worker>,
}

enum Encoder {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Encoding {
    /// `None` when the worker has as many coders as it may.
    pub(in crate::http) fn new(coding: Coding, worker: &Rc<Worker>) -> Option<Self> {
        let encoder = match coding {
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).ok()?;
                encoder.window_log(WINDOW_BITS).ok()?;
                Encoder::Zstd(encoder)
            }
            Coding::Brotli => {
                let writer =
                    brotli::CompressorWriter::new(Vec::new(), 4096, BROTLI_QUALITY, WINDOW_BITS);
                Encoder::Brotli(Box::new(writer))
            }
            Coding::Gzip => Encoder::Gzip(GzEncoder::new(
                Vec::new(),
                flate2::Compression::new(GZIP_LEVEL),
            )),
        };
        worker.encoding_began().then(|| Self {
            encoder: Some(encoder),
            unflushed: 0,
            trailers: None,
            worker: Rc::clone(worker),
        })
    }

    /// Codes `data`; returns what has come of it so far, which may be nothing.
    pub(super) fn push(&mut self, data: &[u8]) -> io::Result<Bytes> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(Bytes::new());
        };
        encoder.write(data)?;
        self.unflushed += data.len();
        if self.unflushed >= UNFLUSHED_MAX {
            return self.flush();
        }
        Ok(encoder.take())
    }

    /// All that was taken, as far as it is not out yet.
    pub(super) fn flush(&mut self) -> io::Result<Bytes> {
        match &mut self.encoder {
            Some(encoder) if self.unflushed > 0 => {
                self.unflushed = 0;
                encoder.flush()?;
                Ok(encoder.take())
            }
            _ => Ok(Bytes::new()),
        }
    }

    /// The content came whole; `trailers` follow it.
    pub(super) fn finish(&mut self, trailers: Option<Frame<Bytes>>) -> io::Result<Bytes> {
        self.trailers = trailers;
        match self.encoder.take() {
            Some(encoder) => Ok(encoder.finish()?.into()),
            None => Ok(Bytes::new()),
        }
    }

    /// Whether all of the content is out.
    pub(super) fn is_finished(&self) -> bool {
        self.encoder.is_none()
    }

    /// Whether there is nothing left at all.
    pub(super) fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }

    /// What follows the content.
    pub(super) fn take_trailers(&mut self) -> Option<Frame<Bytes>> {
        self.trailers.take()
    }
}

impl Drop for Encoding {
    fn drop(&mut self) {
        self.worker.encoding_ended();
    }
}

impl Encoder {
    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.write_all(data),
            Self::Brotli(encoder) => encoder.write_all(data),
            Self::Gzip(encoder) => encoder.write_all(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
            Self::Gzip(encoder) => encoder.flush(),
        }
    }

    fn take(&mut self) -> Bytes {
        let out = match self {
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        };
        std::mem::take(out).into()
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
}

/// Settings that keep up with a fast network: more would cost several times as much for a few percent.
const ZSTD_LEVEL: i32 = 3;
const BROTLI_QUALITY: u32 = 4;
const GZIP_LEVEL: u32 = 5;
/// Windows of 256 KiB, which bound the memory of each coder.
const WINDOW_BITS: u32 = 18;
/// Taken without a byte coming out, in bytes: a fast origin must not keep the client waiting.
const UNFLUSHED_MAX: usize = 256 << 10;
