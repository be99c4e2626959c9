//! Blocks of user and group IDs for pods with an own user namespace (`hostUsers: false`, CONTRACT 3.22).
//!
//! A pod gets one block of the node's ID range, for users and groups alike, and keeps it until its end. [`UserNamespaces`]
//! is the only owner of the blocks. What it hands out is kept in a file of the pod's directory, in upstream's form, and
//! taken up again with [`UserNamespaces::restore`].
//!
//! Guarantees: no two pods hold one block; the block with ID 0 of the host is never handed out; a file that cannot be
//! used stops its own pod and nobody else's.

use std::collections::{BTreeMap, BTreeSet};

use core_types::PodUid;
use core_types::runtime::{IdMapping, UserNamespace};

mod file;
mod pool;

pub use file::{MAX_FILE_BYTES, MappingsFileError, decode, encode};
pub use pool::{DEFAULT_IDS_PER_POD, IdPool, IdPoolError, SubordinateIds, SubordinateIdsError};

/// Why a pod has no user namespace. The pod's sandbox is not made; it is tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserNamespaceError {
    /// Every block is taken.
    #[error("create user namespace: could not find an empty slot to allocate a user namespace")]
    NoneLeft,
    /// The file of an earlier life of the agent cannot be used.
    #[error(
        "user namespace: {0}; remove the pod and create it again, or remove the file while nothing of the pod runs"
    )]
    File(#[from] MappingsFileError),
    /// The runtime cannot do it.
    #[error("can't set `spec.hostUsers: false`, {}", runtime_text(.handler))]
    Unsupported {
        /// Handler of the pod; empty for the default.
        handler: String,
    },
}

fn runtime_text(handler: &str) -> String {
    match handler {
        "" => "runtime does not support user namespaces".to_owned(),
        handler => format!("RuntimeClass handler {handler:?} does not support user namespaces"),
    }
}

/// In which user namespace a pod runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PodUsers {
    /// The host's.
    #[default]
    OfHost,
    /// Its own.
    Own(UserNamespace),
}

/// Who holds which block.
#[derive(Debug)]
pub struct UserNamespaces {
    pool: IdPool,
    by_pod: BTreeMap<PodUid, u32>,
    taken: BTreeSet<u32>,
}

impl UserNamespaces {
    /// No block is taken.
    pub fn new(pool: IdPool) -> Self {
        Self { pool, by_pod: BTreeMap::new(), taken: BTreeSet::new() }
    }

    /// Takes up what the pod's file says, and gives the pod's namespace.
    ///
    /// # Errors
    /// The content is no mapping that this node could have given to this pod. Nothing is changed then.
    pub fn restore(&mut self, uid: &PodUid, content: &[u8]) -> Result<UserNamespace, UserNamespaceError> {
        let mapping = decode(content)?;
        let block = self.pool.block_of(mapping)?;
        match self.by_pod.get(uid) {
            Some(held) if *held == block => {}
            Some(_) => return Err(MappingsFileError::Different { uid: uid.clone() }.into()),
            None if self.taken.contains(&block) => {
                return Err(MappingsFileError::Taken { uid: uid.clone() }.into());
            }
            None => {
                self.by_pod.insert(uid.clone(), block);
                self.taken.insert(block);
            }
        }
        Ok(namespace(mapping))
    }

    /// The block that the pod holds, or the first one that is free.
    ///
    /// # Errors
    /// All are taken.
    pub fn obtain(&mut self, uid: &PodUid) -> Result<UserNamespace, UserNamespaceError> {
        let block = match self.by_pod.get(uid) {
            Some(block) => *block,
            None => {
                // `taken` is in order: the first gap is the first free block.
                let mut free = 0;
                for taken in &self.taken {
                    if *taken != free {
                        break;
                    }
                    free += 1;
                }
                if free >= self.pool.blocks() {
                    return Err(UserNamespaceError::NoneLeft);
                }
                self.by_pod.insert(uid.clone(), free);
                self.taken.insert(free);
                free
            }
        };
        Ok(namespace(self.pool.mapping(block)))
    }

    /// Nothing of the pod needs its block any more.
    pub fn release(&mut self, uid: &PodUid) {
        if let Some(block) = self.by_pod.remove(uid) {
            self.taken.remove(&block);
        }
    }
}

fn namespace(mapping: IdMapping) -> UserNamespace {
    UserNamespace { uids: vec![mapping], gids: vec![mapping] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pool(blocks: u32) -> IdPool {
        let ids = SubordinateIds { first_id: 2 * 65536, count: blocks * 65536 };
        IdPool::new(Some(ids), DEFAULT_IDS_PER_POD, 1).unwrap()
    }

    fn first_id(namespace: &UserNamespace) -> u32 {
        assert_eq!(namespace.uids, namespace.gids);
        namespace.uids[0].host_id
    }

    #[test]
    fn each_pod_has_its_own_block_and_keeps_it() {
        let mut all = UserNamespaces::new(pool(2));
        let (a, b, c) = (PodUid::from("a"), PodUid::from("b"), PodUid::from("c"));
        assert_eq!(first_id(&all.obtain(&a).unwrap()), 2 * 65536);
        assert_eq!(first_id(&all.obtain(&b).unwrap()), 3 * 65536);
        assert_eq!(first_id(&all.obtain(&a).unwrap()), 2 * 65536, "it is the pod's for good");
        assert_eq!(all.obtain(&c), Err(UserNamespaceError::NoneLeft));
        all.release(&a);
        all.release(&a);
        assert_eq!(first_id(&all.obtain(&c).unwrap()), 2 * 65536);
    }

    #[test]
    fn files_are_taken_up_and_wrong_ones_stop_their_pod_only() {
        let mut before = UserNamespaces::new(pool(3));
        let (a, b, c) = (PodUid::from("a"), PodUid::from("b"), PodUid::from("c"));
        before.obtain(&a).unwrap();
        let file_b = encode(&before.obtain(&b).unwrap());
        let mut after = UserNamespaces::new(pool(3));
        assert_eq!(first_id(&after.restore(&b, &file_b).unwrap()), 3 * 65536);
        assert_eq!(first_id(&after.restore(&b, &file_b).unwrap()), 3 * 65536, "again is no harm");
        let taken = after.restore(&c, &file_b).unwrap_err();
        assert!(taken.to_string().contains("range picked for pod \"c\" already taken"), "{taken}");
        let broken = after.restore(&c, b"{").unwrap_err();
        assert!(broken.to_string().contains("invalid user namespace mappings file"), "{broken}");
        assert_eq!(first_id(&after.obtain(&a).unwrap()), 2 * 65536);
        let different = after.restore(&a, &file_b).unwrap_err();
        assert!(different.to_string().contains("different user namespace range already used"), "{different}");
    }

    #[test]
    fn a_runtime_without_user_namespaces_is_named_as_upstream_does() {
        let text =
            |handler: &str| UserNamespaceError::Unsupported { handler: handler.to_owned() }.to_string();
        assert_eq!(text(""), "can't set `spec.hostUsers: false`, runtime does not support user namespaces");
        assert_eq!(
            text("kata"),
            "can't set `spec.hostUsers: false`, RuntimeClass handler \"kata\" does not support user namespaces"
        );
    }

    proptest! {
        /// Any order of taking, giving back and restarting: no two pods have one block, and none has the host's.
        #[test]
        fn blocks_are_disjoint(steps in proptest::collection::vec((0..3u8, 0..6u8), 0..60)) {
            let mut all = UserNamespaces::new(pool(4));
            let mut held: BTreeMap<PodUid, Vec<u8>> = BTreeMap::new();
            for (what, pod) in steps {
                let uid = PodUid::from(format!("p{pod}").as_str());
                match what {
                    0 => match all.obtain(&uid) {
                        Ok(namespace) => drop(held.insert(uid, encode(&namespace))),
                        Err(_) => prop_assert_eq!(held.len(), 4),
                    },
                    1 => {
                        all.release(&uid);
                        held.remove(&uid);
                    }
                    _ => {
                        all = UserNamespaces::new(pool(4));
                        for (uid, file) in &held {
                            prop_assert!(all.restore(uid, file).is_ok());
                        }
                    }
                }
                let firsts: BTreeSet<u32> =
                    held.values().map(|file| decode(file).map(|mapping| mapping.host_id).unwrap_or(0)).collect();
                prop_assert_eq!(firsts.len(), held.len());
                prop_assert!(firsts.iter().all(|first| *first >= 65536));
            }
        }
    }
}
