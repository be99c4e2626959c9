//! [`ImageService`] over CRI.

use async_trait::async_trait;
use core_types::runtime::{Image, ImageAuth, ImageFilesystem, ImageSpec, SandboxConfig};
use ports::ImageService;
use ports::runtime::{RuntimeError, RuntimeResult};

use crate::call::{Call, Deadline};
use crate::client::CriClient;
use crate::from_proto::{self, required_text};
use crate::{proto, to_proto};

const LIST_IMAGES: Call = Call::of_all("ListImages", "list_images");
const IMAGE_STATUS: Call = Call::new("ImageStatus", "image_status");
const PULL_IMAGE: Call = Call::new("PullImage", "pull_image");
const REMOVE_IMAGE: Call = Call::new("RemoveImage", "remove_image");
const IMAGE_FS_INFO: Call = Call::of_all("ImageFsInfo", "image_fs_info");

#[async_trait]
impl ImageService for CriClient {
    async fn list_images(&self) -> RuntimeResult<Vec<Image>> {
        let mut service = self.images();
        let call = service.list_images(proto::ListImagesRequest { filter: None });
        self.image_calls.run(LIST_IMAGES, self.deadline(), call, from_proto::image::list).await
    }

    async fn image_status(&self, image: &ImageSpec) -> RuntimeResult<Option<Image>> {
        let mut service = self.images();
        let request = proto::ImageStatusRequest { image: Some(to_proto::image_spec(image)), verbose: false };
        let call = service.image_status(request);
        match self.image_calls.run(IMAGE_STATUS, self.deadline(), call, from_proto::image::status).await {
            Err(RuntimeError::NotFound { .. }) => Ok(None),
            answer => answer,
        }
    }

    async fn pull_image(
        &self,
        image: &ImageSpec,
        auth: Option<&ImageAuth>,
        sandbox: &SandboxConfig,
    ) -> RuntimeResult<String> {
        let mut service = self.images();
        let call = service.pull_image(proto::PullImageRequest {
            image: Some(to_proto::image_spec(image)),
            auth: auth.map(to_proto::auth_config),
            sandbox_config: Some(Box::new(to_proto::sandbox_config(sandbox))),
        });
        let read = |reply: proto::PullImageResponse| required_text(reply.image_ref, "image_ref");
        self.image_calls.run(PULL_IMAGE, Deadline::Never, call, read).await
    }

    async fn remove_image(&self, image: &ImageSpec) -> RuntimeResult<()> {
        let mut service = self.images();
        let request = proto::RemoveImageRequest { image: Some(to_proto::image_spec(image)) };
        let call = service.remove_image(request);
        match self.image_calls.run(REMOVE_IMAGE, self.deadline(), call, |_| Ok(())).await {
            Err(RuntimeError::NotFound { .. }) => Ok(()),
            answer => answer,
        }
    }

    async fn image_filesystems(&self) -> RuntimeResult<(Vec<ImageFilesystem>, Vec<ImageFilesystem>)> {
        let mut service = self.images();
        let call = service.image_fs_info(proto::ImageFsInfoRequest {});
        self.image_calls.run(IMAGE_FS_INFO, self.deadline(), call, from_proto::image::filesystems).await
    }
}
