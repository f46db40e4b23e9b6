//! The one thing a PC's keyboard controller is still good for: resetting the machine.
//!
//! Linux with `reboot=k` writes the reset command to port 0x64. Whether it does so in good order or
//! because it panicked is in the BIOS warm-boot flag, which `reboot=panic_warm` makes it set on panic
//! only (Linux Documentation/admin-guide/kernel-parameters.txt, `reboot=`).

use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress};

use super::bus::BusDevice;
use crate::lifecycle::{Ending, ExitCause};
use crate::memory::{GuestMemory, layout};

/// Status and command register.
pub const PORT: u64 = 0x64;
/// Pulse the CPU's reset line.
const RESET: u8 = 0xfe;
const WARM_BOOT: u16 = 0x1234;

pub struct I8042 {
    memory: Arc<GuestMemory>,
    ending: Arc<Ending>,
}

impl I8042 {
    pub fn new(memory: Arc<GuestMemory>, ending: Arc<Ending>) -> Self {
        Self { memory, ending }
    }
}

impl BusDevice for I8042 {
    /// The status register: input buffer empty, nothing to be read.
    fn read(&mut self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&mut self, _offset: u64, data: &[u8]) {
        if data != [RESET] {
            return;
        }
        let flag = self.memory.read_obj::<u16>(GuestAddress(layout::WARM_BOOT_FLAG));
        self.ending.set(match flag {
            Ok(WARM_BOOT) => ExitCause::Panic,
            _ => ExitCause::Reset,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;

    fn end_with(flag: u16, command: &[u8]) -> Option<ExitCause> {
        let memory = Arc::new(memory::allocate(1 << 20).unwrap());
        memory.write_obj(flag, GuestAddress(layout::WARM_BOOT_FLAG)).unwrap();
        let ending = Arc::new(Ending::new().unwrap());
        I8042::new(memory, ending.clone()).write(0, command);
        ending.cause().cloned()
    }

    #[test]
    fn reset_is_orderly_unless_the_warm_boot_flag_is_set() {
        assert_eq!(end_with(0, &[0xfe]), Some(ExitCause::Reset));
        assert_eq!(end_with(WARM_BOOT, &[0xfe]), Some(ExitCause::Panic));
    }

    #[test]
    fn other_commands_are_ignored() {
        for command in [&[0xff][..], &[], &[0xfe, 0xfe]] {
            assert_eq!(end_with(0, command), None);
        }
    }
}
