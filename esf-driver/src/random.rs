//! Random numbers of the system.

/// 64 random bits, if the system has any.
pub(crate) fn u64() -> Option<u64> {
    getrandom::u64().ok()
}

/// Fills `bytes` with random bits, if the system has any.
pub(crate) fn fill(bytes: &mut [u8]) -> Option<()> {
    getrandom::fill(bytes).ok()
}
