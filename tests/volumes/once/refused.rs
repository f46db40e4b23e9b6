//! Wrong input of what docker does not have, or says in another place: one line that says why, and nothing left behind.

use hull_tests::World;

#[test]
fn wrong_secrets_are_refused() {
    let world = World::new();
    let secret = world.file("secret", "x");
    let folder = world.dir("folder");
    for (options, part) in [
        ("--secret x".to_owned(), "x"),
        ("--secret id=a,src=/none/such".to_owned(), "/none/such"),
        ("--secret id=a,src=x,env=y".to_owned(), "both"),
        ("--secret id=a,env=HULL_NOT_SET".to_owned(), "HULL_NOT_SET"),
        (format!("--secret id=a,src={folder}"), "folder"),
        (format!("--secret id=a,src={secret},mode=9"), "9"),
        (format!("--secret id=a,src={secret},uid=root"), "root"),
        (format!("--secret id=a,src={secret},bogus=1"), "bogus"),
        (format!("--secret id=a,src={secret} --secret id=a,src={secret}"), "the id a"),
        ("--secret target=x".to_owned(), "id"),
        ("--secret id=x".to_owned(), "src"),
    ] {
        let told = world.refused(&options, 125);
        assert!(told.contains(part), "{options}: {told}");
    }
    assert_eq!(world.say("ps -aq").text(), "");
}

#[test]
fn wrong_words_to_volume_commands_are_refused() {
    let world = World::new();
    for (line, code, part) in [
        ("volume create one two", 125, "two"),
        ("volume create -z", 125, "-z"),
        ("volume rm", 125, "VOLUME"),
        ("volume nosuch", 125, "nosuch"),
        ("volume inspect", 125, "VOLUME"),
    ] {
        let output = world.say(line);
        assert!(output.code == code || output.code == 1, "{}", output.report("exit code"));
        assert!(output.stderr.contains(part), "{}", output.report(part));
    }
    let told = world.refused("--volume-driver nosuch -v some:/x", 125);
    assert!(told.contains("nosuch"), "{told}");
    assert_eq!(world.volumes(), [""; 0]);
}
