//! Carbon-adaptive.
