//! Images and the file systems they are on.

use core_types::WallTime;
use core_types::runtime::{Image, ImageFilesystem};

use crate::call::Malformed;
use crate::proto;

/// Reply of `ListImages`.
pub(crate) fn list(reply: proto::ListImagesResponse) -> Result<Vec<Image>, Malformed> {
    Ok(reply.images.into_iter().filter(|image| !image.id.is_empty()).map(image).collect())
}

/// Reply of `ImageStatus`; `None` when the image is not present.
pub(crate) fn status(reply: proto::ImageStatusResponse) -> Result<Option<Image>, Malformed> {
    match reply.image {
        Some(found) if found.id.is_empty() || found.size == 0 => {
            Err(Malformed("id or size of the image is not set".to_owned()))
        }
        found => Ok(found.map(image)),
    }
}

fn image(image: proto::Image) -> Image {
    Image {
        id: image.id,
        repo_tags: image.repo_tags,
        repo_digests: image.repo_digests,
        size_bytes: image.size,
        uid: image.uid.map(|uid| uid.value),
        username: image.username,
        pinned: image.pinned,
    }
}

/// Reply of `ImageFsInfo`: of images, then of containers.
pub(crate) fn filesystems(
    reply: proto::ImageFsInfoResponse,
) -> Result<(Vec<ImageFilesystem>, Vec<ImageFilesystem>), Malformed> {
    let all = |list: Vec<proto::FilesystemUsage>| list.into_iter().map(filesystem).collect();
    Ok((all(reply.image_filesystems), all(reply.container_filesystems)))
}

fn filesystem(usage: proto::FilesystemUsage) -> ImageFilesystem {
    ImageFilesystem {
        timestamp: WallTime::from_unix_nanos(usage.timestamp),
        mountpoint: usage.fs_id.map(|id| id.mountpoint).unwrap_or_default(),
        used_bytes: usage.used_bytes.map_or(0, |bytes| bytes.value),
        inodes_used: usage.inodes_used.map_or(0, |inodes| inodes.value),
    }
}
