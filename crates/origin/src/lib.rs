//! The origin service: keeps each stream whole and hands it to edges.
