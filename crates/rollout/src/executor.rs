//! The executor: from a plan and its journal to what is due now.
