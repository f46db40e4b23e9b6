//! Failures of the steps that set a container up: what was tried on what, and the kernel's reason.

use std::fmt::Display;

use rustix::io::Errno;

use crate::netlink::route::RouteError;
use crate::protocol::{CallError, ErrorKind};

/// One step that failed. `Display` names the step; the kernel's reason is its source.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct StepError {
    kind: ErrorKind,
    step: String,
    #[source]
    cause: Option<Errno>,
}

impl StepError {
    /// A refusal that no system call stands behind.
    pub fn new(kind: ErrorKind, step: impl Into<String>) -> Self {
        StepError { kind, step: step.into(), cause: None }
    }

    pub fn setup(step: impl Into<String>) -> Self {
        Self::new(ErrorKind::Setup, step)
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub fn cause(&self) -> Option<Errno> {
        self.cause
    }

    pub fn because(kind: ErrorKind, step: impl Into<String>, cause: Errno) -> Self {
        StepError { kind, step: step.into(), cause: Some(cause) }
    }
}

impl From<StepError> for CallError {
    fn from(error: StepError) -> Self {
        let message = match error.cause {
            Some(cause) => format!("{}: {}", error.step, words(cause)),
            None => error.step,
        };
        CallError { kind: error.kind, message }
    }
}

impl From<RouteError> for CallError {
    fn from(error: RouteError) -> Self {
        CallError { kind: ErrorKind::Setup, message: format!("{error}: {}", error.source) }
    }
}

/// Names the step that a system call belongs to.
pub trait Step<T> {
    /// `what` reads on after "Failed to".
    fn step(self, what: impl Display) -> Result<T, StepError>;
}

impl<T> Step<T> for Result<T, Errno> {
    fn step(self, what: impl Display) -> Result<T, StepError> {
        self.map_err(|cause| StepError::because(ErrorKind::Setup, format!("Failed to {what}"), cause))
    }
}

/// An error number in words, without its number.
pub fn words(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// A path or name for a message: what is not printable is escaped.
pub fn shown(bytes: &[u8]) -> impl Display + '_ {
    bytes.escape_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_step_reads_as_one_line_with_the_reason_in_words() {
        let failed: Result<(), Errno> = Err(Errno::NOENT);
        let error = CallError::from(failed.step("mount /proc").unwrap_err());
        assert_eq!(error.message, "Failed to mount /proc: No such file or directory");
        assert_eq!(error.kind, ErrorKind::Setup);
    }
}
