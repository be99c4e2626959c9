//! Frames from the server.

use crate::{CONTROL, FLAG_FIN, StreamId, VERSION, kind};

/// Bytes before a frame's payload.
const HEAD_BYTES: usize = 8;

/// What a server has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Data on a stream.
    Data {
        /// Stream.
        stream: StreamId,
        /// Bytes.
        data: Vec<u8>,
        /// Nothing more comes on it.
        is_last: bool,
    },
    /// The server took a stream.
    Reply {
        /// Stream.
        stream: StreamId,
        /// Nothing comes on it.
        is_last: bool,
    },
    /// A stream was torn down.
    Reset {
        /// Stream.
        stream: StreamId,
        /// Status code of the protocol.
        status: u32,
    },
    /// Must be answered with the same number.
    Ping {
        /// Number.
        id: u32,
    },
    /// The server ends the connection.
    GoAway,
    /// Something that a client may ignore.
    Other,
}

/// What is no SPDY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpdyError {
    /// A control frame of another version.
    #[error("the server speaks SPDY version {0}, not 3")]
    Version(u32),
    /// A control frame that is shorter than its kind demands.
    #[error("the server sent a frame of kind {kind} with {length} bytes, which is too short")]
    Short {
        /// Kind.
        kind: u32,
        /// Length.
        length: usize,
    },
}

/// Puts frames together from bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    taken: usize,
}

impl Decoder {
    /// Adds bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.taken));
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame; `None` when more bytes are needed. An error is final.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, SpdyError> {
        let bytes = &self.bytes[self.taken..];
        let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let first = word(&head[..4]);
        let second = word(&head[4..]);
        // 24 bits, so it fits.
        let length = (second & 0x00ff_ffff) as usize;
        let Some(payload) = bytes.get(HEAD_BYTES..HEAD_BYTES + length) else { return Ok(None) };
        let is_last = head[4] & FLAG_FIN != 0;
        let frame = if first & CONTROL == 0 {
            Frame::Data { stream: StreamId(first), data: payload.to_vec(), is_last }
        } else {
            control(first & !CONTROL, is_last, payload)?
        };
        self.taken += HEAD_BYTES + length;
        Ok(Some(frame))
    }
}

fn control(version_and_kind: u32, is_last: bool, payload: &[u8]) -> Result<Frame, SpdyError> {
    let (version, kind) = (version_and_kind >> 16, version_and_kind & 0xffff);
    if version != VERSION {
        return Err(SpdyError::Version(version));
    }
    let number = |at: usize| {
        let bytes = payload.get(at..at + 4).ok_or(SpdyError::Short { kind, length: payload.len() })?;
        Ok(word(bytes))
    };
    let stream = || number(0).map(|id| StreamId(id & !CONTROL));
    Ok(match kind {
        kind::SYN_REPLY => Frame::Reply { stream: stream()?, is_last },
        kind::RST_STREAM => Frame::Reset { stream: stream()?, status: number(4)? },
        kind::PING => Frame::Ping { id: number(0)? },
        kind::GOAWAY => Frame::GoAway,
        _ => Frame::Other,
    })
}

/// Four bytes as a number; fewer count as leading ones.
fn word(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |word, &byte| (word << 8) | u32::from(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Encoder, End};

    fn frames(bytes: &[u8], step: usize) -> Result<Vec<Frame>, SpdyError> {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for part in bytes.chunks(step.max(1)) {
            decoder.push(part);
            while let Some(frame) = decoder.next_frame()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    #[test]
    fn control_frames_are_read() {
        let bytes = [
            &[0x80, 3, 0, 2, FLAG_FIN, 0, 0, 6, 0, 0, 0, 1, 1, 2][..],
            &[0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0, 5],
            &[0x80, 3, 0, 4, 0, 0, 0, 0],
            &[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9],
            &[0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let want = vec![
            Frame::Reply { stream: StreamId(1), is_last: true },
            Frame::Reset { stream: StreamId(3), status: 5 },
            Frame::Other,
            Frame::Ping { id: 9 },
            Frame::GoAway,
        ];
        assert_eq!(frames(&bytes, 3), Ok(want));
        assert_eq!(frames(&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9], 99), Err(SpdyError::Version(2)));
        assert_eq!(frames(&[0x80, 3, 0, 3, 0, 0, 0, 0], 99), Err(SpdyError::Short { kind: 3, length: 0 }));
    }

    proptest! {
        #[test]
        fn data_comes_back_however_it_is_cut(data in proptest::collection::vec(any::<u8>(), 0..70_000), step in 64usize..9000) {
            let mut bytes = Vec::new();
            Encoder::default().data(StreamId(7), &data, End::Last, &mut bytes);
            let mut back = Vec::new();
            let mut ends = 0;
            for frame in frames(&bytes, step).expect("valid") {
                let Frame::Data { stream, data, is_last } = frame else { panic!("data expected") };
                prop_assert_eq!(stream, StreamId(7));
                prop_assert_eq!(ends, 0);
                ends += u32::from(is_last);
                back.extend(data);
            }
            prop_assert_eq!(ends, 1);
            prop_assert_eq!(back, data);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..2000), step in 1usize..99) {
            let _ = frames(&bytes, step);
        }
    }
}
