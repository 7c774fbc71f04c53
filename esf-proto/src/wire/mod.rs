//! Frames and bytes.
