use super::*;

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
    broken line\n\
    app:x:1000:1001::/home/app:/bin/sh\n\
    bad:x:many:1::/:/bin/sh\n\
    homeless:x:7:7\n";
const GROUP: &[u8] = b"root:x:0:\napp:x:1001:\nwheel:x:10:root,app\nnogid:x:x:app\nvideo:x:44:app,other\n";

fn resolved(spec: &str) -> Result<(u32, u32, Vec<u32>, String), UserError> {
    resolve(spec.as_bytes(), PASSWD, GROUP)
        .map(|found| (found.uid, found.gid, found.groups, String::from_utf8(found.home).unwrap()))
}

#[test]
fn empty_user_is_root_with_its_home_and_groups() {
    assert_eq!(resolved(""), Ok((0, 0, vec![0, 10], "/root".into())));
    assert_eq!(
        resolve(b"", b"", b"").unwrap(),
        Identity { uid: 0, gid: 0, groups: vec![0], home: b"/".to_vec() }
    );
}

#[test]
fn user_is_found_by_name_and_by_number() {
    let app = Ok((1000, 1001, vec![10, 44, 1001], "/home/app".into()));
    assert_eq!(resolved("app"), app);
    assert_eq!(resolved("1000"), app);
}

#[test]
fn named_group_replaces_the_supplementary_ones() {
    assert_eq!(resolved("app:video"), Ok((1000, 44, vec![44], "/home/app".into())));
    assert_eq!(resolved("app:5"), Ok((1000, 5, vec![5], "/home/app".into())));
    assert_eq!(resolved(":video"), Ok((0, 44, vec![44], "/root".into())));
}

#[test]
fn unlisted_number_is_accepted_with_group_0() {
    assert_eq!(resolved("4711"), Ok((4711, 0, vec![0], "/".into())));
    assert_eq!(resolved("4711:4712"), Ok((4711, 4712, vec![4712], "/".into())));
}

#[test]
fn unknown_names_and_wild_numbers_are_refused() {
    assert_eq!(resolved("nobody"), Err(UserError::NoUser("nobody".into())));
    assert_eq!(resolved("app:nobody"), Err(UserError::NoGroup("nobody".into())));
    assert_eq!(resolved("2147483648"), Err(UserError::OutOfRange("2147483648".into())));
    assert_eq!(resolved("+1"), Err(UserError::NoUser("+1".into())));
    assert_eq!(resolved("-1"), Err(UserError::NoUser("-1".into())));
}

#[test]
fn malformed_entries_match_nobody() {
    assert_eq!(resolved("bad"), Err(UserError::NoUser("bad".into())));
    assert_eq!(resolved("broken line"), Err(UserError::NoUser("broken line".into())));
    assert_eq!(resolved("homeless"), Ok((7, 7, vec![7], "/".into())));
}
