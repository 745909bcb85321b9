//! Claims about the experiment.
