//! A look at everything that the agent keeps on the machine, and the removal of what is nobody's.
//!
//! | module | what |
//! |---|---|
//! | `files` | directories of pods with what is mounted below them, logs and their links, state files |
//! | `network` | network namespaces in which nothing runs |
//!
//! Reads only, beneath directory handles, and never enters what is mounted: a dead file server cannot hold it. Each part runs
//! on the bounded pool with a deadline, and what cannot be read is a blind spot. Remedies are small steps that fail rather
//! than take away what is in use.

mod files;
mod network;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use core_doctor::inventory::PodCgroup;
use core_doctor::{Inventory, Remedy};
use core_types::PodKey;
use core_types::runtime::CgroupDriver;
use ports::{FileError, Inspection, PodFiles, RemedyError};

use crate::beneath::Dir;
use crate::blocking::{Blocking, FILE_DEADLINE};
use crate::cgroups::{CgroupOptions, CgroupSetupError, HostCgroups};
use crate::error::no_result;
use crate::pod_files::pod_dir;
use crate::{HostPodFiles, PodFilesOptions};

/// Where the agent keeps things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectionPlaces {
    /// Directories of pods, their logs and links.
    pub files: PodFilesOptions,
    /// `cgroupRoot`.
    pub cgroup_root: String,
}

/// The machine.
#[derive(Debug)]
pub struct HostInspection {
    places: Arc<InspectionPlaces>,
    blocking: Blocking,
}

impl HostInspection {
    /// Looks at these places. Nothing is read yet, and never is anything made.
    pub fn new(places: InspectionPlaces) -> Self {
        Self { places: Arc::new(places), blocking: Blocking::new(FILE_DEADLINE) }
    }

    /// The cgroups of either driver: an agent may have changed its own, and what another left is to be found. A root that is there with
    /// one of them is enough.
    fn cgroups(&self) -> Result<Vec<HostCgroups>, CgroupSetupError> {
        let made = [CgroupDriver::Cgroupfs, CgroupDriver::Systemd]
            .map(|driver| HostCgroups::new(&CgroupOptions { root: self.places.cgroup_root.clone(), driver }));
        let (found, missing): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
        match missing.into_iter().find_map(Result::err) {
            Some(error) if found.is_empty() => Err(error),
            _ => Ok(found.into_iter().flatten().collect()),
        }
    }

    async fn look_at_cgroups(&self, inventory: &mut Inventory) {
        match self.cgroups() {
            Err(error) => inventory.not_looked("cgroups", error),
            Ok(layouts) => {
                for cgroups in layouts {
                    match cgroups.pods_with_processes().await {
                        Err(error) => inventory.not_looked("cgroups", error),
                        Ok(found) => inventory.cgroups.extend(
                            found.into_iter().map(|(uid, path, processes)| PodCgroup {
                                uid,
                                path,
                                processes,
                            }),
                        ),
                    }
                }
            }
        }
    }

    /// Runs a part of the look; one without an answer is a blind spot.
    async fn part(
        &self,
        name: &'static str,
        mut inventory: Inventory,
        work: impl FnOnce(&InspectionPlaces, &mut Inventory) + Send + 'static,
    ) -> Inventory {
        let (places, mut found) = (Arc::clone(&self.places), inventory.clone());
        let done = self.blocking.run(name, move || {
            work(&places, &mut found);
            found
        });
        match done.await {
            Ok(found) => found,
            Err(error) => {
                inventory.not_looked(name, no_result(error, "look at", self.places.files.root_dir.clone()));
                inventory
            }
        }
    }

    async fn on_pods(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Dir) -> Result<(), FileError> + Send + 'static,
    ) -> Result<(), RemedyError> {
        let root = self.places.files.root_dir.clone();
        let pods = move || -> Result<PathBuf, FileError> {
            use crate::error::AtPath as _;
            Ok(std::fs::canonicalize(&root).at("resolve", &root)?.join("pods"))
        };
        let done = self.blocking.run(operation, move || work(&Dir::open(&pods()?)?)).await;
        let root = self.places.files.root_dir.clone();
        Ok(done.unwrap_or_else(|error| Err(no_result(error, operation, root)))?)
    }

    fn pod_files(&self) -> Result<HostPodFiles, FileError> {
        HostPodFiles::new(&self.places.files)
    }
}

#[async_trait]
impl Inspection for HostInspection {
    async fn look(&self) -> Inventory {
        let mut inventory = self.part("pods", Inventory::default(), files::pods).await;
        inventory = self.part("logs", inventory, files::logs).await;
        inventory = self.part("state files", inventory, files::state).await;
        inventory = self.part("network namespaces", inventory, |_, inventory| network::look(inventory)).await;
        self.look_at_cgroups(&mut inventory).await;
        inventory
    }

    async fn carry_out(&self, remedy: &Remedy) -> Result<(), RemedyError> {
        match remedy.clone() {
            Remedy::Unmount { uid, relative } => {
                let unmount = move |pods: &Dir| pod_dir::unmount_in_pod(pods, &uid, Path::new(&relative));
                self.on_pods("unmount in", unmount).await
            }
            Remedy::RemovePodDir { uid } => {
                self.on_pods("remove a directory in", move |pods| pod_dir::remove_unmounted(pods, &uid)).await
            }
            Remedy::RemoveLogs { uid } => {
                Ok(self.pod_files()?.remove_pod_logs(&PodKey::new("", ""), &uid).await?)
            }
            Remedy::RemoveDeadLinks => Ok(self.pod_files()?.remove_dead_log_links().await?),
            Remedy::RemoveCgroup { path } => {
                for cgroups in self.cgroups().map_err(|error| RemedyError::Places(error.to_string()))? {
                    cgroups.remove_empty(&path).await?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
