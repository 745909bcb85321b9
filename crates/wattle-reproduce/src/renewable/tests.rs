//! Claims about the study.
