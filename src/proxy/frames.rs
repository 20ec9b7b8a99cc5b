//! Where frames begin and end on a WebSocket (RFC 6455 §5.2). Nothing else is looked at: what they say is not ours.

/// The longest header of a frame: two bytes, a length of eight, a mask of four.
const LONGEST: usize = 14;
/// A control frame that says that this side ends.
const CLOSE: u8 = 0x8;

/// Follows one direction.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; LONGEST],
    have: usize,
    left: u64,
    closed: bool,
    lost: bool,
}

impl Frames {
    /// These bytes have passed.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !self.lost && !bytes.is_empty() {
            if self.left > 0 {
                let inside = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= inside as u64;
                bytes = bytes.get(inside..).unwrap_or_default();
                continue;
            }
            let Some((byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            if let Some(place) = self.head.get_mut(self.have) {
                *place = *byte;
            }
            self.have += 1;
            self.begin();
        }
    }

    /// Begins a frame once its header is whole.
    fn begin(&mut self) {
        let [first, second, length @ .., _, _, _, _] = self.head;
        let (length, more) = match second & 0x7f {
            126 => (u64::from_be_bytes(length) >> 48, 2),
            127 => (u64::from_be_bytes(length), 8),
            short => (u64::from(short), 0),
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        if self.have < 2 || self.have < 2 + more + mask {
            return;
        }
        self.have = 0;
        self.closed |= first & 0x0f == CLOSE;
        self.left = length;
        self.lost = length > i64::MAX.unsigned_abs();
    }

    /// Whether a frame of ours may follow: the last one is whole, and was not the last of all.
    pub(super) const fn may_add(&self) -> bool {
        self.have == 0 && self.left == 0 && !self.closed && !self.lost
    }
}

/// A frame that ends the connection, with a code and a reason. A client's is masked.
pub(super) fn close(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let payload = code.to_be_bytes().into_iter().chain(reason.bytes()).take(125);
    let length = u8::try_from(payload.clone().count()).unwrap_or_default();
    match mask {
        None => [0x80 | CLOSE, length].into_iter().chain(payload).collect(),
        Some(mask) => {
            let masked = payload.zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask);
            [0x80 | CLOSE, 0x80 | length].into_iter().chain(mask).chain(masked).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask = u8::from(masked) << 7;
        let mut frame = vec![0x80 | opcode];
        match length {
            0..126 => frame.push(mask | u8::try_from(length).unwrap()),
            126..65536 => {
                frame.push(mask | 0x7e);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask | 0x7f);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend([1, 2, 3, 4]);
        }
        frame.extend(std::iter::repeat_n(0x88, length));
        frame
    }

    proptest! {
        #[test]
        fn it_is_between_frames_exactly_where_one_ends(
            shapes in prop::collection::vec((0_u8..3, prop_oneof![0_usize..200, 65_500_usize..65_600], any::<bool>()), 1..6),
            pieces in prop::collection::vec(1_usize..5000, 1..50),
        ) {
            let (mut bytes, mut ends) = (Vec::new(), vec![0]);
            for (opcode, length, masked) in shapes {
                bytes.extend(frame(opcode, length, masked));
                ends.push(bytes.len());
            }
            let (mut frames, mut at) = (Frames::default(), 0);
            for piece in pieces.iter().cycle() {
                let next = bytes.len().min(at + piece);
                frames.follow(&bytes[at..next]);
                at = next;
                prop_assert_eq!(frames.may_add(), ends.contains(&at));
                if at == bytes.len() {
                    break;
                }
            }
        }
    }

    #[test]
    fn nothing_follows_a_close_or_a_length_that_cannot_be() {
        let mut frames = Frames::default();
        frames.follow(&close(1000, "", None));
        assert!(!frames.may_add());
        let mut frames = Frames::default();
        frames.follow(&[0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0]);
        frames.follow(&[0; 100]);
        assert!(!frames.may_add());
    }

    #[test]
    fn a_close_of_ours_is_one_frame() {
        for mask in [None, Some([9, 8, 7, 6])] {
            let bytes = close(1008, "no", mask);
            let head = if mask.is_some() { 6 } else { 2 };
            let payload: Vec<u8> = match mask {
                None => bytes[head..].to_vec(),
                Some(mask) => bytes[head..].iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m).collect(),
            };
            assert_eq!(payload, [&1008_u16.to_be_bytes()[..], b"no"].concat());
            assert_eq!(bytes[0], 0x88);
            assert_eq!(bytes[1], 4 | if mask.is_some() { 0x80 } else { 0 });
        }
    }
}
