//! The API server: one client for everything the node says and asks there (CONTRACT 0.1, 1.7, 7.1).
//!
//! ```text
//! kubeconfig --> Server + Credentials --> Transport (HTTP/2, TLS) <-- ApiClient (limits, deadlines, retries, metrics) <-- ports
//!                                                                         +-- Follower (list, watch, resume)
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`kubeconfig`] | reads a kubeconfig and the files that it names |
//! | [`credentials`] | whom to trust and who one is; swapped while the client runs |
//! | `transport` | connections: few, shared, kept alive, replaced |
//! | [`client`] | requests on typed objects |
//! | `codec` | how objects are written and read: JSON today, in one place |
//! | `reviews` | who asks the node's port, and who may |
//! | `signing` | certificates of the node |
//! | `pod_certificates` | requests for certificates of pods |
//! | `references` | Secrets, ConfigMaps and tokens of pods |
//! | `events` | what happened, as Events |
//! | `pulls` | service accounts, for plugins that know credentials of registries |
//! | `watch`, [`follow`] | a stream of changes, and a list that is followed for ever |
//!
//! Guarantees: every request ends by its deadline; every body has a largest size; no error, log line or `Debug` text holds a token or
//! a key. `managedFields` are dropped on arrival: they are the larger half of an object and nobody on a node reads them.
//!
//! Left out: protobuf, proxies, credential plugins.

mod backoff;
pub mod client;
mod codec;
pub mod credentials;
mod events;
pub mod follow;
pub mod kubeconfig;
mod limiter;
mod metrics;
mod node;
mod path;
mod pod_certificates;
pub mod pods;
mod pulls;
mod references;
mod refusal;
mod reviews;
pub mod server;
mod signing;
#[cfg(test)]
mod testing;
mod transport;
mod watch;

pub use client::{ApiClient, ApiObject, ClientOptions, ObjectList, Patch, Selector};
pub use credentials::{ClientIdentity, Credentials, CredentialsError, ServerTrust, Token};
pub use events::NodeEvents;
pub use follow::{ApiCollections, Follower};
pub use kubeconfig::{IdentitySource, Kubeconfig, KubeconfigError};
pub use limiter::Rate;
pub use node::NodeObjects;
pub use path::ObjectPath;
pub use pod_certificates::ApiPodCertificates;
pub use pods::NodePods;
pub use pulls::ApiPulls;
pub use references::ApiReferences;
pub use reviews::ApiReviews;
pub use server::{Server, ServerError};
pub use signing::ApiSigner;
