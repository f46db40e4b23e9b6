use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn secret(name: &str, source: SecretSource) -> Secret {
    let (kind, target) = (SecretKind::Secret, format!("/run/secrets/{name}"));
    Secret { kind, name: name.to_string(), source, target, uid: 5, gid: 6, mode: 0o400 }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_file_is_read_at_each_start() {
    let folder = tempfile::tempdir().unwrap();
    let (path, kept) = (folder.path().join("file"), folder.path().join("kept/id"));
    let secrets = [secret("s", SecretSource::File(path.clone()))];
    for content in ["one", "two\0\n"] {
        fs::write(&path, content).unwrap();
        keep(&secrets, &kept).unwrap();
        let [file] = &files(&secrets, &kept).unwrap()[..] else { panic!() };
        assert_eq!(file.content.as_bytes(), content.as_bytes());
        assert_eq!((file.uid, file.gid, file.mode, file.readonly), (5, 6, 0o400, true));
    }
    assert!(!kept.exists());
    fs::remove_file(&path).unwrap();
    assert!(matches!(files(&secrets, &kept), Err(SecretError::Read { .. })));
}

#[test]
fn a_variables_value_is_kept_for_its_owner_alone_until_it_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept/id");
    // One that every test process has.
    let secrets = [secret("s", SecretSource::Env("PATH".into()))];
    check(&secrets).unwrap();
    keep(&secrets, &kept).unwrap();
    assert_eq!((mode(&kept), mode(kept.parent().unwrap()), mode(&kept.join("s"))), (0o700, 0o700, 0o600));
    let [file] = &files(&secrets, &kept).unwrap()[..] else { panic!() };
    assert_eq!(file.content.as_os_str(), std::env::var_os("PATH").unwrap());
    remove::tree(&kept).unwrap();
    remove::tree(&kept).unwrap();
    assert!(matches!(files(&secrets, &kept), Err(SecretError::Gone { .. })), "as after a reboot");
}

#[test]
fn what_is_missing_too_long_or_no_file_is_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let (long, kept) = (folder.path().join("long"), folder.path().join("kept/id"));
    fs::write(&long, vec![b'x'; 500 * 1024 + 1]).unwrap();
    let of = |source| [secret("p", SecretSource::Env("PATH".into())), secret("s", source)];
    let refused = |source| keep(&of(source), &kept).unwrap_err();
    assert!(matches!(refused(SecretSource::File(long)), SecretError::TooLong { .. }));
    assert!(matches!(refused(SecretSource::File("/dev/null".into())), SecretError::NotAFile { .. }));
    assert!(matches!(refused(SecretSource::File(folder.path().into())), SecretError::NotAFile { .. }));
    assert!(matches!(refused(SecretSource::File("/no/such".into())), SecretError::Read { .. }));
    let unset = SecretSource::Env("HULL_TEST_THIS_IS_NOT_SET".into());
    assert!(matches!(check(&of(unset.clone())), Err(SecretError::NoVariable { .. })));
    assert!(matches!(refused(unset), SecretError::NoVariable { .. }));
    assert!(!kept.exists());
}

#[test]
fn all_together_have_to_fit_into_one_call() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    // Each byte six in JSON.
    fs::write(&path, vec![1; 500 * 1024]).unwrap();
    let one = secret("a", SecretSource::File(path.clone()));
    let two = secret("b", SecretSource::File(path));
    assert!(files(std::slice::from_ref(&one), folder.path()).is_ok());
    assert!(matches!(files(&[one, two], folder.path()), Err(SecretError::TooMuch)));
}

#[test]
fn a_config_names_its_secrets_and_not_what_they_hold() {
    let kept = tempfile::tempdir().unwrap();
    let secrets = [secret("s", SecretSource::Env("PATH".into()))];
    keep(&secrets, &kept.path().join("id")).unwrap();
    let row = serde_json::to_string(&secrets).unwrap();
    assert!(row.contains("PATH") && !row.contains(&std::env::var("PATH").unwrap()));
}
