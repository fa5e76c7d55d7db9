//! Items of a log with what they were made of, and where publications come from.

use std::{collections::HashMap, sync::Arc};

use hub::{Body, Item};
use media::{Clock, Provenance, PublicationId, StreamName};
use proto::relay::v1 as pb;

use super::super::{
    super::{Entry, RelayError, Source},
    PEER_BYTES_MAX, counter_in,
    frames::{body_in, body_out},
    invalid, node_in, stream_in, text_in,
};

/// What an item weighs in a batch.
pub(super) fn weight(item: &Item) -> usize {
    ITEM_BYTES + item.frame().map_or(0, |frame| frame.payload.len())
}

pub(super) fn item_out(item: &Item) -> pb::LogItem {
    let body = Some(body_out(item.body.clone()));
    pb::LogItem { item: Some(pb::Item { seq: item.seq, body }), provenance: item.provenance.map(provenance_out) }
}

pub(super) fn item_in(item: pb::LogItem) -> Result<Arc<Item>, RelayError> {
    let pb::LogItem { item, provenance } = item;
    let item = item.ok_or_else(|| invalid("a log's item that is none"))?;
    let body = body_in(item.body)?;
    if let Body::Setup(_) = body {
        return Err(invalid("a setup in a log"));
    }
    let item = Item::new(counter_in("an item at a position", item.seq)?, body);
    Ok(Arc::new(item.with_provenance(provenance.map(provenance_in).transpose()?)))
}

fn provenance_out(provenance: Provenance) -> pb::Provenance {
    let bits = provenance.publication.bits();
    let clock = |Clock { source_ms, offset_ms }| pb::SourceClock { source_ms, offset_ms };
    pb::Provenance {
        publication_high: (bits >> 64) as u64,
        publication_low: bits as u64,
        number: provenance.number,
        clock: provenance.clock.map(clock),
    }
}

fn provenance_in(wire: pb::Provenance) -> Result<Provenance, RelayError> {
    let bits = (u128::from(wire.publication_high) << 64) | u128::from(wire.publication_low);
    let clock = |pb::SourceClock { source_ms, offset_ms }| Clock { source_ms, offset_ms };
    Ok(Provenance {
        publication: PublicationId::from_bits(bits),
        number: wire.number.map(|number| counter_in("a message", number)).transpose()?,
        clock: wire.clock.map(clock),
    })
}

pub(super) fn source_out(source: Source) -> pb::Source {
    let edge = source.edge.map(|edge| edge.as_str().to_owned()).unwrap_or_default();
    pb::Source { edge, peer: source.peer }
}

pub(super) fn source_in(source: pb::Source) -> Result<Source, RelayError> {
    let edge = if source.edge.is_empty() { None } else { Some(node_in(&source.edge)?) };
    Ok(Source { edge, peer: text_in("peer", source.peer, PEER_BYTES_MAX)? })
}

/// One batch: each stream is named once, however many of its entries there are.
pub(super) fn entries_out(entries: Vec<Entry>, order: u64, committed: u64) -> pb::FollowEntries {
    let mut streams = Vec::new();
    let mut places: HashMap<StreamName, u32> = HashMap::new();
    let entry = |Entry { name, item, source }: Entry| {
        let stream = *places.entry(name).or_insert_with_key(|name| {
            streams.push(name.resource());
            (streams.len() - 1) as u32
        });
        pb::FollowEntry { stream, item: Some(item_out(&item)), source: source.map(source_out) }
    };
    let entries = entries.into_iter().map(entry).collect();
    pb::FollowEntries { order, committed, streams, entries }
}

pub(super) fn entries_in(batch: pb::FollowEntries) -> Result<Vec<Entry>, RelayError> {
    let streams: Vec<StreamName> = batch.streams.iter().map(|name| stream_in(name)).collect::<Result<_, _>>()?;
    let entry = |entry: pb::FollowEntry| {
        let name = streams.get(entry.stream as usize).ok_or_else(|| invalid("an entry of no stream"))?;
        Ok(Entry {
            name: name.clone(),
            item: item_in(entry.item.ok_or_else(|| invalid("an entry without an item"))?)?,
            source: entry.source.map(source_in).transpose()?,
        })
    };
    batch.entries.into_iter().map(entry).collect()
}

/// What an item weighs besides its payload, about.
const ITEM_BYTES: usize = 64;
