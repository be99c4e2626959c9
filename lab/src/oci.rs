//! Writing an OCI image archive: one uncompressed layer, the same bytes for the same content.
//!
//! Leaves out compression, several layers and several platforms: the images are small and made for this machine.

use std::{fs::File, io::Write, path::Path};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// One thing in the layer.
pub(crate) enum Node<'a> {
    /// A folder with this mode.
    Dir(u32),
    /// A file with this mode and content.
    File(u32, &'a [u8]),
    /// A symbolic link to this target.
    Link(&'a str),
}

/// An image to write.
pub(crate) struct Image<'a> {
    /// Full name with tag, for example `podwright.test/web:1`.
    pub(crate) name: &'a str,
    /// What the layer holds, parents before children, paths without a leading slash.
    pub(crate) nodes: Vec<(String, Node<'a>)>,
    /// The image config's `config` object: Entrypoint, Cmd, Env, ...
    pub(crate) config: Value,
}

/// Writes `image` to `file`.
pub(crate) fn write(image: &Image<'_>, file: &Path) -> Result<()> {
    let layer = layer(&image.nodes)?;
    let architecture = architecture();
    let config = json!({
        "architecture": architecture, "os": "linux", "config": image.config,
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    });
    let config = serde_json::to_vec(&config)?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let manifest = serde_json::to_vec(&manifest)?;
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    let tag = image.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    entry["platform"] = json!({ "architecture": architecture, "os": "linux" });
    entry["annotations"] =
        json!({ "io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": tag });
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry],
    });

    let out = File::create(file).with_context(|| format!("cannot write the image {}", file.display()))?;
    let mut tar = tar::Builder::new(out);
    append(&mut tar, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut tar, "index.json", 0o644, &serde_json::to_vec(&index)?)?;
    for blob in [&manifest, &config, &layer] {
        append(&mut tar, &format!("blobs/sha256/{}", hex(blob)), 0o644, blob)?;
    }
    tar.into_inner()?.flush()?;
    Ok(())
}

/// The name Go gives this machine's processor.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn layer(nodes: &[(String, Node<'_>)]) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, node) in nodes {
        match node {
            Node::File(mode, content) => append(&mut tar, path, *mode, content)?,
            Node::Dir(mode) => {
                let mut header = header(*mode, 0);
                header.set_entry_type(tar::EntryType::Directory);
                tar.append_data(&mut header, format!("{path}/"), std::io::empty())?;
            }
            Node::Link(target) => {
                let mut header = header(0o777, 0);
                header.set_entry_type(tar::EntryType::Symlink);
                tar.append_link(&mut header, path, target)?;
            }
        }
    }
    Ok(tar.into_inner()?)
}

fn append<W: Write>(tar: &mut tar::Builder<W>, path: &str, mode: u32, content: &[u8]) -> Result<()> {
    let mut header = header(mode, content.len());
    Ok(tar.append_data(&mut header, path, content)?)
}

fn header(mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size as u64);
    header
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(content), "size": content.len() })
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex(content))
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read as _};

    use super::*;

    fn read_back(file: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(File::open(file).expect("opened"));
        let entries = archive.entries().expect("entries");
        entries
            .map(|entry| {
                let mut entry = entry.expect("entry");
                let mut content = Vec::new();
                entry.read_to_end(&mut content).expect("content");
                (entry.path().expect("path").display().to_string(), content)
            })
            .collect()
    }

    fn sample(name: &str) -> Image<'_> {
        let nodes = vec![
            ("bin".to_owned(), Node::Dir(0o755)),
            ("bin/a".to_owned(), Node::File(0o755, b"content")),
            ("bin/b".to_owned(), Node::Link("a")),
        ];
        Image { name, nodes, config: json!({ "Entrypoint": ["/bin/a"] }) }
    }

    #[test]
    fn every_digest_in_the_archive_names_a_blob_with_that_content() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("image.tar");
        write(&sample("example.test/a:7"), &file).expect("written");
        let files = read_back(&file);
        for (path, content) in files.iter().filter(|(path, _)| path.starts_with("blobs/")) {
            assert_eq!(path, &format!("blobs/sha256/{}", hex(content)));
        }
        let index: Value = serde_json::from_slice(&files["index.json"]).expect("index");
        let entry = &index["manifests"][0];
        assert_eq!(entry["annotations"]["io.containerd.image.name"], "example.test/a:7");
        assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "7");
        let manifest = entry["digest"].as_str().expect("digest").replace("sha256:", "blobs/sha256/");
        assert!(files.contains_key(&manifest));
    }

    #[test]
    fn the_same_image_gives_the_same_bytes() {
        let dir = tempfile::tempdir().expect("a folder");
        let (one, two) = (dir.path().join("1"), dir.path().join("2"));
        write(&sample("example.test/a:1"), &one).expect("written");
        write(&sample("example.test/a:1"), &two).expect("written");
        assert_eq!(std::fs::read(one).expect("read"), std::fs::read(two).expect("read"));
    }
}
