//! Bodies: which bytes of a connection belong to one, and where it ends (RFC 9112 §6, §7).

use super::Malformed;

/// The most bytes of a trailer section.
const MOST_TRAILERS: usize = 8 * 1024;
/// The most bytes of a chunk's extension; nobody sends one on a normal day.
const MOST_EXTENSION: u16 = 256;
/// The most digits of a chunk's size: what fits into 60 bits.
const MOST_DIGITS: u8 = 15;

/// A body that is being read.
#[derive(Debug)]
pub(in crate::proxy) enum Body {
    /// So many bytes are still to come.
    Exact(u64),
    /// Chunks.
    Chunked(Chunks),
    /// Everything until the connection is closed; only answers can be so.
    UntilClose {
        /// Whether it was.
        closed: bool,
    },
}

/// Where we are among chunks.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Chunks {
    at: At,
    trailers: Vec<u8>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    /// In the digits of a size.
    #[default]
    Start,
    Size {
        size: u64,
        digits: u8,
    },
    /// In an extension, which is skipped.
    Extension {
        size: u64,
        length: u16,
    },
    /// Before the LF that ends the line of a size.
    SizeEnd {
        size: u64,
    },
    Data(u64),
    /// Before the CR and LF that end a chunk.
    DataCr,
    DataLf,
    Trailers,
    End,
}

/// Bytes of a body, and how many were used to get at them.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Piece<'b> {
    pub(in crate::proxy) data: &'b [u8],
    pub(in crate::proxy) used: usize,
}

impl Body {
    /// No body.
    pub(in crate::proxy) const NOTHING: Body = Body::Exact(0);

    /// A body in chunks.
    pub(in crate::proxy) fn chunked() -> Self {
        Body::Chunked(Chunks::default())
    }

    /// Whether it has ended; what follows on the connection belongs to something else.
    pub(in crate::proxy) fn ended(&self) -> bool {
        match self {
            Body::Exact(left) => *left == 0,
            Body::Chunked(chunks) => chunks.at == At::End,
            Body::UntilClose { closed } => *closed,
        }
    }

    /// The next run of its bytes. Nothing was used: more must be read, or it has ended.
    ///
    /// # Errors
    /// When chunks are not written as they must be.
    pub(in crate::proxy) fn take<'b>(&mut self, input: &'b [u8]) -> Result<Piece<'b>, Malformed> {
        match self {
            Body::Exact(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= most as u64;
                let data = input.get(..most).unwrap_or_default();
                Ok(Piece { data, used: most })
            }
            Body::Chunked(chunks) => chunks.take(input),
            Body::UntilClose { .. } => Ok(Piece { data: input, used: input.len() }),
        }
    }

    /// The connection was closed by the other side.
    ///
    /// # Errors
    /// When the body had not ended.
    pub(in crate::proxy) fn close(&mut self) -> Result<(), Malformed> {
        if let Body::UntilClose { closed } = self {
            *closed = true;
        }
        if self.ended() { Ok(()) } else { Err(Malformed::CutOff) }
    }

    /// The trailer section, with the empty line that ends it; empty when there was none.
    pub(in crate::proxy) fn trailers(&self) -> &[u8] {
        match self {
            Body::Chunked(chunks) => &chunks.trailers,
            Body::Exact(_) | Body::UntilClose { .. } => &[],
        }
    }
}

/// What an extension is made of here (RFC 9112 §7.1.1): tokens and the marks between them. White space, which the grammar
/// knows as bad and in quotes, would let a whole line of another message pass for an extension.
fn extends(byte: u8) -> bool {
    super::head::is_mark(byte) || matches!(byte, b';' | b'=' | b'"')
}

impl Chunks {
    fn take<'b>(&mut self, input: &'b [u8]) -> Result<Piece<'b>, Malformed> {
        let mut used = 0;
        while let Some(byte) = input.get(used).copied() {
            if let At::Data(left) = &mut self.at {
                let rest = input.get(used..).unwrap_or_default();
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                *left -= most as u64;
                if *left == 0 {
                    self.at = At::DataCr;
                }
                let data = rest.get(..most).unwrap_or_default();
                return Ok(Piece { data, used: used + most });
            }
            if self.at == At::End {
                break;
            }
            self.step(byte)?;
            used += 1;
        }
        Ok(Piece { data: &[], used })
    }

    /// One byte of framing.
    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        let hex = char::from(byte).to_digit(16).map(u64::from);
        self.at = match (&self.at, byte, hex) {
            (At::Start, _, Some(digit)) => At::Size { size: digit, digits: 1 },
            (At::Size { size, digits }, _, Some(digit)) if *digits < MOST_DIGITS => {
                At::Size { size: size << 4 | digit, digits: digits + 1 }
            }
            (At::Size { size, .. }, b';', _) => At::Extension { size: *size, length: 0 },
            (At::Size { size, .. } | At::Extension { size, .. }, b'\r', _) => At::SizeEnd { size: *size },
            (At::Extension { size, length }, _, _) if *length < MOST_EXTENSION && extends(byte) => {
                At::Extension { size: *size, length: length + 1 }
            }
            (At::SizeEnd { size: 0 }, b'\n', _) => At::Trailers,
            (At::SizeEnd { size }, b'\n', _) => At::Data(*size),
            (At::DataCr, b'\r', _) => At::DataLf,
            (At::DataLf, b'\n', _) => At::Start,
            (At::Trailers, _, _) => return self.trailer(byte),
            _ => return Err(Malformed::Chunk),
        };
        Ok(())
    }

    /// One byte of the trailer section, which ends with an empty line.
    fn trailer(&mut self, byte: u8) -> Result<(), Malformed> {
        if (byte == b'\n') != (self.trailers.last() == Some(&b'\r')) {
            return Err(Malformed::LineEnd);
        }
        if self.trailers.len() == MOST_TRAILERS {
            return Err(Malformed::Large);
        }
        self.trailers.push(byte);
        if self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n") {
            super::fields(&self.trailers, MOST_TRAILERS)?;
            self.at = At::End;
        }
        Ok(())
    }
}
