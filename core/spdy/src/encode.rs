//! Frames to the server.

use crate::{CONTROL, FLAG_FIN, StreamId, VERSION, kind};

/// Most data in one frame; small enough that other streams get their turn.
const MAX_DATA_BYTES: usize = 32 * 1024;
/// First bytes of a zlib stream: deflate, 32 KiB window, no preset dictionary.
const ZLIB_HEADER: [u8; 2] = [0x78, 0x01];

/// An empty stored block, which lets a decompressor hand out all that it holds (zlib's sync flush).
const FLUSH: [u8; 5] = [0, 0, 0, 0xff, 0xff];

/// Whether data ends its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// More follows.
    More,
    /// Nothing more is sent on the stream.
    Last,
}

/// Makes the frames of one connection. Its output must be sent in order.
#[derive(Debug)]
pub struct Encoder {
    next_stream: u32,
    is_compression_begun: bool,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { next_stream: 1, is_compression_begun: false }
    }
}

impl Encoder {
    /// Opens a stream with these headers (lower-case names) and appends the frame to `out`.
    pub fn open(&mut self, headers: &[(&str, &str)], out: &mut Vec<u8>) -> StreamId {
        let id = StreamId(self.next_stream);
        self.next_stream += 2;
        let mut payload = Vec::new();
        put(&mut payload, id.0);
        // No associated stream; highest priority; no credential slot.
        put(&mut payload, 0);
        payload.extend_from_slice(&[0, 0]);
        self.header_block(headers, &mut payload);
        control(kind::SYN_STREAM, &payload, out);
        id
    }

    /// Sends data on a stream, in as many frames as it takes.
    pub fn data(&self, stream: StreamId, data: &[u8], end: End, out: &mut Vec<u8>) {
        let mut rest = data;
        loop {
            let (part, after) = rest.split_at(rest.len().min(MAX_DATA_BYTES));
            let is_last = after.is_empty();
            let flags = if is_last && end == End::Last { FLAG_FIN } else { 0 };
            put(out, stream.0);
            put(out, flags_and_length(flags, part.len()));
            out.extend_from_slice(part);
            if is_last {
                return;
            }
            rest = after;
        }
    }

    /// Answers a ping of the server.
    pub fn pong(&self, id: u32, out: &mut Vec<u8>) {
        control(kind::PING, &id.to_be_bytes(), out);
    }

    fn header_block(&mut self, headers: &[(&str, &str)], payload: &mut Vec<u8>) {
        let mut block = Vec::new();
        put(&mut block, headers.len() as u32);
        for (name, value) in headers {
            for text in [name, value] {
                put(&mut block, text.len() as u32);
                block.extend_from_slice(text.as_bytes());
            }
        }
        if !std::mem::replace(&mut self.is_compression_begun, true) {
            payload.extend_from_slice(&ZLIB_HEADER);
        }
        for part in block.chunks(usize::from(u16::MAX)) {
            let length = part.len() as u16;
            // A stored block that is not the last of the stream.
            payload.push(0);
            payload.extend_from_slice(&length.to_le_bytes());
            payload.extend_from_slice(&(!length).to_le_bytes());
            payload.extend_from_slice(part);
        }
        payload.extend_from_slice(&FLUSH);
    }
}

fn control(kind: u32, payload: &[u8], out: &mut Vec<u8>) {
    put(out, CONTROL | (VERSION << 16) | kind);
    put(out, flags_and_length(0, payload.len()));
    out.extend_from_slice(payload);
}

fn flags_and_length(flags: u8, length: usize) -> u32 {
    (u32::from(flags) << 24) | (length as u32 & 0x00ff_ffff)
}

fn put(out: &mut Vec<u8>, word: u32) {
    out.extend_from_slice(&word.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_opened_with_stored_headers_in_one_zlib_stream() {
        let mut encoder = Encoder::default();
        let mut out = Vec::new();
        assert_eq!(encoder.open(&[("streamtype", "stdin")], &mut out), StreamId(1));
        let want = [
            &[0x80, 3, 0, 1, 0, 0, 0, 10 + 2 + 5 + 27 + 5][..],
            &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
            &[0x78, 0x01, 0, 27, 0, !27, 0xff],
            &[0, 0, 0, 1, 0, 0, 0, 10],
            b"streamtype",
            &[0, 0, 0, 5],
            b"stdin",
            &FLUSH,
        ]
        .concat();
        assert_eq!(out, want);

        out.clear();
        assert_eq!(encoder.open(&[], &mut out), StreamId(3));
        assert_eq!(
            out[18..],
            [0, 4, 0, !4, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            "the zlib header comes once"
        );
    }

    #[test]
    fn only_the_last_frame_ends_the_stream() {
        let encoder = Encoder::default();
        let mut out = Vec::new();
        encoder.data(StreamId(5), &vec![7; MAX_DATA_BYTES + 1], End::Last, &mut out);
        assert_eq!(out[..8], [0, 0, 0, 5, 0, 0, 0x80, 0]);
        assert_eq!(out[8 + MAX_DATA_BYTES..], [0, 0, 0, 5, FLAG_FIN, 0, 0, 1, 7]);
        out.clear();
        encoder.data(StreamId(5), &[], End::Last, &mut out);
        assert_eq!(out, [0, 0, 0, 5, FLAG_FIN, 0, 0, 0]);
    }
}
