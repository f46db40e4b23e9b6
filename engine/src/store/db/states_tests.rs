use proptest::prelude::*;

use super::*;
use crate::store::With;
use crate::store::db::fixture::{Fixture, container, sandbox};
use ContainerState::{Created, Dead, Exited, Paused, Removing, Restarting, Running};

fn exited(exit_code: i32) -> Change {
    Change::Exited { exit_code, oom_killed: false, error: String::new() }
}

fn restarting(exit_code: i32) -> Change {
    Change::Restarting { exit_code, oom_killed: true, error: String::new() }
}

fn start_failed() -> Change {
    Change::StartFailed { exit_code: 127, error: "no such program".to_owned() }
}

/// One of each kind.
fn changes() -> Vec<Change> {
    vec![
        Change::Started { pid: 7 },
        start_failed(),
        exited(3),
        restarting(137),
        Change::Paused,
        Change::Unpaused,
        Change::StoppedByUser,
        Change::Removing,
        Change::Dead { error: "busy".to_owned() },
        Change::Renamed { name: "other".to_owned() },
        Change::Health { json: "{}".to_owned(), event: None },
        Change::Config { json: "{}".to_owned() },
    ]
}

#[test]
fn the_table_allows_these_moves_and_no_other() {
    let moves: Vec<Vec<ContainerState>> = changes()
        .iter()
        .map(|change| ContainerState::ALL.into_iter().filter(|is| change.target(*is).is_some()).collect())
        .collect();
    let alive = [Created, Running, Paused, Restarting, Exited];
    assert_eq!(moves[0], [Created, Restarting, Exited]);
    assert_eq!(moves[1], [Created, Running, Restarting, Removing, Exited]);
    assert_eq!(moves[2], [Running, Paused, Restarting, Removing]);
    assert_eq!(moves[3], [Running, Paused, Removing]);
    assert_eq!((&moves[4][..], &moves[5][..]), (&[Running][..], &[Paused][..]));
    assert_eq!(moves[6], ContainerState::ALL);
    assert_eq!(moves[7], [Created, Running, Paused, Restarting, Exited, Dead]);
    assert_eq!(moves[8], [Removing]);
    assert_eq!((&moves[9][..], &moves[11][..]), (&alive[..], &alive[..]));
    assert_eq!(moves[10], [Running, Paused]);
}

#[test]
fn a_refusal_names_the_container_its_state_and_the_change() {
    let fixture = Fixture::new();
    fixture.add("a1", "one");
    let error = fixture.db().change("a1", &Change::Paused).unwrap_err();
    assert_eq!(error.to_string(), "Container a1 is created, so it cannot be paused");
    assert_eq!(error.kind(), crate::store::Kind::Conflict);
    let error = fixture.db().change("one", &Change::Paused).unwrap_err();
    assert_eq!(error.to_string(), "No such container: one", "changes take whole ids");
}

#[test]
fn a_life_is_recorded_with_its_times_codes_and_events() {
    let fixture = Fixture::new();
    let db = fixture.db();
    let began = now_ns();
    fixture.add("a", "one");
    let row = db.change("a", &start_failed()).unwrap();
    assert_eq!((row.state, row.exit_code, row.error.as_str()), (Created, 127, "no such program"));
    assert_eq!((row.started, row.finished), (0, 0));
    let row = db.change("a", &Change::Started { pid: 7 }).unwrap();
    assert_eq!((row.state, row.pid, row.exit_code, row.error.as_str()), (Running, 7, 0, ""));
    assert!(row.started >= began && row.finished == 0);
    let health =
        Change::Health { json: r#"{"Status":"healthy"}"#.to_owned(), event: Some("healthy".to_owned()) };
    db.change("a", &health).unwrap();
    db.change("a", &Change::Paused).unwrap();
    db.change("a", &Change::Unpaused).unwrap();
    let row = db.change("a", &restarting(137)).unwrap();
    assert_eq!(
        (row.state, row.pid, row.restarts, row.exit_code, row.oom_killed),
        (Restarting, 0, 1, 137, true)
    );
    assert!(row.finished >= row.started);
    assert_eq!(db.change("a", &Change::StoppedByUser).unwrap().state, Restarting);
    let row = db.change("a", &Change::Started { pid: 8 }).unwrap();
    assert_eq!((row.restarts, row.stopped, row.oom_killed, row.health.as_str()), (1, true, false, ""));
    let row = db.change("a", &exited(3)).unwrap();
    assert_eq!((row.state, row.exit_code, row.pid), (Exited, 3, 0));
    let ended = db.change("a", &start_failed()).unwrap();
    assert_eq!((ended.state, ended.exit_code, ended.finished), (Exited, 127, row.finished));
    let row = db.change("a", &Change::Started { pid: 9 }).unwrap();
    assert_eq!((row.restarts, row.stopped), (0, false), "a user started it");
    assert_eq!(db.container("a").unwrap(), row);

    let told: Vec<_> = ["create", "start", "health_status: healthy", "pause", "unpause", "oom"]
        .into_iter()
        .map(|action| format!("a {action} a=1 image=debian name=one"))
        .chain([
            "a die a=1 exitCode=137 image=debian name=one".to_owned(),
            "a start a=1 image=debian name=one".to_owned(),
            "a die a=1 exitCode=3 image=debian name=one".to_owned(),
            "a start a=1 image=debian name=one".to_owned(),
        ])
        .collect();
    assert_eq!(fixture.events(), told);
}

#[test]
fn start_that_was_recorded_and_then_failed_is_taken_back() {
    let fixture = Fixture::new();
    fixture.add("a", "one");
    let created = fixture.db().container("a").unwrap();
    fixture.db().change("a", &Change::Started { pid: 7 }).unwrap();
    let row = fixture.db().change("a", &start_failed()).unwrap();
    assert_eq!((row.state, row.exit_code, row.pid, row.started), (Created, 127, 0, created.started));
    assert_eq!(fixture.events().last().unwrap(), "a die a=1 exitCode=127 image=debian name=one");
    fixture.db().change("a", &Change::Started { pid: 8 }).unwrap();
    fixture.db().change("a", &exited(3)).unwrap();
    fixture.db().change("a", &Change::Started { pid: 9 }).unwrap();
    let row = fixture.db().change("a", &start_failed()).unwrap();
    assert_eq!((row.state, row.exit_code), (Exited, 127));
}

#[test]
fn an_end_between_two_runs_is_told_once() {
    let fixture = Fixture::new();
    fixture.add("a", "one");
    fixture.db().change("a", &Change::Started { pid: 7 }).unwrap();
    let before = fixture.db().change("a", &restarting(1)).unwrap();
    let row = fixture.db().change("a", &exited(1)).unwrap();
    assert_eq!((row.state, row.finished, row.restarts), (Exited, before.finished, 1));
    assert_eq!(fixture.events().iter().filter(|event| event.contains(" die ")).count(), 1);
}

#[test]
fn what_is_removed_records_its_end_and_stays_in_removal() {
    let fixture = Fixture::new();
    for (id, change) in [("a", exited(5)), ("b", restarting(5)), ("c", start_failed())] {
        fixture.add(id, id);
        fixture.db().change(id, &Change::Started { pid: 7 }).unwrap();
        fixture.db().change(id, &Change::Removing).unwrap();
        let row = fixture.db().change(id, &change).unwrap();
        assert_eq!((row.state, row.pid, row.restarts), (Removing, 0, 0));
        assert!(row.exit_code == 5 || row.exit_code == 127);
        assert!(fixture.db().change(id, &Change::Started { pid: 8 }).is_err());
    }
    fixture.db().conclude("a", None, true, None).unwrap();
    fixture.db().conclude("a", None, true, None).unwrap();
    let told = fixture.events();
    assert_eq!(told.last().unwrap(), "a destroy a=1 image=debian name=a");
    assert_eq!(told.iter().filter(|event| event.contains("destroy")).count(), 1);
}

#[test]
fn a_new_name_is_told_with_the_old_one_and_must_be_free() {
    let fixture = Fixture::new();
    fixture.add("a", "one");
    fixture.add("b", "two");
    let rename = |name: &str| fixture.db().change("a", &Change::Renamed { name: name.to_owned() });
    assert!(matches!(rename("two"), Err(Error::NameTaken(name)) if name == "two"));
    assert_eq!(fixture.db().container("a").unwrap().name, "one");
    assert_eq!(rename("three").unwrap().name, "three");
    assert_eq!(fixture.events().last().unwrap(), "a rename a=1 image=debian name=three oldName=/one");
    let config = r#"{"image":"other"}"#.to_owned();
    fixture.db().change("a", &Change::Config { json: config.clone() }).unwrap();
    assert_eq!(fixture.db().container("three").unwrap().config, config);
    assert_eq!(fixture.events().last().unwrap(), "a update image=other name=three");
}

#[test]
fn a_failed_change_leaves_nothing_of_itself() {
    let fixture = Fixture::new();
    let row = fixture.add("a", "one");
    let sql = |text: &str| fixture.db().connection().execute_batch(text).unwrap();
    sql("PRAGMA query_only = 1");
    let error = fixture.db().change("a", &Change::Started { pid: 7 }).unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
    sql("PRAGMA query_only = 0; PRAGMA max_page_count = 1");
    let config = "x".repeat(1 << 20);
    let error = fixture.db().change("a", &Change::Config { json: config }).unwrap_err();
    assert!(error.to_string().contains("disk is full"), "{error}");
    assert_eq!(error.kind(), crate::store::Kind::Io);
    assert_eq!(fixture.db().container("a").unwrap(), row);
    assert_eq!(fixture.events().len(), 1);
    sql("PRAGMA max_page_count = 1000000");
    fixture.db().change("a", &Change::Started { pid: 7 }).unwrap();
}

/// Number of the container, number of the change.
fn orders() -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((0..2_usize, 0..changes().len()), 1..40)
}

const IDS: [&str; 2] = ["a", "b"];

/// What the docs draw, told once more: the word of the state after a change, or none.
fn drawn(change: &Change, is: ContainerState) -> Option<&'static str> {
    let is = is.as_str();
    Some(match (change, is) {
        (Change::StoppedByUser, _) => is,
        (Change::Removing, "removing") => return None,
        (Change::Removing, _) => "removing",
        (Change::Dead { .. }, "removing") => "dead",
        (Change::Exited { .. } | Change::Restarting { .. } | Change::StartFailed { .. }, "removing") => {
            "removing"
        }
        (_, "removing" | "dead") => return None,
        (Change::Renamed { .. } | Change::Config { .. }, _) => is,
        (Change::Started { .. }, "created" | "exited" | "restarting") => "running",
        (Change::StartFailed { .. }, "created") => "created",
        (Change::StartFailed { .. }, "running" | "exited" | "restarting") => "exited",
        (Change::Exited { .. }, "running" | "paused" | "restarting") => "exited",
        (Change::Restarting { .. }, "running" | "paused") => "restarting",
        (Change::Paused, "running") => "paused",
        (Change::Unpaused, "paused") => "running",
        (Change::Health { .. }, "running" | "paused") => is,
        _ => return None,
    })
}

/// Whether a change leads from a state to the row's. What never ran has not ended: it is `created` again.
fn leads_to(change: &Change, is: ContainerState, row: &ContainerRow) -> bool {
    let taken_back = matches!(change, Change::StartFailed { .. }) && is == Running && row.state == Created;
    drawn(change, is) == Some(row.state.as_str()) || taken_back && row.finished == 0
}

/// What holds of any row, whatever happened.
fn check_row(row: &ContainerRow) -> Result<(), TestCaseError> {
    let runs = matches!(row.state, Running | Paused);
    prop_assert!(!runs || (row.pid != 0 && row.started != 0), "{row:?}");
    prop_assert!(row.pid == 0 || runs || matches!(row.state, Removing | Dead), "{row:?}");
    prop_assert!(row.state != Restarting || row.restarts > 0, "{row:?}");
    prop_assert!(row.state != Created || row.started == 0, "{row:?}");
    Ok(())
}

/// What holds of a container's events: runs start and die in turn.
fn check_events(id: &str, row: &ContainerRow, events: &[String]) -> Result<(), TestCaseError> {
    let words: Vec<_> = events.iter().filter_map(|line| line.strip_prefix(&format!("{id} "))).collect();
    prop_assert!(words[0].starts_with("create "));
    let turns = words.iter().filter(|w| w.starts_with("start ") || w.starts_with("die ")).collect::<Vec<_>>();
    for pair in turns.chunks(2) {
        prop_assert!(pair[0].starts_with("start "), "{words:?}");
        prop_assert!(pair.get(1).is_none_or(|end| end.starts_with("die ")), "{words:?}");
    }
    prop_assert!(turns.len() % 2 == 1 || !matches!(row.state, Running | Paused), "{words:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_order_of_changes_goes_as_drawn(order in orders()) {
        let fixture = Fixture::new();
        let mut model = IDS.map(|id| fixture.add(id, id));
        let changes = changes();
        for (number, change) in order {
            let (row, change) = (&mut model[number], &changes[change]);
            match (drawn(change, row.state), fixture.db().change(&row.id, change)) {
                (Some(_), Ok(after)) => {
                    prop_assert!(leads_to(change, row.state, &after), "{:?} led to {:?}", change, after);
                    *row = after;
                }
                (None, Err(Error::State { is, .. })) => prop_assert_eq!(is, row.state),
                // One of the two has the other name.
                (Some(_), Err(Error::NameTaken(name))) => prop_assert_eq!(name, "other"),
                (state, outcome) => prop_assert!(false, "{:?}: {:?}, {:?}", change, state, outcome),
            }
            check_row(row)?;
        }
        let events = fixture.events();
        for row in &model {
            prop_assert_eq!(&fixture.db().container(&row.id).unwrap(), row);
            check_events(&row.id, row, &events)?;
        }
    }

    #[test]
    fn changes_from_many_processes_happen_one_after_the_other(orders in prop::collection::vec(orders(), 3)) {
        let fixture = Fixture::new();
        IDS.iter().for_each(|id| drop(fixture.add(id, id)));
        let changes = changes();
        // From each process' point of view: what it did to which state, with what outcome.
        let all: Vec<Vec<_>> = std::thread::scope(|scope| {
            let run = |order: &Vec<(usize, usize)>| {
                let (order, changes, store) = (order.clone(), &changes, fixture.another());
                scope.spawn(move || {
                    let apply = |(number, change): (usize, usize)| {
                        (change, store.db().change(IDS[number], &changes[change]))
                    };
                    order.into_iter().map(apply).collect::<Vec<_>>()
                })
            };
            let threads: Vec<_> = orders.iter().map(run).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (change, outcome) in all.into_iter().flatten() {
            match outcome {
                Ok(row) => {
                    check_row(&row)?;
                    let to = |is: &ContainerState| leads_to(&changes[change], *is, &row);
                    prop_assert!(ContainerState::ALL.iter().any(to), "{:?} led to {:?}", changes[change], row);
                }
                Err(Error::State { is, .. }) => prop_assert_eq!(drawn(&changes[change], is), None),
                Err(Error::NameTaken(_)) => {}
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
        let events = fixture.events();
        for id in IDS {
            let row = fixture.db().container(id).unwrap();
            check_row(&row)?;
            check_events(id, &row, &events)?;
        }
    }
}

#[test]
fn five_hundred_containers_are_found_and_changed() {
    let fixture = Fixture::new();
    let id = |n: usize| format!("{n:064x}");
    for n in 0..500 {
        fixture
            .db()
            .add_sandbox_with_container(
                &sandbox(&id(n)),
                Some((1000, 500)),
                &ContainerRow { sandbox: Some(id(n)), ..container(&id(n), &format!("name-{n}")) },
                With::default(),
            )
            .unwrap();
    }
    let store = fixture.another();
    assert_eq!(store.db().containers().unwrap().len(), 500);
    for n in (0..500).step_by(50) {
        store.db().change(&id(n), &Change::Started { pid: 1 }).unwrap();
    }
    assert_eq!(fixture.db().container("name-450").unwrap().state, Running);
    assert!(matches!(fixture.db().container("00"), Err(Error::Ambiguous { .. })));
    let running = fixture.db().containers().unwrap().into_iter().filter(|row| row.state == Running);
    assert_eq!(running.count(), 10);
}
