//! Real programs that live off their files.

use std::process::Command;

use hull_tests::{SERVICES, TOOLS, World, paths};

/// A database that is stopped, killed and started again, with what it said it has.
fn database(world: &World, options: &str) {
    let start = |name: &str| {
        let command = "cp -an /var/lib/postgresql/data/. /db/; chmod 700 /db; chown postgres /db; \
                       exec su postgres -c 'postgres -D /db'";
        world.start(name, options, [SERVICES, "sh", "-ec", command]);
    };
    let sql = |name: &str, sql: &str| {
        let script = format!(
            "until pg_isready -q -h /tmp; do sleep 0.2; done; psql -qAt -h /tmp -U postgres -c \"{sql}\""
        );
        world.exec(name, &script).text()
    };
    start("db");
    sql("db", "create table t (n int primary key, text text)");
    sql("db", "insert into t select n, repeat('x', 500) from generate_series(1, 2000) n");
    world.say("stop db").exits(0);
    world.say("start db").exits(0);
    assert_eq!(sql("db", "select count(*), sum(n) from t"), "2000|2001000");
    sql("db", "update t set n = -n; insert into t values (5, 'committed')");
    // As a power cut is to it, but for the host's page cache.
    world.say("kill db").exits(0);
    assert_eq!(world.say("wait db").text(), "137");
    world.say("rm db").exits(0);
    start("again");
    assert_eq!(sql("again", "select count(*), sum(n) from t"), "2001|-2000995");
    assert_eq!(sql("again", "select count(*) from t where text = repeat('x', 500)"), "2000");
    world.say("rm -f again").exits(0);
}

#[test]
fn postgresql_keeps_its_word_on_a_bind_mount() {
    let world = World::new();
    let folder = world.dir("db");
    database(&world, &format!("-v {folder}:/db"));
}

#[test]
fn postgresql_keeps_its_word_on_a_block_volume() {
    let world = World::new();
    database(&world, "--mount type=volume,src=db,dst=/db,volume-opt=kind=block,volume-opt=size=512M");
}

#[test]
fn git_works_on_a_bind_mount() {
    let world = World::new();
    let folder = world.dir("work");
    let script = "cd /work; export HOME=/work GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b; \
                  git config --global init.defaultBranch main; git init -q repo; cd repo; i=0; \
                  while [ $i -lt 8 ]; do mkdir -p d$i; for f in 1 2 3 4 5; do echo $i $f > d$i/f$f; done; git add .; git commit -qm $i; i=$((i + 1)); done; \
                  git mv d1 moved; git rm -rq d2; git commit -qm moved; git checkout -qb side HEAD~4; echo x > side; git add .; git commit -qm side; \
                  git merge -q -m merged main; git gc -q; git fsck --strict; cd ..; git clone -q repo copy; cd copy; git status --porcelain; \
                  git log --oneline | wc -l; git rev-parse HEAD^{tree}; cat moved/f3 side";
    let options = format!("-v {folder}:/work");
    let text = world.script(&options, TOOLS, script).output_within(paths::patience() * 2).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[2..].to_vec()), ("11", vec!["1 3", "x"]), "{text}");
    // The host's git finds it sound, too, where there is one.
    let fsck = Command::new("git")
        .args(["-c", "safe.directory=*", "-C", &world.path("work/copy"), "fsck", "--strict"])
        .output();
    if let Ok(fsck) = fsck {
        assert!(fsck.status.success(), "{fsck:?}");
    }
}

#[test]
fn a_program_is_built_on_a_bind_mount() {
    let world = World::new();
    let folder = world.dir("src");
    let units = if paths::emulated() { 3 } else { 20 };
    let mut makefile = String::from("OBJECTS =");
    let mut main = String::new();
    for n in 0..units {
        world.file(&format!("src/part{n}.c"), &format!("int part{n}(void) {{ return {n}; }}\n"));
        makefile += &format!(" part{n}.o");
        main += &format!("int part{n}(void); ");
    }
    let sum: String = (0..units).map(|n| format!("+ part{n}()")).collect();
    world.file(
        "src/main.c",
        &format!("#include <stdio.h>\n{main}\nint main(void) {{ printf(\"%d\\n\", 0 {sum}); }}\n"),
    );
    world.file("src/Makefile", &format!("{makefile} main.o\nall: $(OBJECTS)\n\tgcc -o all $(OBJECTS)\n"));
    let options = format!("-v {folder}:/src -w /src");
    let output =
        world.script(&options, TOOLS, "make -s -j2; ./all; make -q").output_within(paths::patience() * 2);
    assert_eq!(output.text(), (0..units).sum::<i32>().to_string());
}

#[test]
fn npm_installs_on_a_bind_mount() {
    let world = World::new();
    let folder = world.dir("app");
    for (name, needs) in [("left", r#""right": "file:../right""#), ("right", "")] {
        world.dir(&format!("app/{name}"));
        let package = format!(
            r#"{{"name": "{name}", "version": "1.0.0", "bin": "index.js", "dependencies": {{{needs}}}}}"#
        );
        world.file(&format!("app/{name}/package.json"), &package);
    }
    world.file("app/left/index.js", "#!/usr/bin/env node\nconsole.log('left and ' + require('right'));\n");
    world.file("app/right/index.js", "module.exports = 'right';\n");
    world.dir("app/main");
    world.file("app/main/package.json", r#"{"name": "main", "version": "1.0.0"}"#);
    let script = "cd /app/left; npm pack --silent >/dev/null; cd ../right; npm pack --silent >/dev/null; cd ../main; export HOME=/app; \
                  npm install --silent --offline --no-audit --no-fund --install-links ../right/right-1.0.0.tgz ../left; \
                  node_modules/.bin/left; test -f package-lock.json; stat -c %F node_modules/.bin/left";
    let output =
        world.script(&format!("-v {folder}:/app"), TOOLS, script).output_within(paths::patience() * 3);
    assert_eq!(output.text(), "left and right\nsymbolic link");
}

/// With the compiler of whoever builds hull, which is bound in as it is.
#[test]
fn cargo_builds_on_a_bind_mount() {
    let rust = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let rust = String::from_utf8(rust.stdout).unwrap();
    let world = World::new();
    let folder = world.dir("crate");
    world.dir("crate/src");
    world.dir("crate/part/src");
    world.file(
        "crate/Cargo.toml",
        "[package]\nname = \"main\"\nedition = \"2021\"\n[dependencies]\npart = { path = \"part\" }\n",
    );
    world.file("crate/part/Cargo.toml", "[package]\nname = \"part\"\nedition = \"2021\"\n");
    world.file("crate/part/src/lib.rs", "pub fn part() -> u32 { 42 }\n");
    world.file("crate/src/main.rs", "fn main() { println!(\"{}\", part::part()); }\n");
    let options = format!(
        "-v {}:/rust:ro -v {folder}:/crate -w /crate -e CARGO_HOME=/crate/.home -e CARGO_INCREMENTAL=1",
        rust.trim()
    );
    let script = "PATH=/rust/bin:$PATH; cargo build -q --offline; target/debug/main; \
                  sed -i s/42/43/ part/src/lib.rs; cargo build -q --offline; target/debug/main";
    let output = world.script(&options, TOOLS, script).output_within(paths::patience() * 3);
    assert_eq!(output.text(), "42\n43");
}

/// fio writes with checksums, and reads them back after everything was closed; then another container does.
#[test]
fn fio_reads_back_what_it_wrote() {
    let world = World::new();
    let folder = world.dir("bound");
    let block = "--mount type=volume,src=disk,dst=/d,volume-opt=kind=block,volume-opt=size=256M";
    let options = format!("-v {folder}:/b -v named:/v {block}");
    let size = if paths::emulated() { "2m" } else { "16m" };
    let fio = |more: &str| {
        let job = format!(
            "fio --minimal --name=x --size={size} --verify=crc32c --verify_fatal=1 --randseed=7 --fallocate=none"
        );
        let each = |kind: &str| format!("{job} --filename=x-{kind} {more}");
        format!(
            "for at in /b /v /d; do cd $at; {} --ioengine=psync --rw=randwrite --bs=4k >/dev/null; \
             {} --ioengine=mmap --rw=randwrite --bs=4k >/dev/null; \
             {} --ioengine=libaio --direct=1 --iodepth=8 --rw=randwrite --bs=16k >/dev/null; done; echo fine",
            each("psync"),
            each("mmap"),
            each("direct")
        )
    };
    for more in ["--do_verify=1", "--verify_only=1"] {
        let output = world.script(&options, TOOLS, &fio(more)).output_within(paths::patience() * 3);
        assert_eq!(output.text(), "fine", "{more}");
    }
}
