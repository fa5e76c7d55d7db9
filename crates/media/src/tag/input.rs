//! A bounded look at bytes that a peer sent: each read says whether there was enough.

/// What is left to read of a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<usize> {
        self.array().map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    pub(super) fn u24(&mut self) -> Option<u32> {
        self.array().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// A signed 24-bit number: the composition offset.
    pub(super) fn i24(&mut self) -> Option<i32> {
        self.array().map(|[a, b, c]| i32::from_be_bytes([a, b, c, 0]) >> 8)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
