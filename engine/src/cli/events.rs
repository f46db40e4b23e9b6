//! `hull events`.

use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::Context as _;
use clap::Args;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use serde_json::{Map, Value, json};

use super::{Exit, Failure, output, swept};
use crate::context::Context;
use crate::events::{self, FILTERS, Wanted};
use crate::format::{Template, TemplateError, to_json};
use crate::store::{EventKind, EventRow};
use crate::text::escape;
use crate::time::{self, SECOND, TimeError, rfc3339_local};

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct EventsArgs {
    /// Begin with what happened at a time (2026-01-31T12:00:00Z) or so long ago (10m) [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time)]
    since: Option<i64>,
    /// End at a time [default: go on until interrupted]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time)]
    until: Option<i64>,
    /// Only those that match: container, event, image, label, network, pod, type
    #[arg(short, long, value_name = "KEY=VALUE")]
    #[arg(action = clap::ArgAction::Append)]
    filter: Vec<String>,
    /// What to show of each, as a Go template: json, '{{.Action}} {{.Actor.ID}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

fn time(word: &str) -> Result<i64, TimeError> {
    time::parse_since(word, time::now_ns())
}

pub fn events(context: &Context, args: &EventsArgs) -> Exit {
    let form = Form::parse(args.format.as_deref())
        .map_err(|error| Failure { code: WRONG_FORMAT, error: error.into() })?;
    let filters = output::filters(&args.filter, &FILTERS)?;
    let wanted = Wanted { since: args.since, until: args.until, filters };
    let end = End::new(args.until).map_err(io::Error::from).context("Failed to wait for signals")?;
    let store = swept(context)?;
    let failed = events::read(&store, &wanted, end.as_fd(), |rows| match print(&form, &rows) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    })?;
    match failed {
        // Whoever read this has had enough.
        Some(error) if is_broken_pipe(&error) => Ok(0),
        Some(error) => Err(error.into()),
        None => Ok(end.exit_code()),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// With what docker ends where it cannot make anything of a format.
const WRONG_FORMAT: u8 = 64;

fn print(form: &Form, rows: &[EventRow]) -> Result<(), anyhow::Error> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&form.line(row)?);
        text.push('\n');
    }
    io::stdout().write_all(text.as_bytes()).context("Failed to write to stdout")
}

/// Readable at a point in time, and once a user wants this to end.
struct End {
    both: Epoll,
    signals: SignalFd,
    _timer: Option<TimerFd>,
}

impl End {
    fn new(until: Option<i64>) -> Result<End, Errno> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let both = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        both.add(&signals, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        let timer = until.map(timer).transpose()?;
        if let Some(timer) = &timer {
            both.add(timer, EpollEvent::new(EpollFlags::EPOLLIN, 1))?;
        }
        Ok(End { both, signals, _timer: timer })
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.both.0.as_fd()
    }

    /// As a shell shows a program that a signal has ended.
    fn exit_code(&self) -> u8 {
        let signal = self.signals.read_signal().ok().flatten();
        signal.and_then(|info| u8::try_from(info.ssi_signo).ok()).map_or(0, |signal| 128 + signal)
    }
}

/// By the clock that people set, wherever it jumps.
fn timer(until: i64) -> Result<TimerFd, Errno> {
    let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
    // Nought would mean never (timerfd_create(2)).
    let until = until.max(1);
    let at = TimeSpec::new(until / SECOND, until % SECOND);
    timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
    Ok(timer)
}

/// How an event is shown.
enum Form {
    Line,
    Json,
    Template(Template),
}

impl Form {
    fn parse(text: Option<&str>) -> Result<Form, TemplateError> {
        match text {
            None | Some("") => Ok(Form::Line),
            // The names in docker's JSON are not those of its fields.
            Some("json" | "{{json .}}") => Ok(Form::Json),
            Some(text) => {
                let template = Template::parse(text)?;
                let (kind, attributes) = (EventKind::Container, Default::default());
                let (action, actor) = (String::new(), String::new());
                template.render(&fields(&EventRow { id: 0, time: 0, kind, action, actor, attributes }))?;
                Ok(Form::Template(template))
            }
        }
    }

    fn line(&self, event: &EventRow) -> Result<String, TemplateError> {
        match self {
            Form::Line => Ok(escape(&line(event)).to_string()),
            Form::Json => Ok(to_json(&message(event))),
            Form::Template(template) => template.render_escaped(&fields(event)),
        }
    }
}

/// `2026-01-31T12:00:00.000000000Z container die 0123... (exitCode=0, image=busybox, name=web)`.
fn line(event: &EventRow) -> String {
    let attributes: Vec<String> =
        event.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let attributes =
        if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    let (time, kind) = (rfc3339_local(event.time), event.kind.as_str());
    format!("{time} {kind} {} {}{attributes}", event.action, event.actor)
}

/// The event's image, where docker tells it apart from the attributes.
fn from(event: &EventRow) -> &str {
    match event.kind {
        EventKind::Container => event.attributes.get("image").map_or("", String::as_str),
        EventKind::Image | EventKind::Pod | EventKind::Network | EventKind::Volume => "",
    }
}

/// Docker's JSON, in its order; what is empty is left out.
fn message(event: &EventRow) -> Value {
    let mut fields = Map::new();
    if matches!(event.kind, EventKind::Container | EventKind::Image) {
        fields.insert("status".to_string(), json!(event.action));
        fields.insert("id".to_string(), json!(event.actor));
    }
    if !from(event).is_empty() {
        fields.insert("from".to_string(), json!(from(event)));
    }
    fields.insert("Type".to_string(), json!(event.kind.as_str()));
    fields.insert("Action".to_string(), json!(event.action));
    fields.insert("Actor".to_string(), json!({"ID": event.actor, "Attributes": event.attributes}));
    fields.insert("scope".to_string(), json!("local"));
    fields.insert("time".to_string(), json!(event.time.div_euclid(SECOND)));
    fields.insert("timeNano".to_string(), json!(event.time));
    Value::Object(fields)
}

/// Docker's fields, for templates.
fn fields(event: &EventRow) -> Value {
    json!({
        "Status": event.action,
        "ID": event.actor,
        "From": from(event),
        "Type": event.kind.as_str(),
        "Action": event.action,
        "Actor": {"ID": event.actor, "Attributes": event.attributes},
        "Scope": "local",
        "Time": event.time.div_euclid(SECOND),
        "TimeNano": event.time,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn die() -> EventRow {
        let attributes = [("exitCode", "3"), ("image", "busybox"), ("name", "w\u{1b}b")];
        let attributes = attributes.map(|(key, value)| (key.to_string(), value.to_string())).into();
        let (action, actor) = ("die".to_string(), "0123".to_string());
        EventRow { id: 1, time: 1_500_000_000, kind: EventKind::Container, action, actor, attributes }
    }

    fn shown(format: Option<&str>) -> String {
        Form::parse(format).and_then(|form| form.line(&die())).unwrap_or_else(|error| error.to_string())
    }

    // Compared with docker 28.2.2 and its daemon 20.10.24.
    #[test]
    fn events_are_shown_as_dockers() {
        let line = shown(None);
        assert_eq!(
            line.split_once(' ').unwrap().1,
            r"container die 0123 (exitCode=3, image=busybox, name=w\u{1b}b)"
        );
        assert_eq!(
            shown(Some("json")),
            r#"{"status":"die","id":"0123","from":"busybox","Type":"container","Action":"die","Actor":{"ID":"0123","Attributes":{"exitCode":"3","image":"busybox","name":"w\u001bb"}},"scope":"local","time":1,"timeNano":1500000000}"#
        );
        assert_eq!(shown(Some("{{json .}}")), shown(Some("json")));
        assert_eq!(
            shown(Some("{{.Type}} {{.Action}} {{.Actor.Attributes.exitCode}} {{.From}} {{.Time}}")),
            "container die 3 busybox 1"
        );
    }

    #[test]
    fn formats_that_fit_no_event_are_refused_at_once() {
        for bad in ["{{.Foo}}", "{{.Foo", "{{.actor}}"] {
            assert!(Form::parse(Some(bad)).is_err(), "{bad}");
        }
    }
}
