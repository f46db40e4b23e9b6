//! The end of the machine.

use rustix::mount::{UnmountFlags, unmount};
use rustix::system::{RebootCommand, reboot};

/// Writes everything out and resets the machine, which the VMM takes for its end.
pub fn off() -> ! {
    rustix::fs::sync();
    // Containers' disks went with their mount namespaces; what is left is in memory.
    let _ = unmount("/dev/shm", UnmountFlags::DETACH);
    loop {
        if reboot(RebootCommand::Restart).is_err() {
            // Without the right to reboot PID 1's end is the kernel's: a panic, which ends the machine.
            std::process::abort();
        }
    }
}
