/// Version of the protocol. A host and an agent of different versions refuse each other in `Hello`.
pub const VERSION: u32 = 4;

/// What this agent can do beyond the version's calls.
pub const FEATURES: &[&str] = &[];
