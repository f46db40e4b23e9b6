//! The pipes between a container's process and the agent.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// What the container's process reads and writes. With a terminal there is none.
#[derive(Default)]
pub struct ContainerEnds {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

/// What the agent keeps until a stream is attached, non-blocking.
#[derive(Default)]
pub struct AgentEnds {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

impl ContainerEnds {
    pub fn pipes(&self) -> impl Iterator<Item = &OwnedFd> {
        [&self.stdin, &self.stdout, &self.stderr].into_iter().flatten()
    }

    pub fn raw(&self) -> impl Iterator<Item = RawFd> {
        self.pipes().map(AsRawFd::as_raw_fd)
    }
}

/// Pipes for the output and, if somebody will feed it, for the input.
pub fn pipes(with_stdin: bool) -> Result<(ContainerEnds, AgentEnds), Errno> {
    let mut container = ContainerEnds::default();
    let mut agent = AgentEnds::default();
    if with_stdin {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        set_nonblocking(&write)?;
        (container.stdin, agent.stdin) = (Some(read), Some(write));
    }
    (agent.stdout, container.stdout) = output()?;
    (agent.stderr, container.stderr) = output()?;
    Ok((container, agent))
}

fn output() -> Result<(Option<OwnedFd>, Option<OwnedFd>), Errno> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    set_nonblocking(&read)?;
    Ok((Some(read), Some(write)))
}

/// The flag belongs to this end alone: the container's end has an open file of its own.
pub fn set_nonblocking(fd: &OwnedFd) -> Result<(), Errno> {
    rustix::io::ioctl_fionbio(fd, true)
}
