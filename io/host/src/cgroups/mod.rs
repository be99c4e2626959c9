//! Cgroups of the node, its QoS classes and its pods (CONTRACT 5.1), for cgroup v1 and v2, as directories and files.
//!
//! | module | what |
//! |---|---|
//! | `layout` | which directory a cgroup is, with either driver |
//! | `mounts` | which version the node has and where its hierarchies are |
//! | `files` | reading, and writing only what differs |
//! | `v1`, `v2` | making a cgroup, setting its values, looking whether it is there |
//! | `remove` | killing what is left and removing directories |
//!
//! Both versions work below given root directories, so the tests run them on directories that stand for a tree.
//! Nothing outside of the named cgroup is changed; making one also makes its missing parents, and on v2 switches the
//! controllers of its parents on. Hybrid hierarchies count as v1 (CONTRACT 1.11). With the systemd driver the
//! directories are those of slices; telling systemd of them is another adapter's matter.

mod files;
mod layout;
mod mounts;
mod remove;
mod v1;
mod v2;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use core_cm::cgroup::{CgroupLimits, CgroupPath, CgroupValues};
use core_types::runtime::CgroupDriver;
use core_types::{PodUid, QosClass};
use ports::{CgroupError, Cgroups, FileError};

use crate::blocking::{Blocking, BlockingError};
use layout::Layout;

pub(crate) use mounts::has_swap_controller;
pub(crate) use mounts::v1_hierarchies;
pub use mounts::{CgroupVersion, cgroup_version};

/// Where cgroup hierarchies are mounted on every Linux distribution, and where upstream expects them.
pub(crate) const MOUNT_POINT: &str = "/sys/fs/cgroup";

/// A cgroup answers at once; one whose tasks are stuck in the kernel can block for long. Upstream waits for ever.
const CGROUP_DEADLINE: Duration = Duration::from_secs(30);

/// Kill and remove rounds of one removal, upstream's number.
const REMOVE_ROUNDS: u32 = 5;

/// Pause after the first round in which the kernel had not let go yet; doubled after each.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// How the agent manages cgroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupOptions {
    /// `cgroupRoot`: path of an existing cgroup below which everything of the agent is; `/` for the top.
    pub root: String,
    /// Who makes cgroups.
    pub driver: CgroupDriver,
}

/// Why cgroups cannot be managed on this node.
#[derive(Debug, thiserror::Error)]
pub enum CgroupSetupError {
    /// A controller without which pods cannot be isolated.
    #[error("cgroup controllers {missing} are not mounted below {MOUNT_POINT}; mount them and start again")]
    MissingControllers {
        /// Names.
        missing: String,
    },
    /// The root is not a path of plain names.
    #[error("cgroupRoot {root:?} is not a path of a cgroup")]
    InvalidRoot {
        /// As configured.
        root: String,
    },
    /// The root does not exist.
    #[error("cgroupRoot {root:?} does not exist: {path} is missing; create the cgroup or change cgroupRoot")]
    MissingRoot {
        /// As configured.
        root: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The mounts cannot be read.
    #[error("find the cgroup hierarchies of this node")]
    Mounts(#[source] FileError),
}

/// The cgroup tree of this node.
#[derive(Debug)]
pub struct HostCgroups {
    tree: Arc<Tree>,
    layout: Layout,
    blocking: Blocking,
}

/// Hierarchies, each a directory that stands for the cgroup root.
#[derive(Debug)]
enum Tree {
    V1(v1::V1),
    V2(v2::V2),
}

impl HostCgroups {
    /// Finds the hierarchies of this node.
    ///
    /// # Errors
    /// When a needed controller or the configured root is missing.
    pub fn new(options: &CgroupOptions) -> Result<Self, CgroupSetupError> {
        let layout = Layout::new(options.driver, root_path(&options.root)?);
        let root = layout.root();
        let tree = match cgroup_version(Path::new(MOUNT_POINT)).map_err(CgroupSetupError::Mounts)? {
            CgroupVersion::V1 => {
                Tree::V1(v1::V1::new(mounts::v1_hierarchies().map_err(CgroupSetupError::Mounts)?, &root)?)
            }
            CgroupVersion::V2 => Tree::V2(v2::V2::new(Path::new(MOUNT_POINT), &root)),
        };
        for dir in tree.hierarchies().values() {
            if !dir.is_dir() {
                return Err(CgroupSetupError::MissingRoot { root: options.root.clone(), path: dir.clone() });
            }
        }
        Ok(Self::on(tree, layout))
    }

    fn on(tree: Tree, layout: Layout) -> Self {
        Self { tree: Arc::new(tree), layout, blocking: Blocking::new(CGROUP_DEADLINE) }
    }

    /// Version of the hierarchies in use.
    pub fn version(&self) -> CgroupVersion {
        match *self.tree {
            Tree::V1(_) => CgroupVersion::V1,
            Tree::V2(_) => CgroupVersion::V2,
        }
    }

    /// Cgroups of pods, with the processes in each and below.
    pub(crate) async fn pods_with_processes(
        &self,
    ) -> Result<Vec<(PodUid, CgroupPath, BTreeSet<i32>)>, CgroupError> {
        let mut found = Vec::new();
        for (uid, path) in self.list_pods().await? {
            let processes = self
                .on_pool(&path, |tree, cgroup| remove::processes_below(tree.hierarchies(), cgroup))
                .await?;
            found.push((uid, path, processes));
        }
        Ok(found)
    }

    /// Removes a cgroup in which nothing runs; one with a process stays and is an error. Gone already is success.
    pub(crate) async fn remove_empty(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        let left =
            self.on_pool(path, |tree, cgroup| remove::remove_empty(tree.hierarchies(), cgroup)).await?;
        match left {
            remove::Left::Nothing => Ok(()),
            remove::Left::Busy { processes } => {
                Err(CgroupError::StillUsed { cgroup: path.cgroupfs(), count: processes })
            }
        }
    }

    async fn on_pool<T: Send + 'static>(
        &self,
        path: &CgroupPath,
        work: impl FnOnce(&Tree, &Named) -> Result<T, CgroupError> + Send + 'static,
    ) -> Result<T, CgroupError> {
        let named = Named::new(path, &self.layout)?;
        let cgroup = named.shown.clone();
        let tree = Arc::clone(&self.tree);
        let result = self.blocking.run(&cgroup, move || work(&tree, &named)).await;
        result.unwrap_or_else(|error| Err(no_result(error, cgroup)))
    }
}

#[async_trait]
impl Cgroups for HostCgroups {
    async fn ensure(&self, path: &CgroupPath, values: &CgroupValues) -> Result<(), CgroupError> {
        let values = values.clone();
        self.on_pool(path, move |tree, cgroup| match tree {
            Tree::V1(v1) => v1.ensure(cgroup, &values),
            Tree::V2(v2) => v2.ensure(cgroup, &values),
        })
        .await
    }

    async fn exists(&self, path: &CgroupPath) -> Result<bool, CgroupError> {
        self.on_pool(path, |tree, cgroup| match tree {
            Tree::V1(v1) => Ok(v1.exists(cgroup)),
            Tree::V2(v2) => v2.exists(cgroup),
        })
        .await
    }

    async fn limits(&self, path: &CgroupPath) -> Result<CgroupLimits, CgroupError> {
        self.on_pool(path, |tree, cgroup| match tree {
            Tree::V1(v1) => v1.limits(cgroup),
            Tree::V2(v2) => v2.limits(cgroup),
        })
        .await
    }

    async fn memory_usage_bytes(&self, path: &CgroupPath) -> Result<u64, CgroupError> {
        self.on_pool(path, |tree, cgroup| match tree {
            Tree::V1(v1) => v1.memory_usage_bytes(cgroup),
            Tree::V2(v2) => v2.memory_usage_bytes(cgroup),
        })
        .await
    }

    async fn destroy(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        let mut pause = FIRST_PAUSE;
        for round in 1.. {
            let left = self
                .on_pool(path, |tree, cgroup| remove::kill_and_remove(tree.hierarchies(), cgroup))
                .await?;
            if left == remove::Left::Nothing {
                return Ok(());
            }
            if round == REMOVE_ROUNDS {
                let remove::Left::Busy { processes } = left else { break };
                return Err(CgroupError::StillBusy { cgroup: path.cgroupfs(), count: processes });
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(())
    }

    async fn list_pods(&self) -> Result<Vec<(PodUid, CgroupPath)>, CgroupError> {
        let layout = self.layout.clone();
        self.on_pool(&CgroupPath::kubepods(), move |tree, _| list_pods(tree.hierarchies(), &layout)).await
    }
}

impl Tree {
    /// All hierarchies in which a cgroup may have a directory, by name.
    fn hierarchies(&self) -> &BTreeMap<String, PathBuf> {
        match self {
            Self::V1(v1) => v1.hierarchies(),
            Self::V2(v2) => v2.hierarchies(),
        }
    }
}

/// A checked cgroup path: never the root, and nothing that leads out of it.
#[derive(Clone, Debug)]
struct Named {
    /// For messages: `/kubepods/burstable/pod1`.
    shown: String,
    /// Names of directories below the root.
    names: Vec<String>,
}

impl Named {
    fn new(path: &CgroupPath, layout: &Layout) -> Result<Self, CgroupError> {
        let shown = path.cgroupfs();
        if path.0.is_empty() || !path.0.iter().all(|name| is_plain_name(name)) {
            let problem = "its names must be file names, and it must not be the root";
            return Err(CgroupError::Io {
                path: shown.clone(),
                cgroup: shown,
                operation: "use".to_owned(),
                source: std::io::Error::new(std::io::ErrorKind::InvalidInput, problem),
            });
        }
        Ok(Self { shown, names: layout.names(path) })
    }

    /// Its directory in a hierarchy.
    fn dir(&self, hierarchy: &Path) -> PathBuf {
        self.names.iter().fold(hierarchy.to_path_buf(), |dir, name| dir.join(name))
    }

    /// Its directory and those of its parents below the hierarchy's root, from the top.
    fn dirs(&self, hierarchy: &Path) -> impl Iterator<Item = PathBuf> {
        self.names.iter().scan(hierarchy.to_path_buf(), |dir, name| {
            dir.push(name);
            Some(dir.clone())
        })
    }

    /// An error about it.
    fn error(&self, operation: impl Into<String>, path: &Path, source: std::io::Error) -> CgroupError {
        CgroupError::Io {
            cgroup: self.shown.clone(),
            operation: operation.into(),
            path: path.display().to_string(),
            source,
        }
    }
}

pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

/// The configured root as names.
fn root_path(root: &str) -> Result<Vec<String>, CgroupSetupError> {
    let CgroupPath(names) = CgroupPath::from_cgroupfs(root);
    if names.iter().all(|name| is_plain_name(name)) {
        Ok(names)
    } else {
        Err(CgroupSetupError::InvalidRoot { root: root.to_owned() })
    }
}

fn no_result(error: BlockingError, cgroup: String) -> CgroupError {
    match error {
        BlockingError::Timeout { after } => CgroupError::Timeout { cgroup, after },
        BlockingError::Broken(_) => CgroupError::Io {
            path: cgroup.clone(),
            cgroup,
            operation: "work on".to_owned(),
            source: std::io::Error::other(error.to_string()),
        },
    }
}

fn list_pods(
    hierarchies: &BTreeMap<String, PathBuf>,
    layout: &Layout,
) -> Result<Vec<(PodUid, CgroupPath)>, CgroupError> {
    let mut found = BTreeMap::new();
    for hierarchy in hierarchies.values() {
        for class in QosClass::ALL {
            let parent = CgroupPath::qos(class);
            let named = Named::new(&parent, layout)?;
            let dir = named.dir(hierarchy);
            for name in files::child_dirs(&dir).map_err(|error| named.error("list", &dir, error))? {
                if let Some(path) = layout.child(&parent, &name)
                    && let Some(uid) = path.pod_uid()
                {
                    found.insert(path, uid);
                }
            }
        }
    }
    Ok(found.into_iter().map(|(path, uid)| (uid, path)).collect())
}

#[cfg(test)]
mod tests;
