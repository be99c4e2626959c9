//! What to do about an image that cannot be had: read from the reason and from the words of the runtime and the registry.

/// Words of a failed pull, in lower case, and what to do. The first that fits counts.
const HINTS: &[(&[&str], &str)] = &[
    (
        &["pull qps exceeded"],
        "Too many pulls began at once; it is tried again. If that happens often, raise registryPullQPS and registryBurst.",
    ),
    (&["no space left"], "Free disk space where the container runtime keeps its images."),
    (
        &["not a docker configuration", "base64 of user:password"],
        "Correct the pull secret that the message names.",
    ),
    (
        &["gave http response to https client"],
        "The registry speaks plain HTTP: tell the container runtime so (containerd: hosts.toml in its certs.d directory).",
    ),
    (
        &["x509:", "certificate signed by"],
        "Give the container runtime the certificate authority of the registry (containerd: hosts.toml in its certs.d directory).",
    ),
    (
        &["401 ", "403 ", "unauthorized", "authorization failed", "access denied", "no basic auth"],
        "Sign in: put the registry's credentials into config.json in the agent's root directory, or use imagePullSecrets or a credential provider plugin.",
    ),
    (
        &["no such host", "connection refused", "timeout", "unreachable", "connection reset"],
        "Check that the registry is up and that this node reaches it: its name, the network, a proxy.",
    ),
    (&["not found", "manifest unknown"], "Check the image's name and tag: the registry does not have it."),
];

/// What a person can do about it.
pub(super) fn hint(reason: &str, message: &str) -> &'static str {
    match reason {
        "ErrImageNeverPull" => "Put the image on this node, or set imagePullPolicy to IfNotPresent.",
        "InvalidImageName" => "Correct the image name in the pod.",
        "ImageInspectError" => "Read the container runtime's log: it cannot tell what images it has.",
        "SignatureValidationFailed" => {
            "Use an image with a signature that this node trusts, or correct the runtime's signature policy."
        }
        "RegistryUnavailable" => "Check that the registry runs and that this node reaches it.",
        _ => {
            let message = message.to_lowercase();
            let fits = |words: &[&str]| words.iter().any(|word| message.contains(word));
            HINTS.iter().find(|(words, _)| fits(words)).map_or(
                "Check the image's name and tag, the network, and the registry's credentials (imagePullSecrets).",
                |(_, hint)| hint,
            )
        }
    }
}

/// The image that a message names; an image volume's is not the container's own.
pub(super) fn named_in(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("image \"")?;
    rest.split_once('"').map(|(image, _)| image).filter(|image| !image.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_follow_the_registrys_words() {
        for (message, part) in [
            ("failed to resolve image: unexpected status from HEAD request: 401 Unauthorized", "Sign in"),
            ("pull access denied, repository does not exist or may require authorization", "Sign in"),
            ("failed to resolve image: r.io/a:1: not found", "does not have it"),
            ("dial tcp: lookup r.io: no such host", "reaches it"),
            ("dial tcp 10.0.0.1:443: connect: connection refused", "reaches it"),
            ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "authority"),
            ("http: server gave HTTP response to HTTPS client", "plain HTTP"),
            ("write /var/lib/x: no space left on device", "disk space"),
            ("pull QPS exceeded", "registryPullQPS"),
            (
                "registry credentials secret shop/x: not a docker configuration (line 1, column 1); not used",
                "secret",
            ),
            ("odd", "name and tag, the network"),
        ] {
            let hint = hint("ImagePullBackOff", message);
            assert!(hint.contains(part), "{message}: {hint}");
        }
        assert!(hint("SignatureValidationFailed", "").contains("signature policy"));
    }

    #[test]
    fn the_image_of_a_message_is_found() {
        assert_eq!(named_in("Back-off pulling image \"a:1\": ErrImagePull: x"), Some("a:1"));
        assert_eq!(named_in("Container image \"b\" is not present with pull policy of Never"), Some("b"));
        assert_eq!(named_in("no image here"), None);
    }
}
