//! Fleet files, lawful and not.
