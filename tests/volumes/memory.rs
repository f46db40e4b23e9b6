//! What lies in memory: tmpfs, /dev/shm, secrets.

use std::fs;

use hull_tests::{BUSYBOX, World};

#[test]
fn file_systems_in_memory_have_their_size_and_mode() {
    let world = World::new();
    let options = "--tmpfs /a:size=2m,mode=750 --mount type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=1700 --mount type=tmpfs,dst=/c \
                   --tmpfs /d:ro --shm-size 3m";
    let script = "stat -c %a /a /b /c; df -k /a /b /dev/shm | awk 'NR > 1 {print $2}'; touch /d/x 2>/dev/null || echo refused; \
                  dd if=/dev/zero of=/b/full bs=64k count=100 2>/dev/null || stat -c %s /b/full; \
                  dd if=/dev/zero of=/dev/shm/full bs=64k count=100 2>/dev/null || stat -c %s /dev/shm/full; \
                  grep -E ' /(a|b|c) ' /proc/mounts | grep -c nosuid,nodev,noexec";
    let text = world.sh(options, script).text();
    assert_eq!(text, "750\n1700\n1777\n2048\n1024\n3072\nrefused\n1048576\n3145728\n3");
    // It is the container's, and gone with its end.
    world.start("again", "--tmpfs /t", [BUSYBOX, "sh", "-c", "ls -A /t; echo x > /t/left"]);
    world.say("wait again").exits(0);
    world.say("start again").exits(0);
    world.say("wait again").exits(0);
    assert_eq!(world.say("logs again").text(), "");
}

#[test]
fn secrets_are_files_in_memory_and_nowhere_else() {
    let mut world = World::new();
    let secret = world.file("password", "correct horse battery staple\n");
    let options = format!(
        "--secret id=password,src={secret} --secret id=x,source={secret},target=other,uid=12,gid=34,mode=0440 \
         --secret id=y,src={secret},target=/etc/app/key,mode=0400 --config id=z,src={secret},target=/etc/app.conf"
    );
    world.sleeping("holder", &options);
    let script = "cd /run/secrets; stat -c '%n %u:%g %a' password other /etc/app/key /etc/app.conf; cat password other; \
                  grep -c 'horse.battery' /etc/app/key /etc/app.conf; for f in password other /etc/app/key /etc/app.conf; do \
                  echo x 2>/dev/null >> $f && echo wrote $f; chmod 666 $f 2>/dev/null && echo changed $f; \
                  rm -f $f 2>/dev/null && echo removed $f; done; stat -f -c %T password";
    let text = world.exec("holder", script).text();
    let wanted = "password 0:0 444\nother 12:34 440\n/etc/app/key 0:0 400\n/etc/app.conf 0:0 444\n\
                  correct horse battery staple\ncorrect horse battery staple\n/etc/app/key:1\n/etc/app.conf:1\ntmpfs";
    assert_eq!(text, wanted);
    // Not in what hull says or keeps, nor in anybody's arguments or environment.
    let said = world.say("inspect holder").text() + &world.exec("holder", "env; cat /proc/mounts").text();
    assert!(!said.contains("battery"), "{said}");
    let kept = std::process::Command::new("grep")
        .args(["-rl", "horse battery"])
        .arg(&world.store.root)
        .arg(&world.store.run)
        .output();
    assert_eq!(String::from_utf8_lossy(&kept.unwrap().stdout), "");
    for line in world.traces().iter().filter(|line| line.starts_with("process ")) {
        assert!(!line.contains("battery"), "{line}");
        let pid = line.split(' ').nth(1).unwrap();
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&environ).contains("battery"), "{line}");
    }
    // As the file is at each start; gone, the container does not start.
    world.say("stop -t 0 holder").exits(0);
    world.file("password", "changed\n");
    world.say("start holder").exits(0);
    assert_eq!(world.exec("holder", "cat /run/secrets/password").text(), "changed");
    world.say("stop -t 0 holder").exits(0);
    fs::remove_file(&secret).unwrap();
    let told = world.say("start holder").fails(1);
    assert!(told.contains(&secret), "{told}");
}
