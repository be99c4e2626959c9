//! The Node object of this machine and the Lease beside it: what the node says of itself, and when it says it
//! (CONTRACT 4.6-4.8).
//!
//! | module | decides |
//! |---|---|
//! | [`settings`], [`picture`] | nothing: what the node is configured to be, and what was seen of it |
//! | [`capacity`] | how much there is, and how much of it pods may use |
//! | [`addresses`] | under which addresses the node is known |
//! | [`readiness`] | why the node is not ready |
//! | [`status`] | the status of the Node object from all of these |
//! | [`registration`] | the object of a new node, and what an existing one must take over |
//! | [`patch`] | the patch from one Node object to another |
//! | [`reporter`] | the machine that says when to send which patch |
//! | [`packets`] | what the node keeps in the host's packet filter |
//! | [`ttl`] | how long Secrets and ConfigMaps that were read count |
//! | [`lease`] | the machine that keeps the Lease alive |
//! | [`shutdown`] | the machine that ends pods in order when the machine goes down |
//!
//! Reads and writes nothing outside; time and random numbers are arguments. Texts and reasons are upstream's.
//! Leaves out resources of device plugins, volumes that are attached, and the object CSINode.

pub mod addresses;
pub mod capacity;
pub mod conditions;
pub mod lease;
pub mod packets;
pub mod patch;
pub mod picture;
pub mod readiness;
pub mod registration;
pub mod reporter;
pub mod settings;
pub mod shutdown;
pub mod spread;
pub mod status;
pub mod ttl;

pub use addresses::{AddressError, NetworkFacts};
pub use lease::{LeaseAnswer, LeaseCall, LeaseMachine, LeaseSettings};
pub use picture::{NodeEvent, Picture};
pub use readiness::Readiness;
pub use reporter::{Report, Reporter};
pub use settings::{AttachDetach, CloudProvider, ExtendedResources, ImageLimit, Machine, NodeSettings};
pub use shutdown::{GracefulShutdown, GroupPeriod, GroupPeriods};
pub use spread::Spread;
