//! End to end with the real binaries; architecture rules.
