//! From an output to the container's log.

use std::sync::Arc;

use super::fan::Log;
use crate::logs::{Partial, Stream, Writer};

/// One stream's way into the log, which a container's streams share.
pub struct Output {
    log: Arc<Writer>,
    stream: Stream,
    partial: Partial,
}

impl Output {
    pub fn new(log: Arc<Writer>, stream: Stream) -> Output {
        Output { log, stream, partial: Partial::default() }
    }

    fn report(&self) {
        if let Some(error) = self.log.take_error() {
            eprintln!("{}", super::caller::chain(&error));
        }
    }
}

impl Log for Output {
    fn write(&mut self, bytes: &[u8]) {
        self.log.write(self.stream, bytes, &mut self.partial);
        self.report();
    }

    fn end(&mut self) {
        self.log.finish(self.stream, &mut self.partial);
        self.report();
    }
}
