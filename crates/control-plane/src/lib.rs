//! The control plane: route entries, membership, and who is active.
