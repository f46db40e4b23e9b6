//! `hull stats` and `hull top`.

use hull_tests::{Container, Hull, Terminal, hull};

fn stats(container: &Container, format: &str) -> String {
    hull(["stats", "--no-stream", "--format", format, &container.name]).text()
}

#[test]
fn processes_are_listed_in_the_columns_of_ps() {
    let container = Container::start(["-u", "1234"], ["sleep", "4321"]);
    let text = hull(["top", &container.name]).text();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    assert_eq!((lines.len(), lines[1][0], &lines[1][7..]), (2, "1234", &["sleep", "4321"][..]), "{text}");
    let line = hull(["top", &container.name, "aux"]).fails(1);
    assert!(line.contains("aux"), "{line}");
    hull(["kill", &container.name]).exits(0);
    assert!(hull(["top", &container.name]).fails(1).contains("is not running"));
}

#[test]
fn one_reading_has_dockers_columns_and_the_hosts() {
    let container = Container::sleeping(["-m", "64m"]);
    let table = hull(["stats", "--no-stream", &container.name]).text();
    let heading = "CONTAINER ID   NAME";
    assert!(table.starts_with(heading) && table.lines().count() == 2, "{table}");
    for column in ["CPU %", "MEM USAGE / LIMIT", "MEM %", "HOST MEM", "NET I/O", "BLOCK I/O", "PIDS"] {
        assert!(table.contains(column), "{column}: {table}");
    }
    assert!(table.contains(" / 64MiB ") && table.trim_end().ends_with(" 1"), "{table}");
    assert_ne!(stats(&container, "{{.HostMem}}"), "0B");
}

#[test]
fn cpu_time_is_told_of_who_uses_it() {
    let busy = Container::start(["--cpus", "0.5"], ["sh", "-c", "while :; do :; done"]);
    let idle = Container::sleeping([]);
    let percent = |container: &Container| {
        let text = stats(container, "{{.CPUPerc}}");
        text.strip_suffix('%')
            .and_then(|number| number.parse::<f64>().ok())
            .unwrap_or_else(|| panic!("{text}"))
    };
    let (busy, idle) = (percent(&busy), percent(&idle));
    // Others want CPU time, too.
    assert!(busy > 3.0 && busy < 80.0 && idle < busy, "{busy} {idle}");
}

#[test]
fn what_does_not_run_has_zeros_and_is_shown_if_asked_for() {
    let container = Container::sleeping([]);
    hull(["kill", &container.name]).exits(0);
    assert_eq!(stats(&container, "{{.CPUPerc}} {{.MemUsage}} {{.PIDs}}"), "0.00% 0B / 0B 0");
    assert!(!hull(["stats", "--no-stream"]).text().contains(&container.name));
    assert!(hull(["stats", "--no-stream", "-a"]).text().contains(&container.name));
    let line = hull(["stats", "--no-stream", "no-such-container"]).fails(1);
    assert!(line.contains("No such container: no-such-container"), "{line}");
}

#[test]
fn terminal_is_redrawn_while_containers_come_and_go() {
    let first = Container::sleeping([]);
    let mut terminal = Terminal::start(Hull::new(["stats", "--no-trunc"]), 300, 50);
    terminal.expect(&first.name);
    let second = Container::sleeping([]);
    terminal.expect(&second.name);
    terminal.expect("\x1b[H");
    terminal.send("\x03");
    assert_eq!(terminal.finish(), 130);
}

#[test]
fn named_containers_are_shown_until_the_last_is_gone() {
    let container = Container::sleeping([]);
    let mut running = Hull::new(["stats", &container.name]).spawn();
    running.stdout.expect(&container.name);
    drop(container);
    running.finish().exits(0);
}
