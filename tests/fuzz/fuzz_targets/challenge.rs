//! What a registry answers to who is not logged in: a header a line.
#![no_main]

use hull_engine::registry::auth::challenge::Challenge;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|headers: &str| {
    let _ = Challenge::choose(headers.lines());
});
