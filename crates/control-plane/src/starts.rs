//! Which starts of each node there were: on disk before a node hears that it is registered, so that one which was
//! replaced is refused also by a control plane that has restarted.

use cluster::{NodeId, Starts};
use rpc::status::Failure;

use crate::{
    plane::{ControlPlane, lock},
    store::Write,
};

impl ControlPlane {
    /// Returns once the store has the starts of a node. Those of all nodes that wait are written with one fsync: when
    /// many come at once, roles do not wait behind each of them.
    pub(crate) async fn store_starts(&self, node: &NodeId) -> Result<(), Failure> {
        let is_stored = || lock(&self.inner.members).is_stored(node);
        if is_stored() {
            return Ok(());
        }
        let mut writer = self.writer().await;
        if is_stored() {
            return Ok(());
        }
        let unstored = lock(&self.inner.members).unstored();
        let write = |(node, starts): &(NodeId, Option<Starts>)| match starts {
            Some(starts) => Write::PutStarts(starts.clone()),
            None => Write::DeleteStarts(node.clone()),
        };
        writer.commit(unstored.iter().map(write).collect(), Vec::new()).await?;
        lock(&self.inner.members).handle_stored(&unstored);
        Ok(())
    }

    /// As [`ControlPlane::store_starts`], for what need not wait for it. A store that has failed keeps nobody out: who
    /// is heard matters more than who was.
    pub(crate) async fn try_to_store_starts(&self, node: &NodeId) {
        if let Err(error) = self.store_starts(node).await {
            tracing::warn!(%node, %error, "node.starts_not_stored");
        }
    }
}
