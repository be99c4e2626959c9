//! One pull: each credential in turn, until one opens the registry.

use core_images::pull::joined_failures;
use core_images::records::Access;

use super::pulls::{PullWish, Pulled};
use crate::outside::Outside;

/// Pulls an image. The error has the runtime's words for each credential.
pub(crate) async fn pull_once(outside: &Outside, wish: &PullWish) -> Result<Pulled, String> {
    let (images, spec, sandbox) = (&outside.images, &wish.spec, &wish.sandbox);
    if wish.credentials.is_empty() {
        let image_ref = images.pull_image(spec, None, sandbox).await.map_err(|error| error.status_text())?;
        return Ok(Pulled { image_ref, access: Access::Node });
    }
    let mut failures = Vec::new();
    for credential in &wish.credentials {
        match images.pull_image(spec, Some(&credential.auth), sandbox).await {
            Ok(image_ref) => return Ok(Pulled { image_ref, access: Access::by_credential(credential) }),
            Err(error) => failures.push(error.status_text()),
        }
    }
    Err(joined_failures(&failures))
}
