//! What to do next for one pod: sandbox and container plan, back-off, image decisions, CRI configuration
