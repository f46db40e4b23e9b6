//! The same words to hull and to a dockerd: what both of them say.

use hull_tests::{Dockerd, World, paths};

/// Answers of both, made alike.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub code: i32,
    pub text: String,
}

pub struct Both {
    pub world: World,
    pub docker: Dockerd,
}

impl Both {
    pub fn new() -> Both {
        let docker = Dockerd::start();
        docker.told(&["load", "-q", "-i", paths::image("busybox.tar").to_str().unwrap()]);
        Both { world: World::new(), docker }
    }

    /// Words by spaces, of which `~` is one.
    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(|word| word.replace('~', " ")).collect()
    }

    pub fn docker(&self, line: &str) -> (Said, String) {
        let words = Both::words(line);
        let (code, stdout, stderr) = self.docker.asked(&words);
        (Said { code, text: alike(&stdout) }, docker_words(&stderr))
    }

    pub fn hull(&self, line: &str) -> (Said, String) {
        let mut words = Both::words(line);
        if ["run", "create"].contains(&words[0].as_str()) {
            words.insert(1, "--isolation=namespace".to_owned());
        }
        let output = self.world.hull(words);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (Said { code: output.code, text: alike(&text) }, output.stderr.trim_end().to_owned())
    }

    /// What differs, if anything: exit code, stdout, and docker's message within hull's; of a line that begins with a
    /// question mark the words of the message are hull's own.
    pub fn differ(&self, line: &str) -> Option<String> {
        let (line, own_words) = (line.trim_start_matches('?'), line.starts_with('?'));
        let (docker, theirs) = self.docker(line);
        let (hull, ours) = self.hull(line);
        let told = own_words || alike(&ours).to_lowercase().contains(&alike(&theirs).to_lowercase());
        let one = hull.code == 0 || !ours.is_empty();
        if docker == hull && told && one {
            return None;
        }
        Some(format!("$ {line}\n--- docker\n{docker:?}\n{theirs}\n--- hull\n{hull:?}\n{ours}\n"))
    }

    #[track_caller]
    pub fn agree(&self, lines: &[&str]) {
        let differences: Vec<String> = lines.iter().filter_map(|line| self.differ(line)).collect();
        let (count, of) = (differences.len(), lines.len());
        assert!(differences.is_empty(), "{count} of {of} differ:\n\n{}", differences.join("\n"));
    }
}

/// Docker's message, without who says it.
fn docker_words(stderr: &str) -> String {
    let mut words = stderr.split("\n\n").next().unwrap_or_default().trim();
    for start in ["docker: ", "Error response from daemon: "] {
        words = words.strip_prefix(start).unwrap_or(words);
    }
    words.trim_end().to_owned()
}

/// Ids and times are everybody's own, and so is where volumes lie.
pub fn alike(text: &str) -> String {
    let mut out = String::new();
    for piece in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let (word, rest) = piece.split_at(piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).len());
        let hex = word.len() >= 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        out += if hex { "ID" } else { word };
        out += rest;
    }
    let lines = out.lines().map(|line| match (line.find("\"CreatedAt\""), line.find("/volumes/")) {
        (Some(_), _) => "CREATED".to_owned(),
        (_, Some(at)) if !line.trim_start().starts_with('{') => {
            let before = line[..at].rfind([' ', '"']).map_or("", |start| &line[..=start]);
            format!("{before}{}", &line[at..])
        }
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn commands_on_volumes_say_what_docker_says() {
    let both = Both::new();
    both.agree(&[
        "volume create",
        "volume create n1",
        "volume create n1",
        "volume create --label one=1 n2",
        "volume create --label a=b --label c -o type=tmpfs -o device=tmpfs -o o=size=1m n3",
        "volume create --label a=x n3",
        "volume create -d nosuch n4",
        "volume create -o bogus=1 n4",
        "volume create -o type=tmpfs n4",
        "volume create -o device=/tmp n5",
        "volume create -o o=bind -o device=/nonexist n6",
        "volume create a~b",
        "volume create a",
        "volume create /a",
        "volume create a/b",
        "volume create -- -x",
        "volume create --name n7",
        "volume create --name n7 n8",
        "volume create --name n7 n7",
        "volume ls",
        "volume ls -q",
        "volume ls --filter name=n",
        "volume ls --filter name=n1 --filter name=n2 -q",
        "volume ls -f label=a",
        "volume ls -f label=a=b -q",
        "volume ls -f label=a=c -q",
        "volume ls -f driver=local -q",
        "volume ls -f driver=other -q",
        "volume ls -f dangling=true -q",
        "volume ls -f dangling=x",
        "volume ls -f bogus=x",
        "volume ls -f name=n --format {{.Name}}~{{.Driver}}~{{.Scope}}~{{.Links}}~{{.Size}}",
        // One label: docker shows several in any order.
        "volume ls -f name=n2 --format {{.Name}}~{{.Labels}}",
        "volume ls --format table~{{.Name}}~{{.Scope}}",
        "volume inspect n3",
        "volume inspect n1",
        "volume inspect nosuch",
        "volume inspect n1 nosuch",
        "volume inspect -f {{.Name}}~{{.Options.o}}~{{json~.Labels}} n3",
        "volume rm nosuch",
        "volume rm -f nosuch",
        "volume rm n2 nosuch n1",
        "volume prune -f --filter label=none",
        "volume prune -f --filter bogus=1",
        "volume rm n3",
    ]);
}

#[test]
fn options_that_make_no_sense_are_refused_as_docker_does() {
    let both = Both::new();
    let folder = both.world.dir("d");
    let file = both.world.file("f", "");
    let lines = [
        "-v /x:/y:/z",
        "-v D:/",
        "-v D:rel",
        "-v :/x",
        "-v D:/x:bogus",
        "-v D:/x:ro,rw",
        "-v D:/x:ro,ro",
        "-v D:/x:z,Z",
        "-v D:/x:rshared,rslave",
        "-v D::ro",
        "-v F:/x:nocopy",
        "-v vol:/x:rslave",
        "-v v:/x:ro:y",
        "-v a/b:/x",
        "--volume=-x:/x",
        "--mount x",
        "--mount type=bind",
        "--mount type=bind,src=D",
        "--mount type=bind,src=D/none,dst=/x",
        "--mount type=bind,src=D,dst=x",
        "--mount type=bogus,dst=/x",
        "--mount type=volume",
        "--mount type=volume,dst=/x,src=a/b",
        "--mount type=volume,dst=/x,bogus=1",
        "--mount type=tmpfs,dst=/x,src=a",
        "--mount type=tmpfs,dst=/x,tmpfs-size=z",
        "--mount type=tmpfs,dst=/x,tmpfs-mode=9",
        "--mount type=bind,src=D,dst=/x,volume-nocopy=true",
        "--mount type=volume,dst=/x,bind-propagation=rslave",
        "--mount type=bind,src=D,dst=/x,bind-propagation=bogus",
        "--mount type=bind,src=D,dst=/x,readonly=maybe",
        "--mount src=D,dst=/x",
        "--mount type=bind,src=D,dst=/",
        "--mount type=volume,dst=/",
        "--mount type=bind,src=D,dst=/x,tmpfs-size=1",
        "--mount type=tmpfs,dst=/x,volume-opt=a=b",
        "-v D:/x --mount type=bind,src=D,dst=/x",
        "-v D:/x --tmpfs /x",
        "--volumes-from nosuch",
        "--tmpfs rel",
        "?--shm-size x",
    ];
    let lines: Vec<String> = lines
        .iter()
        .map(|line| {
            let (mark, line) = line.strip_prefix('?').map_or(("", *line), |line| ("?", line));
            format!(
                "{mark}run --rm --pull never --network none {} busybox true",
                line.replace("D:", &format!("{folder}:"))
                    .replace("=D", &format!("={folder}"))
                    .replace("F:", &format!("{file}:"))
            )
        })
        .collect();
    both.agree(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(both.world.say("ps -aq").text(), "");
    assert_eq!(both.world.volumes(), [""; 0]);
}
