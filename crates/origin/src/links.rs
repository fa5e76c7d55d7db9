//! Edges that hold a Link with this origin, and whether they hear it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cluster::{NodeId, Surroundings};

/// The edges around this origin. An active that can ask nobody goes on alone only while most of them hear it
/// (REPLICATION C5).
#[derive(Debug, Default)]
pub struct Links {
    edges: Mutex<Edges>,
}

#[derive(Debug, Default)]
struct Edges {
    by_node: BTreeMap<NodeId, Edge>,
    /// Links that were ever opened, by which they are numbered.
    opened: u64,
}

#[derive(Debug)]
struct Edge {
    /// The Link that was opened or beat last: the end of another says nothing. There are two while an edge reaches us
    /// by a VIP and by our own address.
    link: u64,
    standing: EdgeStanding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EdgeStanding {
    /// Its beats come.
    Here { hears: bool },
    /// Its Link is gone.
    Gone { since: Instant },
}

/// One Link of an edge, as [`Links::opened`] numbers it.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    node: NodeId,
    link: u64,
}

/// An edge that has been gone for so long is not coming back: it was stopped for good.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Edges that are counted, here and gone. There are never so many, as each has two connections here, of which a port admits
/// 4096; but whoever has a token of theirs may come by a new name each time.
const EDGES_MAX: usize = 4096;

impl Links {
    /// An edge opens a Link.
    pub(crate) fn opened(&self, node: NodeId) -> Link {
        let mut edges = self.lock();
        edges.opened += 1;
        let link = edges.opened;
        let new = Edge { link, standing: EdgeStanding::Here { hears: false } };
        edges.by_node.entry(node.clone()).or_insert(new).link = link;
        Link { node, link }
    }

    /// It beats, and says whether it hears our beats.
    pub(crate) fn heard(&self, link: &Link, hears: bool) {
        let edge = Edge { link: link.link, standing: EdgeStanding::Here { hears } };
        self.lock().by_node.insert(link.node.clone(), edge);
    }

    /// The Link is gone. Of too many edges the one that has been gone for longest is forgotten, whoever can be asked.
    pub(crate) fn closed(&self, link: &Link, now: Instant) {
        let by_node = &mut self.lock().by_node;
        if let Some(edge) = by_node.get_mut(&link.node).filter(|edge| edge.link == link.link) {
            edge.standing = EdgeStanding::Gone { since: now };
        }
        if by_node.len() > EDGES_MAX {
            let gone = by_node.iter().filter_map(|(node, edge)| Some((edge.gone_since()?, node)));
            if let Some(node) = gone.min().map(|(_, node)| node.clone()) {
                by_node.remove(&node);
            }
        }
    }

    /// The edge ends in good order: it is not waited for, whoever can be asked.
    pub(crate) fn left(&self, link: &Link) {
        let by_node = &mut self.lock().by_node;
        if by_node.get(&link.node).is_some_and(|edge| edge.link == link.link) {
            by_node.remove(&link.node);
        }
    }

    /// Edges that are here or were lately, and those that hear us.
    pub(crate) fn counts(&self) -> Counts {
        Counts::of(&self.lock().by_node)
    }

    /// Forgets the edges that are not coming back, and counts the others: what is seen around this origin. While the
    /// control plane is away nobody is forgotten who has not said that it leaves: edges on the other side of a cut must
    /// not cease to count.
    pub fn forget_and_count(&self, control_heard: bool, now: Instant) -> Surroundings {
        let edges = &mut self.lock().by_node;
        if control_heard {
            edges.retain(|_, edge| match edge.standing {
                EdgeStanding::Here { .. } => true,
                EdgeStanding::Gone { since } => now.saturating_duration_since(since) < REMEMBERED,
            });
        }
        let Counts { edges, edges_hearing } = Counts::of(edges);
        Surroundings { control_heard, edges, edges_hearing }
    }

    fn lock(&self) -> MutexGuard<'_, Edges> {
        // A panic while the lock was held left one edge as it was.
        self.edges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Edge {
    fn gone_since(&self) -> Option<Instant> {
        match self.standing {
            EdgeStanding::Here { .. } => None,
            EdgeStanding::Gone { since } => Some(since),
        }
    }
}

/// How many edges there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) edges: usize,
    pub(crate) edges_hearing: usize,
}

impl Counts {
    fn of(edges: &BTreeMap<NodeId, Edge>) -> Self {
        let hearing = edges.values().filter(|edge| edge.standing == EdgeStanding::Here { hears: true });
        Self { edges: edges.len(), edges_hearing: hearing.count() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn counts(around: Surroundings) -> (usize, usize) {
        (around.edges, around.edges_hearing)
    }

    #[test]
    fn an_edge_whose_link_is_gone_counts_as_one_that_does_not_hear() {
        let (links, now) = (Links::default(), Instant::now());
        let one = links.opened(node("edge-1"));
        let two = links.opened(node("edge-2"));
        links.heard(&one, true);
        links.heard(&two, true);
        assert_eq!(counts(links.forget_and_count(true, now)), (2, 2));
        links.closed(&one, now);
        links.heard(&two, false);
        assert_eq!(counts(links.forget_and_count(true, now)), (2, 0));
    }

    #[test]
    fn an_old_link_says_nothing_about_an_edge_that_is_back() {
        let (links, now) = (Links::default(), Instant::now());
        let old = links.opened(node("edge-1"));
        let new = links.opened(node("edge-1"));
        links.heard(&new, true);
        links.closed(&old, now);
        assert_eq!(counts(links.forget_and_count(true, now)), (1, 1));
    }

    #[test]
    fn an_edge_that_leaves_in_good_order_counts_no_more_although_nobody_can_be_asked() {
        let (links, now) = (Links::default(), Instant::now());
        let one = links.opened(node("edge-1"));
        let two = links.opened(node("edge-2"));
        links.heard(&two, true);
        links.left(&one);
        assert_eq!(counts(links.forget_and_count(false, now)), (1, 1));
        let again = links.opened(node("edge-1"));
        links.heard(&again, true);
        links.closed(&one, now);
        links.left(&one);
        assert_eq!(
            counts(links.forget_and_count(false, now)),
            (2, 2),
            "what is left of the old Link says nothing of the new one"
        );
    }

    #[test]
    fn an_edge_whose_link_by_the_vip_ends_is_here_while_its_other_one_beats() {
        let (links, now) = (Links::default(), Instant::now());
        let direct = links.opened(node("edge-1"));
        let by_vip = links.opened(node("edge-1"));
        links.heard(&direct, true);
        links.closed(&by_vip, now);
        assert_eq!(counts(links.forget_and_count(false, now)), (1, 1));
        links.heard(&by_vip, true);
        links.closed(&by_vip, now);
        links.heard(&direct, true);
        assert_eq!(counts(links.forget_and_count(false, now)), (1, 1));
    }

    #[test]
    fn edges_are_forgotten_after_a_minute_unless_nobody_can_be_asked() {
        let (links, now) = (Links::default(), Instant::now());
        let one = links.opened(node("edge-1"));
        links.closed(&one, now);
        let later = now + REMEMBERED;
        assert_eq!(counts(links.forget_and_count(false, later)), (1, 0));
        assert_eq!(counts(links.forget_and_count(true, later)), (0, 0));
    }

    #[test]
    fn of_too_many_edges_the_one_that_has_been_gone_for_longest_is_forgotten() {
        let (links, now) = (Links::default(), Instant::now());
        let here = links.opened(node("here"));
        links.heard(&here, true);
        let gone = |n: usize| node(&format!("gone-{n}"));
        for n in 0..EDGES_MAX {
            let link = links.opened(gone(n));
            links.closed(&link, now + Duration::from_secs(n as u64));
        }
        assert_eq!(counts(links.forget_and_count(false, now)), (EDGES_MAX, 1));
        let known = |n| links.lock().by_node.contains_key(&gone(n));
        assert_eq!((known(0), known(1), known(EDGES_MAX - 1)), (false, true, true));
    }
}
