//! BatchSizer.
