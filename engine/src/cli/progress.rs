//! How a pull is shown: docker's words, a line a layer with bytes and rate on a terminal.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::image::Reference;
use crate::image::pull::Pulled;
use crate::image::pull::progress::{LayerInfo, Progress, Silent};
use crate::terminal;
use crate::text::escape;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Shows a pull there, or not at all.
pub fn on(stream: Stream, quiet: bool) -> Box<dyn Progress> {
    match quiet {
        true => Box::new(Silent),
        false => Box::new(Shown { stream, layers: Mutex::new(Layers::Plain(Vec::new())) }),
    }
}

/// The layers of the image that is being pulled.
enum Layers {
    /// Their ids.
    Plain(Vec<String>),
    Bars(Vec<ProgressBar>),
}

struct Shown {
    stream: Stream,
    layers: Mutex<Layers>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shown").field(&self.stream).finish()
    }
}

impl Shown {
    /// Whoever reads it and has had enough does not stop the pull.
    fn line(&self, line: &str) {
        let _ = match self.stream {
            Stream::Stdout => writeln!(io::stdout(), "{line}"),
            Stream::Stderr => writeln!(io::stderr(), "{line}"),
        };
    }

    fn is_terminal(&self) -> bool {
        match self.stream {
            Stream::Stdout => terminal::is_terminal(&io::stdout()),
            Stream::Stderr => terminal::is_terminal(&io::stderr()),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Layers) -> T) -> T {
        act(&mut self.layers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn bars(&self, layers: &[LayerInfo]) -> Layers {
        let target = match self.stream {
            Stream::Stdout => ProgressDrawTarget::stdout(),
            Stream::Stderr => ProgressDrawTarget::stderr(),
        };
        let all = MultiProgress::with_draw_target(target);
        let bars = layers.iter().map(|layer| {
            let bar = all.add(ProgressBar::new(layer.bytes).with_prefix(layer.id.clone()));
            match layer.present {
                true => end(&bar, "Already exists"),
                false => {
                    bar.set_style(style("{prefix}: {msg}"));
                    bar.set_message("Waiting");
                }
            }
            bar
        });
        Layers::Bars(bars.collect())
    }
}

/// The templates are all of this file: one that is wrong is seen at once.
pub fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

pub fn end(bar: &ProgressBar, message: impl Into<std::borrow::Cow<'static, str>>) {
    bar.set_style(style("{prefix}: {msg}"));
    bar.finish_with_message(message);
}

impl Progress for Shown {
    fn missing(&self, name: &Reference) {
        self.line(&format!("Unable to find image '{}' locally", escape(&name.familiar())));
    }

    fn begin(&self, name: &Reference) {
        let what = match (name.digest, &name.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_default(),
        };
        self.line(&format!("{}: Pulling from {}", escape(&what), escape(&name.repository)));
    }

    fn layers(&self, layers: &[LayerInfo]) {
        if self.is_terminal() {
            let bars = self.bars(layers);
            self.with(|shown| *shown = bars);
            return;
        }
        for layer in layers {
            self.line(&format!(
                "{}: {}",
                layer.id,
                if layer.present { "Already exists" } else { "Pulling fs layer" }
            ));
        }
        let ids = layers.iter().map(|layer| layer.id.clone()).collect();
        self.with(|shown| *shown = Layers::Plain(ids));
    }

    fn received(&self, layer: usize, bytes: u64) {
        self.with(|shown| {
            let Layers::Bars(bars) = shown else { return };
            let Some(bar) = bars.get(layer) else { return };
            if bar.position() == 0 {
                bar.reset();
                bar.set_style(style("{prefix}: Downloading [{bar:40}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}"));
            }
            bar.inc(bytes);
            if bar.length().is_some_and(|length| bar.position() >= length) {
                bar.set_style(style("{prefix}: {msg}"));
                bar.set_message("Extracting");
            }
        });
    }

    fn finished(&self, layer: usize) {
        let id = self.with(|shown| match shown {
            Layers::Plain(ids) => ids.get(layer).cloned(),
            Layers::Bars(bars) => {
                bars.get(layer).iter().for_each(|bar| end(bar, "Pull complete"));
                None
            }
        });
        if let Some(id) = id {
            self.line(&format!("{id}: Pull complete"));
        }
    }

    fn end(&self, name: &Reference, pulled: &Pulled) {
        // A terminal's lines stay as they are.
        self.with(|shown| *shown = Layers::Plain(Vec::new()));
        let what = if pulled.newer { "Downloaded newer image for" } else { "Image is up to date for" };
        self.line(&format!("Digest: {}", pulled.digest));
        self.line(&format!("Status: {what} {}", escape(&name.familiar())));
    }
}
