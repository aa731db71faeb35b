//! What the real service is known to do to streamed answers, to be imitated on demand.

use std::io::{self, Write};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::write::GzDecoder;
use http::header::CONTENT_ENCODING;
use serde::{Deserialize, Deserializer};

use super::response_head::ResponseHead;

/// Chunks below this wait for the next one (report: "smaller than about 100kb").
const SMALL_CHUNK_BYTES: usize = 100 * 1000;

/// Which habits to imitate. None is documented; each is a public report, and all are off by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Habits {
    /// A gzip body arrives decompressed, without its `content-encoding`
    /// (<https://github.com/aws/aws-lambda-nodejs-runtime-interface-client/issues/96>).
    pub gunzip: bool,
    /// The function's `content-length` comes back as `x-amzn-remapped-content-length`; applies to buffered answers too
    /// (<https://github.com/cargo-lambda/cargo-lambda/issues/862>).
    pub remap_content_length: bool,
    /// A chunk of less than about 100 kB leaves only with the next one, or at the end
    /// (<https://github.com/aws/aws-lambda-nodejs-runtime-interface-client/issues/102>).
    pub hold_small_chunks: bool,
    /// An answer without a body does not end: the connection stays open this long, and then breaks. Reported are up to
    /// 16 minutes (<https://github.com/aws/aws-lambda-nodejs-runtime-interface-client/issues/95>).
    /// In function.json: in milliseconds, as `emptyBodyHangsMs`.
    #[serde(rename = "emptyBodyHangsMs", deserialize_with = "milliseconds")]
    pub empty_body_hangs: Option<Duration>,
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
}

/// Applies the habits that change a body's bytes, or when they leave.
#[derive(Debug, Default)]
pub(crate) struct Shaper {
    gunzip: Option<GzDecoder<Vec<u8>>>,
    hold_small_chunks: bool,
    held: BytesMut,
}

impl Shaper {
    /// Takes from the head what the habits will take from the body.
    pub(crate) fn new(habits: &Habits, head: &mut ResponseHead) -> Self {
        let is_gzip = head
            .headers
            .get(CONTENT_ENCODING)
            .is_some_and(|coding| coding == "gzip");
        let gunzip = (habits.gunzip && is_gzip).then(|| {
            head.headers.remove(CONTENT_ENCODING);
            // It was the compressed body's.
            head.content_length = None;
            GzDecoder::new(Vec::new())
        });
        Self {
            gunzip,
            hold_small_chunks: habits.hold_small_chunks,
            held: BytesMut::new(),
        }
    }

    /// What leaves when this chunk arrives: maybe nothing yet.
    pub(crate) fn push(&mut self, chunk: Bytes) -> io::Result<Bytes> {
        let chunk = match &mut self.gunzip {
            Some(decoder) => {
                decoder.write_all(&chunk)?;
                Bytes::from(std::mem::take(decoder.get_mut()))
            }
            None => chunk,
        };
        if !self.hold_small_chunks {
            return Ok(chunk);
        }
        let nothing_held = self.held.is_empty();
        self.held.extend_from_slice(&chunk);
        if nothing_held && self.held.len() < SMALL_CHUNK_BYTES {
            return Ok(Bytes::new());
        }
        Ok(self.held.split().freeze())
    }

    /// What leaves when the last chunk has arrived.
    pub(crate) fn finish(&mut self) -> io::Result<Bytes> {
        if let Some(decoder) = self.gunzip.take() {
            self.held.extend_from_slice(&decoder.finish()?);
        }
        Ok(self.held.split().freeze())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::HeaderValue;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn head() -> ResponseHead {
        let mut head = ResponseHead::plain(HeaderValue::from_static("text/plain"));
        head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        head.content_length = Some(31);
        head
    }

    #[test]
    fn without_habits_every_chunk_leaves_as_it_is() {
        let mut head = head();
        let mut shaper = Shaper::new(&Habits::default(), &mut head);
        assert_eq!(shaper.push(Bytes::from_static(b"a")).unwrap(), "a");
        assert_eq!(shaper.push(Bytes::from_static(b"b")).unwrap(), "b");
        assert_eq!(shaper.finish().unwrap(), "");
        assert_eq!(
            (head.headers.contains_key(CONTENT_ENCODING), head.content_length),
            (true, Some(31))
        );
    }

    #[test]
    fn a_gzip_body_is_decompressed_wherever_its_chunks_are_cut() {
        let packed = gzip(b"hello world");
        for cut in 0..=packed.len() {
            let mut head = head();
            let mut shaper = Shaper::new(
                &Habits {
                    gunzip: true,
                    ..Habits::default()
                },
                &mut head,
            );
            assert!(!head.headers.contains_key(CONTENT_ENCODING));
            let mut all = shaper.push(Bytes::copy_from_slice(&packed[..cut])).unwrap().to_vec();
            all.extend(shaper.push(Bytes::copy_from_slice(&packed[cut..])).unwrap());
            all.extend(shaper.finish().unwrap());
            assert_eq!(all, b"hello world", "cut at {cut}");
        }
    }

    #[test]
    fn a_gzip_body_that_is_cut_short_is_an_error() {
        let packed = gzip(b"hello world");
        let mut shaper = Shaper::new(
            &Habits {
                gunzip: true,
                ..Habits::default()
            },
            &mut head(),
        );
        shaper
            .push(Bytes::copy_from_slice(&packed[..packed.len() - 9]))
            .unwrap();
        assert!(shaper.finish().is_err());
    }

    #[test]
    fn small_chunks_wait_for_the_next_and_large_ones_do_not() {
        let habits = Habits {
            hold_small_chunks: true,
            ..Habits::default()
        };
        let mut shaper = Shaper::new(&habits, &mut head());
        assert_eq!(shaper.push(Bytes::from_static(b"a")).unwrap(), "");
        assert_eq!(shaper.push(Bytes::from_static(b"b")).unwrap(), "ab");
        let large = Bytes::from(vec![7; SMALL_CHUNK_BYTES]);
        assert_eq!(shaper.push(large.clone()).unwrap(), large);
        assert_eq!(shaper.push(Bytes::from_static(b"c")).unwrap(), "");
        assert_eq!(shaper.finish().unwrap(), "c");
    }
}
