//! The images of runs and tests, made from local files: no registry and no docker needed.
//!
//! `pause` holds a sandbox, `busybox` has a shell and its applets, `web` serves "Hello from podwright" on port 8080.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    Parts, command,
    oci::{Image, Node, write},
};

pub mod conformance;

/// The sandbox image.
pub const PAUSE: &str = "podwright.test/pause:1";
/// A shell with the usual tools; runs `sleep` for an hour unless told otherwise.
pub const BUSYBOX: &str = "podwright.test/busybox:1";
/// A small web server on port 8080.
pub const WEB: &str = "podwright.test/web:1";
/// What the web server's page says.
pub const PAGE: &str = "Hello from podwright\n";

/// The web server is not process 1, which would ignore SIGTERM and use up every grace period.
const SERVE: &str = "trap 'exit 0' TERM INT; httpd -f -p 8080 -h /www & wait";

/// Writes the archives of all images below `dir` and returns them.
pub fn build_all(parts: &Parts, dir: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let busybox_file = parts.busybox();
    let busybox = fs::read(&busybox_file).with_context(|| format!("{}", busybox_file.display()))?;
    let applets = command::output(Command::new(&busybox_file).arg("--list"))?;
    let pause = pause_program(dir)?;
    let images = [
        Image {
            name: PAUSE,
            nodes: vec![("pause".to_owned(), Node::File(0o755, &pause))],
            config: json!({ "Entrypoint": ["/pause"] }),
        },
        Image {
            name: BUSYBOX,
            nodes: root(&busybox, &applets),
            config: json!({ "Env": ["PATH=/bin"], "Cmd": ["sleep", "3600"] }),
        },
        Image {
            name: WEB,
            nodes: web_root(&busybox, &applets),
            config: json!({
                "Env": ["PATH=/bin"], "Cmd": ["/bin/sh", "-c", SERVE], "ExposedPorts": { "8080/tcp": {} },
            }),
        },
    ];
    write_all(&images, dir)
}

/// Writes an archive of each image, which is named after it.
fn write_all(images: &[Image<'_>], dir: &Path) -> Result<Vec<PathBuf>> {
    let archive = |image: &Image<'_>| {
        let file = dir.join(format!("{}.tar", image.name.replace(['/', ':'], "_")));
        write(image, &file).map(|()| file)
    };
    images.iter().map(archive).collect()
}

fn root<'a>(busybox: &'a [u8], applets: &str) -> Vec<(String, Node<'a>)> {
    let mut nodes: Vec<(String, Node<'a>)> =
        ["bin", "etc", "root", "var"].iter().map(|dir| ((*dir).to_owned(), Node::Dir(0o755))).collect();
    nodes.push(("tmp".to_owned(), Node::Dir(0o1777)));
    nodes.push(("bin/busybox".to_owned(), Node::File(0o755, busybox)));
    let links = applets.lines().filter(|applet| !applet.is_empty() && *applet != "busybox");
    nodes.extend(links.map(|applet| (format!("bin/{applet}"), Node::Link("busybox"))));
    nodes.push((
        "etc/passwd".to_owned(),
        Node::File(0o644, b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n"),
    ));
    nodes.push(("etc/group".to_owned(), Node::File(0o644, b"root:x:0:\nuser:x:1000:\n")));
    nodes
}

fn web_root<'a>(busybox: &'a [u8], applets: &str) -> Vec<(String, Node<'a>)> {
    let mut nodes = root(busybox, applets);
    nodes.push(("www".to_owned(), Node::Dir(0o755)));
    nodes.push(("www/index.html".to_owned(), Node::File(0o644, PAGE.as_bytes())));
    nodes
}

fn pause_program(dir: &Path) -> Result<Vec<u8>> {
    let (source, program) = (dir.join("pause.c"), dir.join("pause"));
    fs::write(&source, include_str!("../assets/pause.c"))?;
    command::output(Command::new("cc").args(["-static", "-Os", "-s", "-o"]).arg(&program).arg(&source))
        .context("the pause program for the sandbox image")?;
    Ok(fs::read(&program)?)
}
