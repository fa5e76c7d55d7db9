//! How many handshakes may be unfinished.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::Instant,
};

use super::{Networks, TurnedAway};

/// Bounds of a gate.
#[derive(Debug, Clone)]
pub struct Config {
    /// Unfinished handshakes of all addresses together.
    pub unfinished_max: usize,
    /// Unfinished handshakes of one address.
    pub unfinished_per_address_max: usize,
    /// From accept to the end of the handshake, a proxy's introduction and TLS included.
    pub patience: Duration,
    /// Whose introductions are taken, and demanded.
    pub proxies: Networks,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            unfinished_max: 16_384,
            unfinished_per_address_max: 64,
            patience: Duration::from_secs(5),
            proxies: Networks::default(),
        }
    }
}

/// Counts unfinished handshakes, all together and by address, and makes room.
///
/// When all places are taken, the oldest unfinished handshake goes, so that a place is free before the next client is
/// accepted. Not to accept would be simpler, but then an honest encoder queues in the kernel behind every half-open
/// connection, each of which has five seconds to go; and a full queue drops its SYN, which is sent again after a second.
/// This way it is let in at once and done within a few round trips, while thousands that came later have yet to push it
/// out: what goes first is what has said nothing for seconds.
///
/// At an address's own bound it is the other way about: the newcomer goes, unless the oldest is stale. The bound is small,
/// and were the oldest to go at once, a crowd behind one NAT would push each other out and nobody would get in.
#[derive(Debug)]
pub struct Gate {
    config: Config,
    places: Arc<Semaphore>,
    queue: Mutex<Queue>,
    counts: Counts,
}

/// What a gate has counted. They only grow.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// In the order of [`TurnedAway::ALL`].
    pub(super) turned_away: [AtomicU64; TurnedAway::ALL.len()],
    pub(super) accepts_failed: AtomicU64,
}

/// The unfinished handshakes, oldest first, without those that were called back.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<u64, Waiting>,
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
    last_number: u64,
}

#[derive(Debug)]
struct Waiting {
    address: Option<IpAddr>,
    since: Instant,
    call_back: Option<oneshot::Sender<()>>,
}

impl Waiting {
    fn is_stale(&self) -> bool {
        self.since.elapsed() >= STALE_AFTER
    }
}

/// A place for one unfinished handshake.
pub(super) type Place = OwnedSemaphorePermit;

/// Too many of an address's connections are in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many connections of this address are in the handshake")]
pub struct TooMany;

/// One unfinished handshake; dropping it is how it ends.
#[derive(Debug)]
pub struct Pass {
    gate: Arc<Gate>,
    number: u64,
    since: Instant,
    _place: Place,
}

impl Gate {
    /// A gate that nobody has passed.
    pub fn new(config: Config) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(config.unfinished_max.clamp(1, Semaphore::MAX_PERMITS)));
        Arc::new(Self { config, places, queue: Mutex::default(), counts: Counts::default() })
    }

    /// How many handshakes are unfinished.
    pub fn unfinished(&self) -> usize {
        self.queue().waiting.len()
    }

    /// A place for the next client. If there is none, the oldest unfinished handshake makes room. Safe to drop.
    pub(super) async fn place(&self) -> Place {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return place;
        }
        self.call_back_oldest();
        self.places.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Gives a client the place. One that a trusted proxy brings is counted once it is known who it is.
    pub(super) fn admit(self: &Arc<Self>, place: Place, peer: SocketAddr) -> Result<Pass, TooMany> {
        let address = if self.is_proxy(peer.ip()) { None } else { counted_as(peer.ip()) };
        let since = Instant::now();
        let mut queue = self.queue();
        self.make_room(&mut queue, address)?;
        let number = queue.push(Waiting { address, since, call_back: None });
        drop(queue);
        Ok(Pass { gate: self.clone(), number, since, _place: place })
    }

    /// The same for a client that was accepted elsewhere.
    #[cfg(test)]
    pub(crate) fn enter(self: &Arc<Self>, peer: SocketAddr) -> Result<Pass, TooMany> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| TooMany)?;
        self.admit(place, peer)
    }

    /// Ends the oldest unfinished handshake, if there is one.
    pub(super) fn call_back_oldest(&self) {
        let mut queue = self.queue();
        if let Some(oldest) = queue.waiting.keys().next().copied() {
            self.call_back(&mut queue, oldest);
        }
    }

    /// Ends the oldest unfinished handshake, if it is stale.
    pub(super) fn call_back_stale(&self) {
        let mut queue = self.queue();
        let oldest = queue.waiting.first_key_value();
        if let Some(number) = oldest.filter(|(_, waiting)| waiting.is_stale()).map(|(number, _)| *number) {
            self.call_back(&mut queue, number);
        }
    }

    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        self.config.proxies.contains(address)
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(super) fn count_failed_accept(&self) {
        add(&self.counts.accepts_failed);
    }

    /// A client is closed before its handshake is done.
    pub fn count(&self, why: TurnedAway) {
        add(&self.counts.turned_away[why as usize]);
    }

    /// Makes sure that one more of this address may come.
    fn make_room(&self, queue: &mut Queue, address: Option<IpAddr>) -> Result<(), TooMany> {
        let Some(same) = address.and_then(|address| queue.by_address.get(&address)) else { return Ok(()) };
        if same.len() < self.config.unfinished_per_address_max {
            return Ok(());
        }
        let oldest = same.first().copied();
        let stale = oldest.filter(|oldest| queue.waiting[oldest].is_stale());
        let Some(stale) = stale else {
            self.count(TurnedAway::TooMany);
            return Err(TooMany);
        };
        self.call_back(queue, stale);
        Ok(())
    }

    fn call_back(&self, queue: &mut Queue, number: u64) {
        self.count(TurnedAway::CrowdedOut);
        if let Some(call_back) = queue.remove(number).and_then(|waiting| waiting.call_back) {
            // Whoever has ended meanwhile has left its place already.
            let _ended = call_back.send(());
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, waiting: Waiting) -> u64 {
        self.last_number += 1;
        let number = self.last_number;
        if let Some(address) = waiting.address {
            self.by_address.entry(address).or_default().insert(number);
        }
        self.waiting.insert(number, waiting);
        number
    }

    fn remove(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&number)?;
        if let Some(address) = waiting.address
            && let Some(same) = self.by_address.get_mut(&address)
        {
            same.remove(&number);
            if same.is_empty() {
                self.by_address.remove(&address);
            }
        }
        Some(waiting)
    }
}

impl Pass {
    /// Since when the client is here.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// When it must have finished.
    pub fn deadline(&self) -> Instant {
        self.since + self.gate.config.patience
    }

    /// Completes when the place is needed for others: whoever drives the handshake must then drop it. Of several that are
    /// asked for, the last one counts.
    pub fn called_back(&self) -> CalledBack {
        let (sender, receiver) = oneshot::channel();
        match self.gate.queue().waiting.get_mut(&self.number) {
            Some(waiting) => waiting.call_back = Some(sender),
            None => drop(sender.send(())),
        }
        CalledBack(Some(receiver))
    }

    /// The client behind a proxy is known.
    pub(super) fn introduce(&self, client: SocketAddr) -> Result<(), TooMany> {
        let address = counted_as(client.ip());
        let mut queue = self.gate.queue();
        self.gate.make_room(&mut queue, address)?;
        if let (Some(address), Some(waiting)) = (address, queue.waiting.get_mut(&self.number)) {
            waiting.address = Some(address);
            queue.by_address.entry(address).or_default().insert(self.number);
        }
        Ok(())
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.queue().remove(self.number);
    }
}

/// Completes when a pass is called back, and never once its handshake is finished.
#[derive(Debug)]
pub struct CalledBack(Option<oneshot::Receiver<()>>);

impl Future for CalledBack {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(receiver) = &mut self.0 else { return Poll::Pending };
        match ready!(Pin::new(receiver).poll(cx)) {
            Ok(()) => Poll::Ready(()),
            // The pass was given back.
            Err(_) => {
                self.0 = None;
                Poll::Pending
            }
        }
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// An IPv4 address in whatever clothes counts as itself, an IPv6 one as its /64. This machine's own tools are not counted;
/// the rest of 127.0.0.0/8 is somebody else.
fn counted_as(peer: IpAddr) -> Option<IpAddr> {
    match peer.to_canonical() {
        IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST) => None,
        IpAddr::V6(address) => Some(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))),
        address => Some(address),
    }
}

/// A handshake that is older may be pushed out for want of descriptors or by others of its address: four round trips, which TLS and RTMP need, over
/// a bad line.
const STALE_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(unfinished_max: usize, unfinished_per_address_max: usize) -> Arc<Gate> {
        Gate::new(Config { unfinished_max, unfinished_per_address_max, ..Config::default() })
    }

    fn enter(gate: &Arc<Gate>, peer: &str) -> Result<Pass, TooMany> {
        gate.enter(SocketAddr::new(peer.parse().unwrap(), 1))
    }

    async fn is_called_back(called_back: &mut CalledBack) -> bool {
        tokio::select! {
            biased;
            () = called_back => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn addresses_are_counted_whatever_they_wear() {
        let gate = gate(100, 2);
        let first = enter(&gate, "192.0.2.1").unwrap();
        let _mapped = enter(&gate, "::ffff:192.0.2.1").unwrap();
        assert_eq!(enter(&gate, "192.0.2.1").err(), Some(TooMany));
        let _other = enter(&gate, "192.0.2.2").unwrap();
        drop(first);
        let _again = enter(&gate, "192.0.2.1").unwrap();

        let _six = [enter(&gate, "2001:db8::1").unwrap(), enter(&gate, "2001:db8::ffff:1").unwrap()];
        assert!(enter(&gate, "2001:db8::2").is_err());
        assert!(enter(&gate, "2001:db8:0:1::2").is_ok());
    }

    #[tokio::test]
    async fn this_machines_own_tools_are_bounded_only_together_with_all() {
        let gate = gate(3, 1);
        let passes = [(); 3].map(|()| enter(&gate, "127.0.0.1").unwrap());
        assert!(enter(&gate, "127.0.0.1").is_err());
        drop(passes);
        assert!(enter(&gate, "::1").is_ok());
        assert!(gate.queue().by_address.is_empty() && gate.queue().waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_of_all_makes_room_for_the_next_client() {
        let gate = gate(2, 64);
        let old = enter(&gate, "192.0.2.1").unwrap();
        let young = enter(&gate, "192.0.2.2").unwrap();
        let (mut old_called, mut young_called) = (old.called_back(), young.called_back());
        assert!(!is_called_back(&mut old_called).await);
        let next = tokio::spawn({
            let gate = gate.clone();
            async move { gate.place().await }
        });
        (&mut old_called).await;
        drop(old);
        let place = next.await.unwrap();
        let _new = gate.admit(place, "192.0.2.3:1".parse().unwrap()).unwrap();
        assert!(!is_called_back(&mut young_called).await);
        drop(young);
        assert!(!is_called_back(&mut young_called).await, "what is finished is not called back");
        assert_eq!(gate.unfinished(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn at_an_addresss_own_bound_only_what_is_stale_makes_room() {
        let gate = gate(100, 2);
        let passes = [enter(&gate, "192.0.2.1").unwrap(), enter(&gate, "192.0.2.1").unwrap()];
        let mut called = passes[0].called_back();
        assert!(enter(&gate, "192.0.2.1").is_err());
        assert!(!is_called_back(&mut called).await);
        tokio::time::advance(STALE_AFTER).await;
        let _third = enter(&gate, "192.0.2.1").unwrap();
        assert!(is_called_back(&mut called).await);
        assert!(is_called_back(&mut passes[0].called_back()).await, "also for whoever asks later");
    }

    #[tokio::test]
    async fn a_proxy_is_not_counted_and_whom_it_brings_is() {
        let proxies = Networks::from_iter(["10.0.0.0/8".parse().unwrap()]);
        let gate = Gate::new(Config { unfinished_per_address_max: 1, proxies, ..Config::default() });
        let passes = [enter(&gate, "10.1.1.1").unwrap(), enter(&gate, "10.1.1.1").unwrap()];
        let client = "192.0.2.1:7".parse().unwrap();
        passes[0].introduce(client).unwrap();
        assert_eq!(passes[1].introduce(client), Err(TooMany));
        drop(passes);
        assert!(enter(&gate, "192.0.2.1").is_ok());
    }
}
