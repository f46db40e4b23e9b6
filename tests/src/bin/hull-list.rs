//! `hull-list ROOT`: the tree below ROOT as text, see [`hull_tests::listing`].

fn main() {
    let root = std::env::args_os().nth(1).unwrap_or_else(|| "/".into());
    for line in hull_tests::listing::of(root.as_ref(), &["/proc", "/sys", "/dev", "/list"]) {
        println!("{line}");
    }
}
