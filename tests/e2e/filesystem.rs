//! The writable layer and what surrounds it. More is in the conformance tables.

use hull_tests::{
    BUSYBOX, DEBIAN, Hull, Store,
    archive::{Archive, Tar},
    run, unique,
};

#[test]
fn what_a_container_writes_is_gone_with_it() {
    run([BUSYBOX, "sh", "-c", "echo mine > /tmp/mine; rm -r /bin/ls; echo x >> /etc/passwd"]).exits(0);
    run([BUSYBOX, "sh", "-c", "test ! -e /tmp/mine && ls / > /dev/null && ! grep -x x /etc/passwd"]).exits(0);
}

#[test]
fn containers_do_not_see_each_others_files_or_processes() {
    let name = unique("other");
    let script = "echo mine > /tmp/mine; echo ready; sleep 1000";
    let mut other = Hull::run(["--name", &name, BUSYBOX, "sh", "-c", script]).spawn();
    other.stdout.expect("ready");
    let text = run([BUSYBOX, "sh", "-c", "ls /tmp; ps -o comm | grep -c sleep"]).exits(1);
    assert_eq!(text.stdout, b"0\n");
}

#[test]
fn root_takes_every_kind_of_change() {
    let script = "set -e; cd /; mkdir -p a/b; mv a/b c; ln -s c link; ln etc/passwd hard; mkfifo f; \
                  chmod 4711 bin/busybox; chown 12:34 etc; rm -r home; mkdir home; touch home/new; mv var renamed; \
                  test $(stat -c %h hard) = 2; test $(stat -c %a bin/busybox) = 4711; ls -d c link f renamed/tmp";
    let text = run([BUSYBOX, "sh", "-c", script]).text();
    assert_eq!(text, "c\nf\nlink\nrenamed/tmp");
}

#[test]
fn file_of_many_megabytes_is_written_and_read_back() {
    let script = "head -c 20000000 /dev/urandom > /tmp/big; cp /tmp/big /root/copy; cmp /tmp/big /root/copy && \
                  stat -c %s /root/copy";
    assert_eq!(run([BUSYBOX, "sh", "-c", script]).text(), "20000000");
}

#[test]
fn tmpfs_is_no_larger_than_asked() {
    let script = "dd if=/dev/zero of=/small/file bs=64k count=100 2>&1; stat -c %s /small/file";
    let text = run(["--tmpfs", "/small:size=1m", BUSYBOX, "sh", "-c", script]).text();
    assert!(text.contains("No space left") && text.ends_with("1048576"), "{text}");
}

#[test]
fn tmpfs_may_hide_what_the_image_has() {
    let text = run(["--tmpfs", "/etc", BUSYBOX, "sh", "-c", "test ! -e /etc/passwd; ls -d /etc"]).text();
    assert_eq!(text, "/etc");
}

#[test]
fn readonly_root_refuses_every_write_below_it() {
    let script = "for f in /a /bin/b /etc/passwd /root/c; do echo x > $f && echo written $f; done; true";
    let output = run(["--read-only", BUSYBOX, "sh", "-c", script]).exits(0);
    assert_eq!(output.stdout, b"");
    assert_eq!(output.stderr.matches("Read-only file system").count(), 4, "{}", output.stderr);
}

#[test]
fn masked_and_readonly_paths_of_proc_stay_so_for_root() {
    let script = "for f in /proc/sys/kernel/domainname /proc/sys/vm/drop_caches /proc/sysrq-trigger /proc/irq/x /proc/bus/x; do \
                  echo 1 > $f && echo wrote $f; done; umount /proc/kcore; umount /proc/sys; \
                  cat /proc/kcore | head -c 1; ls /sys/firmware /proc/acpi; true";
    let output = run([BUSYBOX, "sh", "-c", script]).exits(0);
    let shown =
        String::from_utf8_lossy(&output.stdout).replace("/sys/firmware:", "").replace("/proc/acpi:", "");
    assert_eq!(shown.trim(), "", "{}", output.report("something was written or read"));
}

#[test]
fn debian_file_system_is_all_there() {
    // Every file that dpkg knows has the content that dpkg says.
    let script =
        "cd / && cat /var/lib/dpkg/info/*.md5sums | md5sum --quiet -c - && echo all right; dpkg --audit";
    assert_eq!(run([DEBIAN, "sh", "-c", script]).text(), "all right");
}

#[test]
fn image_without_passwd_proc_dev_or_etc_runs() {
    let store = Store::new();
    let busybox = std::fs::read(hull_tests::paths::image("busybox.binary")).unwrap();
    let tar = Tar::new().program("sh", &busybox).bytes();
    store.load_archive(&Archive::new("bare:1").layer(tar)).exits(0);
    // Built-ins only: the image has no other program.
    let script = "read name < /etc/hostname; echo $name; echo x > /dev/null && echo $((1 + 1)); read comm < /proc/1/comm; echo $comm";
    assert_eq!(
        store.run(["-h", "bare", "-u", "12", "bare:1", "/sh", "-c", script]).output().text(),
        "bare\n2\nsh"
    );
}
