//! The rules of the cluster: routes, membership, pool roles.
