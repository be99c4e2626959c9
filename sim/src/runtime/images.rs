//! The image service of the fake runtime.

use async_trait::async_trait;
use core_types::runtime::{Image, ImageAuth, ImageFilesystem, ImageSpec, SandboxConfig};
use ports::ImageService;
use ports::runtime::{RuntimeError, RuntimeResult};

use super::FakeRuntime;

#[async_trait]
impl ImageService for FakeRuntime {
    async fn list_images(&self) -> RuntimeResult<Vec<Image>> {
        self.read("ListImages", |store| Ok(store.images.values().cloned().collect())).await
    }

    async fn image_status(&self, image: &ImageSpec) -> RuntimeResult<Option<Image>> {
        self.read("ImageStatus", |store| {
            let found =
                store.images.values().find(|i| i.id == image.image || i.repo_tags.contains(&image.image));
            Ok(found.cloned())
        })
        .await
    }

    async fn pull_image(
        &self,
        image: &ImageSpec,
        _auth: Option<&ImageAuth>,
        _sandbox: &SandboxConfig,
    ) -> RuntimeResult<String> {
        self.call("PullImage", || {
            let mut store = self.store();
            if store.missing_images.contains(&image.image) {
                let message = format!("failed to resolve reference {:?}: not found", image.image);
                return Err(RuntimeError::NotFound { call: "PullImage", message });
            }
            let id = format!("sha256:{}", image.image);
            let pulled = Image {
                id: id.clone(),
                repo_tags: vec![image.image.clone()],
                size_bytes: 1,
                ..Image::default()
            };
            store.images.insert(id.clone(), pulled);
            Ok(id)
        })
        .await
    }

    async fn remove_image(&self, image: &ImageSpec) -> RuntimeResult<()> {
        self.call("RemoveImage", || {
            let mut store = self.store();
            if store.containers.values().any(|container| container.config.image.image == image.image) {
                store.violations.push(format!("IM-1: image {} was removed while in use", image.image));
            }
            store.images.remove(&image.image);
            Ok(())
        })
        .await
    }

    async fn image_filesystems(&self) -> RuntimeResult<(Vec<ImageFilesystem>, Vec<ImageFilesystem>)> {
        let of_images =
            ImageFilesystem { mountpoint: "/sim/images".to_owned(), ..ImageFilesystem::default() };
        self.read("ImageFsInfo", |_| Ok((vec![of_images.clone()], vec![of_images.clone()]))).await
    }
}
