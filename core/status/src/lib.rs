//! Phase, conditions and container statuses of a pod, and why it is in that state
