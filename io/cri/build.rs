//! Generates the CRI v1 types, client and server from `proto/api.proto`.
//!
//! The proto file is cri-api v0.37.2's, unchanged. protox compiles it, so the machine needs no protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/api.proto");
    let descriptors = protox::compile(["proto/api.proto"], ["proto"])?;
    // The boxed fields are the large ones: a request is held several times over by the future of its call.
    tonic_prost_build::configure()
        .btree_map(".")
        .disable_comments(["."])
        .skip_debug([".runtime.v1.AuthConfig"])
        .boxed(".runtime.v1.RunPodSandboxRequest.config")
        .boxed(".runtime.v1.CreateContainerRequest.config")
        .boxed(".runtime.v1.CreateContainerRequest.sandbox_config")
        .boxed(".runtime.v1.PullImageRequest.sandbox_config")
        .boxed(".runtime.v1.UpdatePodSandboxResourcesRequest.overhead")
        .boxed(".runtime.v1.UpdatePodSandboxResourcesRequest.resources")
        .generate_default_stubs(true)
        .compile_fds(descriptors)?;
    Ok(())
}
