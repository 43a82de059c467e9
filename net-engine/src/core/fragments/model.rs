//! What holds for any fragments: the same as for a list of them that is searched from end to end.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

/// One datagram of the model: offset, data and whether it is the last, of each fragment; `None` once
/// something was wrong.
type Model = BTreeMap<(bool, u32), Option<Vec<(usize, Vec<u8>, bool)>>>;

/// Whatever fragments come in whatever order, what comes out is what a naive reading makes of them, and
/// the memory stays within its bound.
///
/// The input is a list of fragments: family and id, offset in units of eight, length, whether it is the
/// last.
pub(crate) fn agree_with_a_model(bytes: &[u8]) {
    #[allow(clippy::disallowed_methods, reason = "any instant will do: nothing moves it")]
    let now = Instant::now();
    let limits = Limits { max_fragment_bytes: 4 << 20, ..Limits::default() };
    let (mut fragments, mut model) = (Fragments::new(&limits), Model::new());
    let mut tight = Fragments::new(&Limits { max_fragment_bytes: 100_000, ..limits });
    for step in bytes.chunks_exact(5) {
        let [which, offset_high, offset_low, length, fill] = *step else { return };
        let (is_v6, is_last, id) = (which & 1 != 0, which & 2 != 0, u32::from(which >> 2 & 7));
        let offset = usize::from(u16::from_be_bytes([offset_high, offset_low]) & 0x1fff) * 8;
        let length = usize::from(length) * if which & 0x80 != 0 { 40 } else { 1 };
        let data = vec![fill; length];
        let (source, destination): (IpAddr, IpAddr) = if is_v6 {
            (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into())
        } else {
            (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into())
        };
        let mut header = vec![0; if is_v6 { V6_HEADER_BYTES } else { 20 }];
        header[0] = if is_v6 { 0x60 } else { 0x45 };
        let place = Place { id, offset, is_last };
        let fragment = Fragment { place, source, destination, header: &header, data: &data };
        let outcome = fragments.handle(&fragment, now);
        let expected = expect(&mut model, is_v6, place, &data);
        match (&outcome, &expected) {
            (Ok(Some(whole)), Ok(Some(data))) => {
                assert_eq!(&whole.packet()[header.len()..], &**data, "{place:?}");
            }
            (Ok(None), Ok(None)) => {}
            (Err(reason), Err(expected)) => assert_eq!(reason, expected, "{place:?}"),
            _ => panic!("{place:?}, {length} bytes: {outcome:?} instead of {expected:?}"),
        }
        // With little room it may do less, and never holds more.
        if let Ok(Some(whole)) = tight.handle(&fragment, now) {
            assert!(whole.packet().len() >= header.len() + data.len());
        }
        assert!(tight.bytes <= tight.max_bytes && tight.pending.len() <= MAX_DATAGRAMS);
        let held = tight.pending.iter().map(|pending| match &pending.state {
            State::Gathering(gathered) => gathered.buffer.capacity(),
            State::Dropped => 0,
        });
        assert_eq!(held.sum::<usize>(), tight.bytes, "what is held is not what is counted");
    }
}

fn expect(model: &mut Model, is_v6: bool, place: Place, data: &[u8]) -> Result<Option<Vec<u8>>, DropReason> {
    let Place { id, offset, is_last } = place;
    let end = offset + data.len();
    let longest = usize::from(u16::MAX) - if is_v6 { 0 } else { 20 };
    if data.is_empty() || end > longest || !is_last && !data.len().is_multiple_of(8) {
        return Err(DropReason::Malformed);
    }
    if offset == 0 && is_last {
        return Ok(Some(data.to_vec()));
    }
    let entry = model.entry((is_v6, id)).or_insert_with(|| Some(Vec::new()));
    let Some(pieces) = entry else { return Err(DropReason::Fragment) };
    let conflicts = pieces.iter().any(|(other, other_data, other_is_last)| {
        let other_end = other + other_data.len();
        *other < end && offset < other_end
            || *other_is_last && (is_last || end > other_end)
            || is_last && other_end > end
    });
    if conflicts || pieces.len() >= MAX_FRAGMENTS {
        *entry = None;
        return Err(DropReason::Fragment);
    }
    pieces.push((offset, data.to_vec(), is_last));
    pieces.sort();
    let mut whole = Vec::new();
    for (offset, data, is_last) in pieces.iter() {
        if *offset != whole.len() {
            return Ok(None);
        }
        whole.extend_from_slice(data);
        if *is_last {
            model.remove(&(is_v6, id));
            return Ok(Some(whole));
        }
    }
    Ok(None)
}
