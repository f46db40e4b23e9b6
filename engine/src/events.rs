//! Which events are wanted, and reading them: those that there are, then those to come.

use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;

use crate::format::filter::Filters;
use crate::image::Reference;
use crate::store::{self, EventKind, EventRow, Since, Store};

/// The keys that `--filter` takes.
pub const FILTERS: [&str; 8] = ["container", "event", "image", "label", "network", "pod", "type", "volume"];
/// Events read at once.
const BATCH: u32 = 256;
/// Events whose action goes on behind this word, with a colon.
const WITH_DETAIL: [&str; 3] = ["health_status", "exec_create", "exec_start"];

/// Times are nanoseconds since 1970, both ends included.
#[derive(Debug, Default)]
pub struct Wanted {
    pub since: Option<i64>,
    pub until: Option<i64>,
    pub filters: Filters,
}

/// Gives the events wanted to `each`, a batch at a time, until that breaks or `end` is readable: at the
/// time that `until` says, and earlier if the reader has had enough. As docker: without a time only those
/// to come.
pub fn read<B>(
    store: &Store,
    wanted: &Wanted,
    end: BorrowedFd<'_>,
    mut each: impl FnMut(Vec<EventRow>) -> ControlFlow<B>,
) -> Result<Option<B>, store::Error> {
    let past = wanted.since.is_some() || wanted.until.is_some();
    let mut last = if past { 0 } else { store.db().last_event()? };
    let mut watch = store.db().watch_events(last)?;
    let mut give = |rows: Vec<EventRow>, last: &mut i64| {
        *last = rows.last().map_or(*last, |row| row.id);
        let rows: Vec<_> = rows.into_iter().filter(|row| wanted.includes(row)).collect();
        if rows.is_empty() { ControlFlow::Continue(()) } else { each(rows) }
    };
    while let Some(rows) = watch.next(end)? {
        if let ControlFlow::Break(why) = give(rows, &mut last) {
            return Ok(Some(why));
        }
    }
    // Written before the end, and not looked at since.
    if wanted.until.is_some() {
        loop {
            let rows = store.db().events(Since::Id(last), wanted.until, BATCH)?;
            if rows.is_empty() {
                break;
            }
            if let ControlFlow::Break(why) = give(rows, &mut last) {
                return Ok(Some(why));
            }
        }
    }
    Ok(None)
}

impl Wanted {
    pub fn includes(&self, event: &EventRow) -> bool {
        let filters = &self.filters;
        self.since.is_none_or(|since| event.time >= since)
            && self.until.is_none_or(|until| event.time <= until)
            && filters.exact("type", event.kind.as_str())
            && self.action(&event.action)
            && self.named("container", EventKind::Container, event)
            && self.named("pod", EventKind::Pod, event)
            && self.named("network", EventKind::Network, event)
            && self.named("volume", EventKind::Volume, event)
            && filters.labels("label", &event.attributes)
            && self.image(event)
    }

    /// The whole action, or of some its first word.
    fn action(&self, action: &str) -> bool {
        let word = action.split(':').next().unwrap_or(action);
        let known = WITH_DETAIL.contains(&word);
        self.filters.exact("event", action) || (known && self.filters.exact("event", word))
    }

    /// The start of its id or name.
    fn named(&self, key: &str, kind: EventKind, event: &EventRow) -> bool {
        let name = event.attributes.get("name").map_or("", String::as_str);
        !self.filters.contains(key)
            || (event.kind == kind
                && (self.filters.prefix(key, &event.actor) || self.filters.prefix(key, name)))
    }

    /// By the name it goes by in the event, with or without its tag, or by its id.
    fn image(&self, event: &EventRow) -> bool {
        let (id, name) = match event.kind {
            EventKind::Container => ("", event.attributes.get("image")),
            EventKind::Image => (event.actor.as_str(), event.attributes.get("name")),
            EventKind::Pod | EventKind::Network | EventKind::Volume => ("", None),
        };
        let name = name.map_or("", String::as_str);
        let bare = name.parse::<Reference>().map(|name| name.familiar_repository()).unwrap_or_default();
        self.filters.exact_any("image", [id, name, bare.as_str()].into_iter().filter(|word| !word.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, action: &str, attributes: &[(&str, &str)]) -> EventRow {
        let attributes = attributes.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        EventRow { id: 1, time: 10, kind, action: action.into(), actor: "0123".into(), attributes }
    }

    fn includes(words: &[&str], event: &EventRow) -> bool {
        Wanted { filters: Filters::parse(words, &FILTERS).unwrap(), ..Wanted::default() }.includes(event)
    }

    #[test]
    fn times_are_included_at_both_ends() {
        let event = event(EventKind::Pod, "create", &[]);
        for (since, until, included) in
            [(None, None, true), (Some(10), Some(10), true), (Some(11), None, false), (None, Some(9), false)]
        {
            assert_eq!(Wanted { since, until, ..Wanted::default() }.includes(&event), included);
        }
    }

    #[test]
    fn filters_follow_dockers_rules() {
        let told = [("image", "busybox:1.36"), ("name", "web"), ("app", "x")];
        let checked = event(EventKind::Container, "health_status: healthy", &told);
        for (words, included) in [
            (&["type=container"][..], true),
            (&["type=image"], false),
            (&["event=health_status"], true),
            (&["event=health_status: healthy"], true),
            (&["event=health_status: unhealthy"], false),
            (&["event=die", "event=health_status"], true),
            (&["container=web"], true),
            (&["container=01"], true),
            (&["container=eb"], false),
            (&["pod=web"], false),
            (&["label=app"], true),
            (&["label=app=y"], false),
            (&["image=busybox"], true),
            (&["image=busybox:1.36"], true),
            (&["image=busybox:1.35"], false),
            (&["image=busybox", "container=db"], false),
        ] {
            assert_eq!(includes(words, &checked), included, "{words:?}");
        }
        let loaded = event(EventKind::Image, "load", &[("name", "debian")]);
        assert!(includes(&["image=debian"], &loaded) && includes(&["image=0123"], &loaded));
        assert!(!includes(&["container=0123"], &loaded));
    }
}
