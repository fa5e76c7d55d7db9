//! How any of our processes lives: config, signals, admin port, drain.
