//! Decoder configuration of video: is it whole enough to be kept for viewers who join later?

use super::{Codec, RECORD_BYTES_MAX, input::Input};

/// Whether `body` is a configuration record of `codec` that a decoder could start with.
pub(super) fn is_valid(codec: Codec, body: Input<'_>) -> bool {
    if body.0.len() > RECORD_BYTES_MAX {
        return false;
    }
    match codec {
        Codec::Avc => avc(body).is_some(),
        Codec::Hevc => hevc(body).is_some(),
        Codec::Vvc => !body.is_empty(),
        Codec::Av1 => av1(body).is_some(),
        Codec::Vp8 | Codec::Vp9 => vpx(body).is_some(),
        _ => false,
    }
}

/// AVCDecoderConfigurationRecord, ISO/IEC 14496-15 5.3.3.1: at least one SPS and one PPS, all inside the record.
fn avc(mut input: Input<'_>) -> Option<()> {
    let [version, _profile, _compatibility, _level, length_size, sps_count] = input.array()?;
    if version != 1 || length_size & 3 == 2 {
        return None;
    }
    avc_sets(&mut input, sps_count & 0x1f, 7, 4)?;
    let pps_count = input.u8()?;
    avc_sets(&mut input, pps_count, 8, 2)
}

/// `count` (not 0) parameter sets of one NAL type, none shorter than can be.
fn avc_sets(input: &mut Input<'_>, count: u8, nal_type: u8, bytes_min: usize) -> Option<()> {
    for _ in 0..count {
        let len = input.u16()?;
        let set = input.take(len)?;
        if len < bytes_min || set[0] & 0x1f != nal_type {
            return None;
        }
    }
    (count > 0).then_some(())
}

/// HEVCDecoderConfigurationRecord, ISO/IEC 14496-15 8.3.3.1: at least one SPS and one PPS, all inside the record.
fn hevc(mut input: Input<'_>) -> Option<()> {
    const SPS: u8 = 33;
    const PPS: u8 = 34;
    let fixed: [u8; 23] = input.array()?;
    // Version 0 is written by encoders that followed the draft.
    if fixed[0] > 1 || fixed[21] & 3 == 2 {
        return None;
    }
    let (mut sps, mut pps) = (false, false);
    for _ in 0..fixed[22] {
        let nal_type = input.u8()? & 0x3f;
        let count = input.u16()?;
        for _ in 0..count {
            let len = input.u16()?;
            if len < 2 {
                return None;
            }
            input.take(len)?;
        }
        sps |= nal_type == SPS && count > 0;
        pps |= nal_type == PPS && count > 0;
    }
    (sps && pps).then_some(())
}

/// AV1CodecConfigurationRecord: marker and version, then OBUs that may be missing.
fn av1(mut input: Input<'_>) -> Option<()> {
    let [marker_and_version, ..]: [u8; 4] = input.array()?;
    let obu_forbidden_bit = input.0.first().is_some_and(|byte| byte & 0x80 != 0);
    (marker_and_version == 0x81 && !obu_forbidden_bit).then_some(())
}

/// VPCodecConfigurationRecord, bare or with the version and flags of its MP4 box in front.
fn vpx(mut input: Input<'_>) -> Option<()> {
    if input.0.starts_with(&[1, 0, 0, 0]) && input.0.len() >= 12 {
        input.take(4)?;
    }
    input.take(6)?;
    let init_len = input.u16()?;
    (init_len <= input.0.len()).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AVC: &[u8] =
        &[1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 5, 0x67, 0x64, 0, 0x1f, 0xac, 1, 0, 4, 0x68, 0xeb, 0xe3, 0xcb];

    fn hevc_record(arrays: &[(u8, &[&[u8]])]) -> Vec<u8> {
        let mut out = vec![1; 1];
        out.extend([0; 20]);
        out.extend([0xff, arrays.len() as u8]);
        for (nal_type, nals) in arrays {
            out.push(0x80 | nal_type);
            out.extend((nals.len() as u16).to_be_bytes());
            for nal in *nals {
                out.extend((nal.len() as u16).to_be_bytes());
                out.extend(*nal);
            }
        }
        out
    }

    #[test]
    fn whole_avc_record_is_valid_and_every_cut_of_it_is_not() {
        assert!(is_valid(Codec::Avc, Input(AVC)));
        for len in 0..AVC.len() {
            assert!(!is_valid(Codec::Avc, Input(&AVC[..len])), "{len} bytes");
        }
    }

    #[test]
    fn avc_records_that_crashed_others_are_invalid() {
        let with = |at: usize, byte: u8| {
            let mut record = AVC.to_vec();
            record[at] = byte;
            record
        };
        for (what, record) in [
            ("31 SPS announced", with(5, 0xff)),
            ("no SPS", [&AVC[..5], &[0xe0, 0]].concat()),
            ("SPS length past the end", with(6, 0xff)),
            ("an empty SPS", [&AVC[..6], &[0, 0], &AVC[13..]].concat()),
            ("no PPS", with(13, 0)),
            ("an empty PPS", [&AVC[..14], &[0, 0]].concat()),
            ("another version", with(0, 0)),
            ("lengths of three bytes", with(4, 0xfe)),
            ("something else in the SPS's place", with(8, 0x65)),
        ] {
            assert!(!is_valid(Codec::Avc, Input(&record)), "{what}");
        }
    }

    #[test]
    fn a_record_larger_than_any_decoder_needs_is_not_kept() {
        let mut record = vec![1, 0x64, 0, 0x1f, 0xff, 0xe1, 0xff, 0xff, 0x67];
        record.resize(8 + 0xffff, 0);
        record.extend([1, 0, 2, 0x68, 0xeb]);
        assert!(!is_valid(Codec::Avc, Input(&record)));
    }

    #[test]
    fn hevc_record_needs_sps_and_pps_inside_its_bounds() {
        let whole = hevc_record(&[(32, &[b"vps"]), (33, &[b"sps"]), (34, &[b"pps"])]);
        assert!(is_valid(Codec::Hevc, Input(&whole)));
        assert!(!is_valid(Codec::Hevc, Input(&whole[..whole.len() - 1])));
        for arrays in
            [&[][..], &[(33, &[&b"sps"[..]][..])], &[(33, &[b"sps"]), (34, &[])], &[(33, &[b""]), (34, &[b"pps"])]]
        {
            assert!(!is_valid(Codec::Hevc, Input(&hevc_record(arrays))), "{arrays:?}");
        }
    }

    #[test]
    fn av1_record_starts_with_its_marker() {
        assert!(is_valid(Codec::Av1, Input(&[0x81, 0, 0x0c, 0])));
        assert!(is_valid(Codec::Av1, Input(&[0x81, 0, 0x0c, 0, 0x0a, 0x0b])));
        for bad in [&[][..], &[0x81], &[0x81, 0, 0x0c], &[0x01, 0, 0x0c, 0], &[0x81, 0, 0x0c, 0, 0xff]] {
            assert!(!is_valid(Codec::Av1, Input(bad)), "{bad:?}");
        }
    }

    #[test]
    fn vp9_record_is_read_with_and_without_the_box_header() {
        assert!(is_valid(Codec::Vp9, Input(&[0, 10, 0x82, 2, 2, 2, 0, 0])));
        assert!(is_valid(Codec::Vp9, Input(&[1, 0, 0, 0, 0, 10, 0x82, 2, 2, 2, 0, 0])));
        for bad in [&[][..], &[0, 10, 0x82, 2, 2, 2, 0], &[0, 10, 0x82, 2, 2, 2, 0, 1]] {
            assert!(!is_valid(Codec::Vp9, Input(bad)), "{bad:?}");
        }
    }
}
