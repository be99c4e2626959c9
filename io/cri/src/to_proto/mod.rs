//! Requests as CRI messages. Every field of the plain types goes in; nothing is decided here.

mod config;
mod security;

pub(crate) use config::{
    auth_config, container_config, image_spec, linux_resources, of_pod, sandbox_config, whole_seconds,
};
