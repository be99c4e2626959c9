//! Kinds of objects of which a node follows all there are, because pods may need any of them.

use futures_core::stream::BoxStream;

use crate::api::ObjectEvent;

/// All objects of one kind.
pub trait Collection<K>: Send + Sync {
    /// Follows them for as long as the stream is held.
    fn follow(&self) -> BoxStream<'static, ObjectEvent<K>>;
}
