//! Which runtimes can mount an image as a volume (CONTRACT 6.13).

use core_types::runtime::RuntimeVersion;

/// The first containerd that can. Older ones take such a mount for one without a source.
const CONTAINERD_SINCE: (u32, u32) = (2, 1);

/// Why a runtime cannot mount images; `None` when it can, or nothing is known of it.
pub fn why_no_image_mounts(runtime: &RuntimeVersion) -> Option<String> {
    if runtime.name != "containerd" {
        return None;
    }
    let mut numbers = runtime.version.trim_start_matches('v').split('.').map(|part| part.parse::<u32>().ok());
    let version = (numbers.next().flatten()?, numbers.next().flatten()?);
    let (major, minor) = CONTAINERD_SINCE;
    (version < CONTAINERD_SINCE).then(|| {
        format!(
            "the container runtime {} {} cannot mount images: use containerd {major}.{minor} or newer, or another volume",
            runtime.name, runtime.version
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_containerds_cannot() {
        for (name, version, can) in [
            ("containerd", "1.6.20~ds1", false),
            ("containerd", "v2.0.4", false),
            ("containerd", "v2.1.0", true),
            ("containerd", "2.4.2", true),
            ("containerd", "odd", true),
            ("cri-o", "1.0.0", true),
        ] {
            let runtime = RuntimeVersion {
                name: name.to_owned(),
                version: version.to_owned(),
                ..RuntimeVersion::default()
            };
            assert_eq!(why_no_image_mounts(&runtime).is_none(), can, "{name} {version}");
        }
    }
}
