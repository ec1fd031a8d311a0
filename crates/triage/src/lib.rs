//! Not yet lived in.
