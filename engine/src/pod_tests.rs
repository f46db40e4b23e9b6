use super::*;
use crate::image::digest::Digest;

fn view(up: bool, states: &[ContainerState]) -> View {
    let containers = states.iter().map(|state| {
        let row = ContainerRow::new("id", "name", Digest::of(b""), Isolation::Vm, String::new());
        ContainerRow { state: *state, ..row }
    });
    let row = PodRow {
        id: "pod".into(),
        name: "p".into(),
        mode: Isolation::Vm,
        created: 0,
        config: r#"{"hostname":"p"}"#.into(),
    };
    let alive = if up { vec!["pod".to_string()] } else { Vec::new() };
    view_of(row, &alive, containers.collect())
}

#[test]
fn states_of_pods_are_podmans() {
    use ContainerState::{Created, Exited, Paused, Running};
    for (up, states, word) in [
        (true, &[][..], "Running"),
        (true, &[Running, Running], "Running"),
        (true, &[Running, Exited], "Degraded"),
        (true, &[Created], "Degraded"),
        (true, &[Paused], "Paused"),
        (false, &[], "Exited"),
        (false, &[Exited, Exited], "Exited"),
        (false, &[Exited, Created], "Stopped"),
        (false, &[Created], "Created"),
    ] {
        assert_eq!(view(up, states).status(), word, "{up} {states:?}");
    }
}
