//! `hull push`.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};

use super::progress::{end, style};
use super::{Exit, output};
use crate::context::Context;
use crate::image::Digest;
use crate::image::push::{self, LayerInfo, Progress, Silent, State};
use crate::image::reference::is_name_only;
use crate::store::Store;
use crate::terminal;
use crate::text::escape;

#[derive(Debug, Args)]
pub struct PushArgs {
    /// Push all tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Print the image's full name only
    #[arg(short, long)]
    quiet: bool,
    /// Image to push
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
}

pub fn push(context: &Context, args: &PushArgs) -> Exit {
    let name = context.config.short_names.parse(&args.name)?;
    let given = !is_name_only(&args.name);
    if args.all_tags && given {
        return Err(anyhow::anyhow!("tag can't be used with --all-tags/-a").into());
    }
    if !given && !args.all_tags && !args.quiet {
        output::print(&format!("Using default tag: {}\n", name.tag.as_deref().unwrap_or_default()))?;
    }
    let store = Store::open(&context.root, &context.run)?;
    let progress: Box<dyn Progress> = if args.quiet { Box::new(Silent) } else { Box::new(Shown::default()) };
    if args.all_tags {
        push::push_all(&store, &context.registries, &name, &*progress)?;
    } else {
        push::push(&store, &context.registries, &name, &*progress)?;
    }
    if args.quiet {
        let whole =
            if args.all_tags { format!("{}/{}", name.registry, name.repository) } else { name.to_string() };
        output::print(&format!("{}\n", escape(&whole)))?;
    }
    Ok(0)
}

/// Docker's words: a line a change, or on a terminal a line a layer.
#[derive(Default)]
struct Shown(Mutex<Layers>);

#[derive(Default)]
struct Layers {
    ids: Vec<String>,
    /// Empty where stdout is no terminal.
    bars: Vec<ProgressBar>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl Shown {
    fn with<T>(&self, act: impl FnOnce(&mut Layers) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whoever reads it and has had enough does not stop the push.
fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

impl Progress for Shown {
    fn begin(&self, repository: &str) {
        line(&format!("The push refers to repository [{}]", escape(repository)));
    }

    fn layers(&self, layers: &[LayerInfo]) {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let on_terminal = terminal::is_terminal(&io::stdout());
        self.with(|shown| {
            *shown = Layers::default();
            for layer in layers {
                shown.ids.push(output::short(&layer.diff_id.to_string()).to_owned());
            }
            // As docker, the uppermost first.
            for (layer, id) in layers.iter().zip(&shown.ids).rev() {
                if on_terminal {
                    let bar = all.add(ProgressBar::new(layer.bytes).with_prefix(id.clone()));
                    bar.set_style(style("{prefix}: {msg}"));
                    bar.set_message("Preparing");
                    shown.bars.insert(0, bar);
                } else {
                    line(&format!("{id}: Preparing"));
                }
            }
        });
    }

    fn sent(&self, layer: usize, bytes: u64) {
        self.with(|shown| {
            let Some(bar) = shown.bars.get(layer) else { return };
            if bar.position() == 0 {
                bar.reset();
                bar.set_style(style("{prefix}: Pushing [{bar:40}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}"));
            }
            bar.set_position(bytes);
        });
    }

    fn is(&self, layer: usize, state: &State) {
        let words = match state {
            State::Exists => "Layer already exists".to_owned(),
            State::Mounted(from) => format!("Mounted from {}", escape(from)),
            State::Pushed => "Pushed".to_owned(),
        };
        self.with(|shown| match (shown.bars.get(layer), shown.ids.get(layer)) {
            (Some(bar), _) => end(bar, words),
            (None, Some(id)) => line(&format!("{id}: {words}")),
            (None, None) => {}
        });
    }

    fn end(&self, tag: &str, digest: &Digest, bytes: u64) {
        // A terminal's lines stay as they are.
        self.with(|shown| *shown = Layers::default());
        line(&format!("{}: digest: {digest} size: {bytes}", escape(tag)));
    }
}
