//! SPDY/3.1 frames, client side, as exec, attach and port-forward need them (CONTRACT 2.6).
//!
//! The streaming servers of container runtimes speak WebSocket only up to `v4.channel.k8s.io`, which cannot end one
//! stream: `echo hi | podwright exec -i POD -- cat` would never see its end. SPDY can. So this is what a client here uses.
//!
//! ```text
//! Encoder: open / data / pong  -> bytes          bytes -> Decoder -> Frame
//! Inputs:  stdin / size -> bytes                  Frame -> Command -> Output, and how the command ended
//! ```
//!
//! Reads and writes byte buffers only. [`Encoder`] keeps the stream numbers and the state of the header compression;
//! [`Decoder`] keeps the bytes of an unfinished frame, bounded by [`MAX_FRAME_BYTES`]. [`Command`] is the client of one
//! remote command on top of both: it knows which stream is which and keeps the status that ends the command.
//!
//! Header blocks are sent as stored blocks of one zlib stream without the preset dictionary. zlib says in its own header
//! whether the dictionary is used, so a server that follows zlib reads them. Headers that come from the server are
//! skipped: a client learns nothing from them. Left out: flow control (the servers have none), settings, server push.

mod command;
mod decode;
mod encode;

pub use command::{Command, CommandEnd, Inputs, Output, Wanted};
pub use decode::{Decoder, Frame, SpdyError};
pub use encode::{Encoder, End};

/// Largest frame taken from a server: the frame format has room for no more.
pub const MAX_FRAME_BYTES: usize = (1 << 24) - 1;

/// Number of a stream. Those of a client are odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

/// Bit of the first word that tells control frames from data frames.
const CONTROL: u32 = 0x8000_0000;
/// Version in control frames: 3 stands for SPDY/3 and SPDY/3.1.
const VERSION: u32 = 3;
/// Flag of the last frame of a stream in one direction.
const FLAG_FIN: u8 = 0x01;

/// Types of control frames.
mod kind {
    pub(crate) const SYN_STREAM: u32 = 1;
    pub(crate) const SYN_REPLY: u32 = 2;
    pub(crate) const RST_STREAM: u32 = 3;
    pub(crate) const PING: u32 = 6;
    pub(crate) const GOAWAY: u32 = 7;
}
