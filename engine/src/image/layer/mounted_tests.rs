//! Arbitrary layers against a simple idea of what they mean, seen through the kernel.
