//! Strips release builds of hull-init: each byte is unpacked from the initramfs at each boot. The
//! profile's `strip` does not reach a package that has profile settings of its own (cargo 1.95).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
    }
}
