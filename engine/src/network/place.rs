//! The network namespace that bridges, ports and rules are in.
//!
//! With root it is the one that hull runs in. Without, it is the user's own: hull's processes stay in the
//! host's, and only enter it, thread by thread, to change something there. Netlink sockets belong to the
//! namespace they were opened in, so what works through them enters once.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::sched::{CloneFlags, setns};

#[derive(Debug, Clone)]
pub enum Place {
    /// The caller's.
    Current,
    Namespace(Arc<OwnedFd>),
}

impl Place {
    /// The one behind a descriptor of `/proc/<pid>/ns/net` or its like. Entering it takes CAP_SYS_ADMIN in
    /// the user namespace that owns it, and in one's own.
    pub fn namespace(descriptor: OwnedFd) -> Place {
        Place::Namespace(Arc::new(descriptor))
    }

    /// A descriptor of it, for what outlives the thread that is in it.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        match self {
            Place::Current => Ok(File::open("/proc/thread-self/ns/net")?.into()),
            Place::Namespace(descriptor) => descriptor.try_clone(),
        }
    }

    /// Brings the calling thread there, and leaves it there.
    pub fn enter_for_good(&self) -> io::Result<()> {
        match self {
            Place::Current => Ok(()),
            Place::Namespace(descriptor) => Ok(setns(descriptor, CloneFlags::CLONE_NEWNET)?),
        }
    }

    /// Does `work` in the namespace: in a thread of its own, where that is not the caller's. Descriptors
    /// that `work` returns stay in the namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let Place::Namespace(descriptor) = self else { return Ok(work()) };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("network".into()).spawn_scoped(scope, || {
                setns(descriptor, CloneFlags::CLONE_NEWNET)?;
                Ok(work())
            })?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_in_the_other_namespace_and_the_caller_stays() {
        let inode = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let own = inode();
        let other = std::thread::spawn(|| {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap();
            OwnedFd::from(File::open("/proc/thread-self/ns/net").unwrap())
        });
        let place = Place::namespace(other.join().unwrap());
        assert_ne!(place.enter(inode).unwrap(), own);
        assert_eq!(inode(), own);
        assert_eq!(Place::Current.enter(inode).unwrap(), own);
    }
}
