//! Decoder configuration of audio: is it whole enough to be kept for viewers who join later?

use super::{Codec, RECORD_BYTES_MAX, input::Input};

/// Whether `body` is a configuration of `codec` that a decoder could start with.
pub(super) fn is_valid(codec: Codec, body: Input<'_>) -> bool {
    if body.0.len() > RECORD_BYTES_MAX {
        return false;
    }
    match codec {
        Codec::Aac => aac(body).is_some(),
        Codec::Opus => opus(body).is_some(),
        Codec::Flac => flac(body).is_some(),
        // Their frames say it all; a sequence start has no body.
        Codec::Ac3 | Codec::Eac3 | Codec::Mp3 => true,
        _ => false,
    }
}

/// Whether a MultichannelConfig names its channels: order, count, then a mapping or the speakers' flags.
pub(super) fn is_valid_multichannel(mut body: Input<'_>) -> bool {
    let Some([order, count]) = body.array() else { return false };
    let needed = match order {
        0 => 0,
        1 => 4,
        2 => usize::from(count),
        _ => return false,
    };
    count > 0 && body.0.len() >= needed
}

/// AudioSpecificConfig, ISO/IEC 14496-3 1.6.2.1, as far as its channel configuration.
fn aac(input: Input<'_>) -> Option<()> {
    let mut bits = Bits { bytes: input.0, at: 0 };
    let mut object_type = bits.read(5)?;
    if object_type == 31 {
        object_type = 32 + bits.read(6)?;
    }
    let rate_known = match bits.read(4)? {
        15 => bits.read(24)? != 0,
        index => index < 13,
    };
    let channels = bits.read(4)?;
    // Without a channel configuration the channels stand in a program config element, which takes 31 bits or more.
    let channels_known = channels != 0 || bits.left() >= 31;
    let whole = input.0.len() >= 2;
    (whole && object_type != 0 && rate_known && channels_known).then_some(())
}

/// OpusHead, RFC 7845 5.1.
fn opus(mut input: Input<'_>) -> Option<()> {
    let magic = input.take(8)?;
    let [version, channels, _skip_lo, _skip_hi, _, _, _, _, _gain_lo, _gain_hi, family]: [u8; 11] = input.array()?;
    let mapped = match family {
        0 => channels <= 2,
        _ => input.0.len() >= 2 + usize::from(channels),
    };
    (magic == b"OpusHead" && version >> 4 == 0 && channels > 0 && mapped).then_some(())
}

/// STREAMINFO, RFC 9639 8.2: alone, behind its block header, or behind the file's signature and that.
fn flac(mut input: Input<'_>) -> Option<()> {
    const LEN: usize = 34;
    if input.0.starts_with(b"fLaC") {
        input.take(4)?;
    }
    if input.0.len() != LEN {
        let [kind, len @ ..]: [u8; 4] = input.array()?;
        if kind & 0x7f != 0 || len != [0, 0, LEN as u8] {
            return None;
        }
    }
    let info = input.take(LEN)?;
    let sample_rate = u32::from_be_bytes([0, info[10], info[11], info[12]]) >> 4;
    (sample_rate != 0).then_some(())
}

/// Bits from the most significant on.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn left(&self) -> usize {
        self.bytes.len() * 8 - self.at
    }

    /// The next `count` (at most 32) bits.
    fn read(&mut self, count: usize) -> Option<u32> {
        if count > self.left() {
            return None;
        }
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.bytes[self.at / 8] >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_specific_config_is_read_without_dividing_by_it() {
        for (what, good) in [
            ("AAC-LC 44.1 kHz stereo", &[0x12, 0x10][..]),
            ("explicit rate of 44.1 kHz", &[0x17, 0x80, 0x56, 0x22, 0x10]),
            ("escaped object type 42", &[0xf9, 0x46, 0x40]),
            ("channels in a program config element", &[0x12, 0x00, 0x05, 0, 0, 0, 0]),
        ] {
            assert!(is_valid(Codec::Aac, Input(good)), "{what}");
        }
        for (what, bad) in [
            ("nothing", &[][..]),
            ("one byte", &[0x12]),
            ("no object type", &[0x02, 0x10]),
            ("escaped object type cut short", &[0xf9, 0x46]),
            ("no channels", &[0x12, 0x00]),
            ("reserved rate", &[0x16, 0x90]),
            ("rate 0", &[0x17, 0x80, 0, 0, 0x10]),
        ] {
            assert!(!is_valid(Codec::Aac, Input(bad)), "{what}");
        }
    }

    #[test]
    fn opus_head_is_whole_or_invalid() {
        let stereo = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";
        assert!(is_valid(Codec::Opus, Input(stereo)));
        assert!(!is_valid(Codec::Opus, Input(&stereo[..18])));
        assert!(!is_valid(Codec::Opus, Input(b"OpusTags\x01\x02\x38\x01\x80\xbb\0\0\0\0\0")));
        assert!(!is_valid(Codec::Opus, Input(b"OpusHead\x01\x00\x38\x01\x80\xbb\0\0\0\0\0")), "no channels");
        assert!(
            !is_valid(Codec::Opus, Input(b"OpusHead\x01\x06\x38\x01\x80\xbb\0\0\0\0\x01\x04\x02\0\x01")),
            "short map"
        );
        assert!(is_valid(Codec::Opus, Input(b"OpusHead\x01\x03\x38\x01\x80\xbb\0\0\0\0\x01\x02\x01\0\x01\x02")));
    }

    #[test]
    fn flac_streaminfo_is_read_bare_and_wrapped() {
        let mut info = vec![0; 34];
        info[10..13].copy_from_slice(&[0x0b, 0xb8, 0x02]);
        assert!(is_valid(Codec::Flac, Input(&info)));
        let block = [&[0x80, 0, 0, 34][..], &info].concat();
        assert!(is_valid(Codec::Flac, Input(&block)));
        assert!(is_valid(Codec::Flac, Input(&[b"fLaC", &block[..]].concat())));
        assert!(!is_valid(Codec::Flac, Input(&info[..33])));
        assert!(!is_valid(Codec::Flac, Input(&[0; 34])), "sample rate 0");
    }

    #[test]
    fn multichannel_layout_must_be_whole() {
        assert!(is_valid_multichannel(Input(&[1, 6, 0, 0, 0, 0x3f])));
        assert!(is_valid_multichannel(Input(&[2, 2, 0, 1])));
        for bad in [&[][..], &[1], &[1, 0, 0, 0, 0, 0], &[1, 6, 0, 0, 0], &[2, 3, 0, 1], &[9, 2]] {
            assert!(!is_valid_multichannel(Input(bad)), "{bad:?}");
        }
    }
}
