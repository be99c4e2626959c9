//! The whole agent on fakes: one thread, paused time, printed seed
