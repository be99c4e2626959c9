//! Which crate may depend on which (DESIGN section 1), read from `cargo metadata`.
//!
//! Dev-dependencies are free: a test may look at anything. Build dependencies count as normal ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use super::Finding;

/// What must not be reachable from a decision crate: async runtimes, networking, clients, the machine.
const NOT_IN_CORE: [&str; 22] = [
    "async-std",
    "async-trait",
    "axum",
    "futures-util",
    "h2",
    "hyper",
    "hyper-util",
    "inotify",
    "kube",
    "mio",
    "nix",
    "reqwest",
    "rustix",
    "rustls",
    "smol",
    "socket2",
    "tempfile",
    "tokio",
    "tokio-stream",
    "tokio-util",
    "tonic",
    "tower",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ring {
    Core,
    Ports,
    Io,
    Agent,
    Server,
    Bin,
    Sim,
    Tool,
}

impl Ring {
    /// The ring of the crate in this folder of the workspace.
    fn of(folder: &str) -> Option<Self> {
        Some(match folder.split('/').next()? {
            "core" => Self::Core,
            "ports" => Self::Ports,
            "io" => Self::Io,
            "agent" => Self::Agent,
            "server" => Self::Server,
            "bin" => Self::Bin,
            "sim" => Self::Sim,
            "bench" | "lab" | "tests" | "xtask" => Self::Tool,
            _ => return None,
        })
    }

    /// The rings it may depend on.
    fn sees(self) -> &'static [Self] {
        match self {
            Self::Core | Self::Ports => &[Self::Core],
            Self::Io | Self::Agent | Self::Server => &[Self::Core, Self::Ports],
            Self::Sim => &[Self::Core, Self::Ports, Self::Agent, Self::Server],
            Self::Bin => &[Self::Core, Self::Ports, Self::Io, Self::Agent, Self::Server],
            Self::Tool => &[
                Self::Core,
                Self::Ports,
                Self::Io,
                Self::Agent,
                Self::Server,
                Self::Bin,
                Self::Sim,
                Self::Tool,
            ],
        }
    }
}

/// A crate of the workspace with what it needs to be built.
struct Crate {
    name: String,
    folder: String,
    /// Folders of workspace crates it depends on.
    ours: Vec<String>,
    /// Every crate reachable from it.
    reachable: BTreeSet<String>,
}

/// Checks the whole workspace.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .other_options(vec![
            "--filter-platform".to_owned(),
            format!("{}-unknown-linux-gnu", std::env::consts::ARCH),
        ])
        .exec()
        .context("cargo metadata")?;
    Ok(crates(&metadata)?.iter().flat_map(check_crate).collect())
}

fn check_crate(this: &Crate) -> Vec<Finding> {
    let place = format!("{} ({})", this.name, this.folder);
    let Some(ring) = Ring::of(&this.folder) else {
        return vec![Finding::new(place, "its folder is no ring of DESIGN section 1")];
    };
    let mut findings = Vec::new();
    for other in &this.ours {
        let allowed = Ring::of(other).is_some_and(|other| ring.sees().contains(&other));
        if !allowed {
            findings.push(Finding::new(&place, format!("{ring:?} may not depend on {other}")));
        }
    }
    if ring == Ring::Core {
        let banned = this.reachable.iter().filter(|name| NOT_IN_CORE.contains(&name.as_str()));
        findings.extend(
            banned.map(|name| Finding::new(&place, format!("decisions must not reach the crate {name}"))),
        );
    }
    findings
}

fn crates(metadata: &Metadata) -> Result<Vec<Crate>> {
    let edges = edges(metadata)?;
    let folder_of = |id: &PackageId| {
        let manifest = metadata[id].manifest_path.parent()?;
        Some(manifest.strip_prefix(&metadata.workspace_root).ok()?.to_string())
    };
    let mut crates = Vec::new();
    for id in &metadata.workspace_members {
        let direct = edges.get(id).into_iter().flatten();
        crates.push(Crate {
            name: metadata[id].name.to_string(),
            folder: folder_of(id).context("a workspace crate lies below the workspace root")?,
            ours: direct
                .filter(|other| metadata.workspace_members.contains(other))
                .filter_map(folder_of)
                .collect(),
            reachable: reachable(&edges, id).iter().map(|id| metadata[id].name.to_string()).collect(),
        });
    }
    Ok(crates)
}

type Edges = BTreeMap<PackageId, Vec<PackageId>>;

fn edges(metadata: &Metadata) -> Result<Edges> {
    let resolve = metadata.resolve.as_ref().context("cargo metadata resolved nothing")?;
    let needed = |dep: &&cargo_metadata::NodeDep| {
        dep.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development)
    };
    let of_node = |node: &cargo_metadata::Node| {
        (node.id.clone(), node.deps.iter().filter(needed).map(|dep| dep.pkg.clone()).collect())
    };
    Ok(resolve.nodes.iter().map(of_node).collect())
}

fn reachable<'a>(edges: &'a Edges, from: &'a PackageId) -> BTreeSet<&'a PackageId> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(id) = open.pop() {
        for next in edges.get(id).into_iter().flatten() {
            if found.insert(next) {
                open.push(next);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(folder: &str, ours: &[&str], reachable: &[&str]) -> usize {
        check_crate(&Crate {
            name: "x".to_owned(),
            folder: folder.to_owned(),
            ours: ours.iter().map(|s| (*s).to_owned()).collect(),
            reachable: reachable.iter().map(|s| (*s).to_owned()).collect(),
        })
        .len()
    }

    #[test]
    fn a_ring_sees_only_the_rings_above_it() {
        for (folder, other, bad) in [
            ("core/pods", "core/types", 0),
            ("core/pods", "ports", 1),
            ("ports", "core/types", 0),
            ("ports", "io/cri", 1),
            ("io/cri", "ports", 0),
            ("io/cri", "io/host", 1),
            ("io/cri", "agent", 1),
            ("agent", "io/cri", 1),
            ("agent", "server", 1),
            ("server", "agent", 1),
            ("bin/kubelet", "io/cri", 0),
            ("bin/kubelet", "lab", 1),
            ("sim", "io/cri", 1),
            ("sim", "agent", 0),
            ("tests", "io/cri", 0),
        ] {
            assert_eq!(findings(folder, &[other], &[]), bad, "{folder} on {other}");
        }
    }

    #[test]
    fn decisions_reach_no_async_runtime_however_deep() {
        assert_eq!(findings("core/pods", &[], &["serde", "tokio", "mio"]), 2);
        assert_eq!(findings("agent", &[], &["tokio"]), 0);
    }

    #[test]
    fn a_crate_outside_the_rings_is_found() {
        assert_eq!(findings("misc/helper", &[], &[]), 1);
    }
}
