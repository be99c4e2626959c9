//! The IDs of the node that pods get blocks of.

use core_types::runtime::IdMapping;

use super::file::MappingsFileError;

/// IDs of one pod when the configuration says nothing (`userNamespaces.idsPerPod`).
pub const DEFAULT_IDS_PER_POD: u32 = 65536;

/// Blocks begin at multiples of this, which is also the least that a pod gets: Linux programs expect 16 bit IDs.
const UNIT: u32 = 65536;

/// The range that `/etc/subuid` and `/etc/subgid` give to the user [`SubordinateIds::USER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubordinateIds {
    /// First ID of the host.
    pub first_id: u32,
    /// Number of IDs.
    pub count: u32,
}

/// Ranges that say no clear thing. The agent does not start: pods must not get IDs that belong to somebody else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubordinateIdsError {
    /// Users and groups differ.
    #[error(
        "mismatched subuids and subgids for user {:?}: give it the same range in both files",
        SubordinateIds::USER
    )]
    Mismatch,
    /// More than one range.
    #[error("{} ranges of subordinate IDs for user {:?}: it must have one", .0, SubordinateIds::USER)]
    Several(usize),
    /// Not two numbers.
    #[error("invalid range of subordinate IDs {0:?}: it must be <user>:<first ID>:<number of IDs>")]
    Form(String),
}

impl SubordinateIds {
    /// The user whose ranges are for pods.
    pub const USER: &'static str = "kubelet";

    /// Reads `/etc/passwd`, `/etc/subuid` and `/etc/subgid`. `None` without the user or without a range for it: then pods
    /// get all IDs above the host's own. Upstream asks `getsubids`, which reads the same files.
    ///
    /// # Errors
    /// The ranges are not one and the same range.
    pub fn parse(passwd: &str, subuid: &str, subgid: &str) -> Result<Option<Self>, SubordinateIdsError> {
        let fields = |line: &'_ str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let user = passwd.lines().map(fields).find(|user| user[0] == Self::USER);
        let Some(number) = user.and_then(|user| user.get(2).cloned()) else { return Ok(None) };
        let ranges = |text: &str| -> Vec<String> {
            let of_user =
                |line: &&str| line.split(':').next().is_some_and(|name| name == Self::USER || name == number);
            text.lines().map(str::trim).filter(of_user).map(str::to_owned).collect()
        };
        let one = |text: &str| match ranges(text).as_slice() {
            [] => Ok(None),
            [range] => range_of(range).map(Some),
            more => Err(SubordinateIdsError::Several(more.len())),
        };
        let (users, groups) = (one(subuid)?, one(subgid)?);
        if users == groups { Ok(users) } else { Err(SubordinateIdsError::Mismatch) }
    }
}

fn range_of(line: &str) -> Result<SubordinateIds, SubordinateIdsError> {
    let wrong = || SubordinateIdsError::Form(line.to_owned());
    let mut numbers = line.split(':').skip(1).map(|number| number.parse::<u32>().map_err(|_| wrong()));
    let (Some(first_id), Some(count), None) = (numbers.next(), numbers.next(), numbers.next()) else {
        return Err(wrong());
    };
    Ok(SubordinateIds { first_id: first_id?, count: count? })
}

/// A range that pods cannot get blocks of. The agent does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdPoolError {
    /// Not a block size.
    #[error("kubelet user namespace length {0} is not a multiple of {UNIT}")]
    Length(u32),
    /// The range begins in the middle of a block.
    #[error("kubelet user assigned ID {first} is not a multiple of {length}")]
    Offset {
        /// First ID.
        first: u32,
        /// IDs of a block.
        length: u32,
    },
    /// The range holds IDs of the host's own users.
    #[error("kubelet user assigned ID {first} must be greater or equal to {length}")]
    HostIds {
        /// First ID.
        first: u32,
        /// IDs of a block.
        length: u32,
    },
    /// The range ends in the middle of a block.
    #[error("kubelet user assigned IDs length {count} is not a multiple of {length}")]
    Uneven {
        /// IDs of the range.
        count: u32,
        /// IDs of a block.
        length: u32,
    },
    /// Fewer blocks than pods.
    #[error("kubelet user assigned IDs are not enough to support {0} pods")]
    TooFew(u32),
}

/// The blocks of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdPool {
    first_id: u32,
    length: u32,
    blocks: u32,
}

impl IdPool {
    /// The blocks of the given range; of everything above the host's own IDs when none is given.
    ///
    /// # Errors
    /// The range does not hold a whole block for each of `max_pods` pods, or would give the host's own IDs away.
    pub fn new(range: Option<SubordinateIds>, ids_per_pod: u32, max_pods: u32) -> Result<Self, IdPoolError> {
        let length = ids_per_pod;
        if length == 0 || !length.is_multiple_of(UNIT) {
            return Err(IdPoolError::Length(length));
        }
        // The IDs of 32 bits but the first block's; rounded down to whole blocks, where upstream refuses to start.
        let rest = (u32::MAX - length).wrapping_add(1);
        let whole = SubordinateIds { first_id: length, count: rest - rest % length };
        let SubordinateIds { first_id: first, count } = range.unwrap_or(whole);
        if !first.is_multiple_of(length) {
            return Err(IdPoolError::Offset { first, length });
        }
        if first < length {
            return Err(IdPoolError::HostIds { first, length });
        }
        if !count.is_multiple_of(length) {
            return Err(IdPoolError::Uneven { count, length });
        }
        let blocks = count / length;
        if blocks < max_pods {
            return Err(IdPoolError::TooFew(max_pods));
        }
        Ok(Self { first_id: first, length, blocks })
    }

    /// Number of blocks.
    pub(super) fn blocks(&self) -> u32 {
        self.blocks
    }

    /// The IDs of a block.
    pub(super) fn mapping(&self, block: u32) -> IdMapping {
        IdMapping { host_id: self.first_id + block * self.length, container_id: 0, length: self.length }
    }

    /// The block with these IDs.
    pub(super) fn block_of(&self, mapping: IdMapping) -> Result<u32, MappingsFileError> {
        let IdMapping { host_id, length, .. } = mapping;
        if length != self.length {
            return Err(MappingsFileError::Length(length));
        }
        if !host_id.is_multiple_of(length) {
            return Err(MappingsFileError::Offset(host_id));
        }
        let block = host_id.checked_sub(self.first_id).map(|offset| offset / length);
        block.filter(|block| *block < self.blocks).ok_or(MappingsFileError::OutOfRange(host_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_the_user_is_found_by_name_or_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nkubelet:x:812:812::/:/bin/false\n";
        let parse = SubordinateIds::parse;
        let range = Some(SubordinateIds { first_id: 65536, count: 7_208_960 });
        let named = "lxd:1:65536\nkubelet:65536:7208960\n";
        assert_eq!(parse(passwd, named, named), Ok(range));
        assert_eq!(parse(passwd, "812:65536:7208960", named), Ok(range));
        assert_eq!(parse("root:x:0:0:", named, named), Ok(None), "there is no such user");
        assert_eq!(parse(passwd, "", ""), Ok(None));
        assert_eq!(parse(passwd, named, ""), Err(SubordinateIdsError::Mismatch));
        assert_eq!(parse(passwd, named, "kubelet:131072:65536"), Err(SubordinateIdsError::Mismatch));
        let twice = "kubelet:65536:65536\nkubelet:131072:65536";
        assert_eq!(parse(passwd, twice, twice), Err(SubordinateIdsError::Several(2)));
        for wrong in ["kubelet", "kubelet:1", "kubelet:a:1", "kubelet:1:2:3", "kubelet:1:4294967296"] {
            assert_eq!(parse(passwd, wrong, wrong), Err(SubordinateIdsError::Form(wrong.to_owned())));
        }
    }

    #[test]
    fn without_a_range_all_ids_above_the_first_block_are_for_pods() {
        let pool = IdPool::new(None, DEFAULT_IDS_PER_POD, 110).unwrap();
        assert_eq!((pool.first_id, pool.blocks), (65536, 65535));
        let last = pool.mapping(65534);
        assert_eq!(last.host_id, 65535 * 65536);
        assert_eq!(pool.block_of(last), Ok(65534));
        let pool = IdPool::new(None, 3 * 65536, 110).unwrap();
        assert_eq!((pool.first_id, pool.blocks), (3 * 65536, 21844));
    }

    #[test]
    fn ranges_that_cannot_be_used_are_refused_in_upstreams_words() {
        let ids = |first_id, count| Some(SubordinateIds { first_id, count });
        for (range, length, pods, says) in [
            (None, 1000, 1, "kubelet user namespace length 1000 is not a multiple of 65536"),
            (ids(100_000, 65536), 65536, 1, "kubelet user assigned ID 100000 is not a multiple of 65536"),
            (ids(0, 65536), 65536, 1, "kubelet user assigned ID 0 must be greater or equal to 65536"),
            (
                ids(65536, 70_000),
                65536,
                1,
                "kubelet user assigned IDs length 70000 is not a multiple of 65536",
            ),
            (ids(65536, 65536), 65536, 2, "kubelet user assigned IDs are not enough to support 2 pods"),
            (None, 1 << 31, 2, "kubelet user assigned IDs are not enough to support 2 pods"),
        ] {
            assert_eq!(IdPool::new(range, length, pods).unwrap_err().to_string(), says);
        }
    }

    #[test]
    fn mappings_that_are_no_block_of_the_node_are_refused() {
        let range = SubordinateIds { first_id: 131_072, count: 131_072 };
        let pool = IdPool::new(Some(range), 65536, 2).unwrap();
        let block = |host_id, length| pool.block_of(IdMapping { host_id, container_id: 0, length });
        assert_eq!((block(131_072, 65536), block(196_608, 65536)), (Ok(0), Ok(1)));
        assert_eq!(block(131_072, 131_072), Err(MappingsFileError::Length(131_072)));
        assert_eq!(block(131_073, 65536), Err(MappingsFileError::Offset(131_073)));
        for host_id in [65536, 262_144, 0] {
            assert_eq!(block(host_id, 65536), Err(MappingsFileError::OutOfRange(host_id)));
        }
    }
}
