//! Manifests fetched from a URL
