//! The images that the pods of upstream's conformance tests ask for, with the names and versions they have there, below a registry of
//! ours that does not exist: nothing is pulled.
//!
//! Upstream's programs (agnhost, nonewprivs) are in them as they are; the systems around these are busybox with a shell, and two
//! scripts that stand for the programs with which the tests speak to a network. Leaves out: images of tests that are not about a node.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{pause_program, root, write_all};
use crate::{
    ConformanceParts, Parts, command,
    oci::{Image, Node},
};

/// What the tests read from the file that `KUBE_TEST_REPO_LIST` names: where images are.
pub const REGISTRIES: &str = "promoterE2eRegistry: podwright.test/e2e\ngcRegistry: podwright.test/e2e\n";

const PATH: &str = "PATH=/usr/local/bin:/usr/bin:/bin";
const CURL: &[u8] = include_bytes!("../../assets/conformance/curl");
const NC: &[u8] = include_bytes!("../../assets/conformance/nc");
const SERVE: &str = "mkdir -p /www; echo 'Welcome to nginx!' >/www/index.html; trap 'exit 0' TERM INT QUIT; httpd -f -p 80 -h /www & wait";

/// A user and a group of images in a test about who a process is.
const USERS: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nuser-defined-in-image:x:1000:1000::/:/bin/sh\n";
const GROUPS: &[u8] =
    b"root:x:0:\nuser-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n";

/// Writes the archives of all images below `dir` and returns them.
pub fn build_all(parts: &Parts, conformance: &ConformanceParts, dir: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let read = |file: &Path| fs::read(file).with_context(|| format!("{}", file.display()));
    let (busybox, bash) = (read(&parts.busybox())?, read(conformance.bash())?);
    let applets = command::output(Command::new(parts.busybox()).arg("--list"))?;
    let applets: String =
        applets.lines().filter(|applet| *applet != "nc").map(|a| format!("{a}\n")).collect();
    let (agnhost, nonewprivs) =
        (read(&conformance.program("agnhost"))?, read(&conformance.program("nonewprivs"))?);
    let certificate = conformance.source("test/images/agnhost/porter/localhost.crt")?;
    let key = conformance.source("test/images/agnhost/porter/localhost.key")?;
    let pause = pause_program(dir)?;
    let system = || system(&busybox, &bash, &applets);
    let agnhost_image = |name| {
        let mut nodes = system();
        nodes.push(("uploads".to_owned(), Node::Dir(0o755)));
        nodes.push(("agnhost".to_owned(), Node::File(0o755, &agnhost)));
        nodes.push(("agnhost-2".to_owned(), Node::Link("agnhost")));
        nodes.push(("localhost.crt".to_owned(), Node::File(0o644, &certificate)));
        nodes.push(("localhost.key".to_owned(), Node::File(0o644, &key)));
        Image { name, nodes, config: json!({ "Env": [PATH], "Entrypoint": ["/agnhost"], "Cmd": ["pause"] }) }
    };
    let plain = |name, config| Image { name, nodes: system(), config };
    let shell = || json!({ "Env": [PATH], "Cmd": ["sh"] });
    let web = || json!({ "Env": [PATH], "Cmd": ["sh", "-c", SERVE] });
    let mut setuid = system();
    setuid.push(("usr/local/bin/nnp".to_owned(), Node::File(0o6755, &nonewprivs)));
    let images = [
        agnhost_image("podwright.test/e2e/agnhost:2.66.1"),
        agnhost_image("podwright.test/e2e/agnhost:2.55"),
        Image {
            name: "podwright.test/e2e/busybox:1.37.0-2",
            nodes: with_shell_of_busybox(system()),
            config: shell(),
        },
        plain("podwright.test/e2e/glibc-dns-testing:2.1.1", shell()),
        plain("podwright.test/e2e/nginx:1.27.0-2", web()),
        plain("podwright.test/e2e/nginx:1.28.0-2", web()),
        plain(
            "podwright.test/e2e/nonroot:1.5",
            json!({ "Env": [PATH], "User": "1234", "Cmd": ["sleep", "3600"] }),
        ),
        Image {
            name: "podwright.test/e2e/nonewprivs:1.4",
            nodes: setuid,
            config: json!({ "Env": [PATH], "Cmd": ["nnp"] }),
        },
        Image {
            name: "podwright.test/e2e/pause:3.10.2",
            nodes: vec![("pause".to_owned(), Node::File(0o755, &pause))],
            config: json!({ "Entrypoint": ["/pause"] }),
        },
    ];
    write_all(&images, dir)
}

/// The same with busybox' own shell, whose words a test knows.
fn with_shell_of_busybox(mut nodes: Vec<(String, Node<'_>)>) -> Vec<(String, Node<'_>)> {
    nodes.retain(|(path, _)| path != "bin/sh");
    nodes.push(("bin/sh".to_owned(), Node::Link("busybox")));
    nodes
}

/// busybox, with the shell and the places that the tests' commands are written for.
fn system<'a>(busybox: &'a [u8], bash: &'a [u8], applets: &str) -> Vec<(String, Node<'a>)> {
    let replaced = ["bin/sh", "bin/bash", "etc/passwd", "etc/group"];
    let mut nodes = root(busybox, applets);
    nodes.retain(|(path, _)| !replaced.contains(&path.as_str()));
    let dirs = ["home", "usr", "usr/local", "usr/local/bin"].map(|dir| (dir.to_owned(), Node::Dir(0o755)));
    nodes.extend(dirs);
    let files = [
        ("bin/bash", Node::File(0o755, bash)),
        ("bin/sh", Node::Link("bash")),
        ("bin/curl", Node::File(0o755, CURL)),
        ("bin/nc", Node::File(0o755, NC)),
        ("usr/bin", Node::Link("../bin")),
        ("sbin", Node::Link("bin")),
        ("etc/passwd", Node::File(0o644, USERS)),
        ("etc/group", Node::File(0o644, GROUPS)),
    ];
    nodes.extend(files.map(|(path, node)| (path.to_owned(), node)));
    nodes
}
