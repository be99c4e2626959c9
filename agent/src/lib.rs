//! The loops: sync loop, pod executor, PLEG, sources, snapshots
