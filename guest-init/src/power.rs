//! The end of the machine.

use rustix::system::{RebootCommand, reboot};

/// Writes everything out and resets the machine, which the VMM takes for its end.
pub fn off() -> ! {
    rustix::fs::sync();
    // Nothing to unmount: containers' disks went with their mount namespaces, the rest is in memory.
    loop {
        if reboot(RebootCommand::Restart).is_err() {
            // Without the right to reboot PID 1's end is the kernel's: a panic, which ends the machine.
            std::process::abort();
        }
    }
}
