//! The states of a host in a rollout, and every transition between them.
