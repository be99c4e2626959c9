//! Differences between two pictures of the runtime, and the health of the one who looks
