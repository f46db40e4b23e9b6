//! Routing of the guest's port and MMIO accesses to devices.

use std::sync::{Arc, Mutex, PoisonError};

/// A device that answers at a range of addresses.
///
/// Called on the vCPU's thread that made the access. `offset` counts from the start of the range and
/// the access starts within it; it may reach over its end, and `data` has the guest's length, so an
/// implementation checks both. What it does not know reads as left by the caller (all ones).
pub trait BusDevice: Send {
    fn read(&mut self, offset: u64, data: &mut [u8]);
    fn write(&mut self, offset: u64, data: &[u8]);
}

struct Range {
    start: u64,
    len: u64,
    device: Arc<Mutex<dyn BusDevice>>,
}

/// The range asked for is empty, wraps around, or meets one that is taken.
#[derive(Debug, thiserror::Error)]
#[error("Failed to place a device at {start:#x}, {len:#x} bytes: the range overlaps another or is no range")]
pub struct Overlap {
    start: u64,
    len: u64,
}

/// One address space: ports, or memory-mapped registers. Filled while the machine is built, then
/// only read, from every vCPU at once.
#[derive(Default)]
pub struct Bus {
    /// Ascending, without overlaps.
    ranges: Vec<Range>,
}

impl Bus {
    /// Gives `[start, start + len)` to `device`.
    pub fn insert(&mut self, start: u64, len: u64, device: Arc<Mutex<dyn BusDevice>>) -> Result<(), Overlap> {
        let refused = Overlap { start, len };
        let Some(end) = start.checked_add(len).filter(|_| len > 0) else { return Err(refused) };
        let at = self.ranges.partition_point(|range| range.start < start);
        let before_is_clear =
            self.ranges[..at].last().is_none_or(|before| before.start + before.len <= start);
        let after_is_clear = self.ranges[at..].first().is_none_or(|after| end <= after.start);
        if !(before_is_clear && after_is_clear) {
            return Err(refused);
        }
        self.ranges.insert(at, Range { start, len, device });
        Ok(())
    }

    /// Reads; an address that nobody owns reads as ones, as on a bus that nobody drives.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        data.fill(0xff);
        if let Some((offset, device)) = self.find(address) {
            device.lock().unwrap_or_else(PoisonError::into_inner).read(offset, data);
        }
    }

    /// Writes; to an address that nobody owns, nothing happens.
    pub fn write(&self, address: u64, data: &[u8]) {
        if let Some((offset, device)) = self.find(address) {
            device.lock().unwrap_or_else(PoisonError::into_inner).write(offset, data);
        }
    }

    fn find(&self, address: u64) -> Option<(u64, &Mutex<dyn BusDevice>)> {
        let after = self.ranges.partition_point(|range| range.start <= address);
        let range = self.ranges.get(after.checked_sub(1)?)?;
        let offset = address - range.start;
        (offset < range.len).then_some((offset, range.device.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Recorder(Vec<(u64, usize)>);

    impl BusDevice for Recorder {
        fn read(&mut self, offset: u64, data: &mut [u8]) {
            self.0.push((offset, data.len()));
            data.fill(7);
        }
        fn write(&mut self, offset: u64, data: &[u8]) {
            self.0.push((offset, data.len()));
        }
    }

    fn bus_with(ranges: &[(u64, u64)]) -> (Bus, Vec<Arc<Mutex<Recorder>>>) {
        let mut bus = Bus::default();
        let devices = ranges.iter().map(|_| Arc::new(Mutex::new(Recorder::default()))).collect::<Vec<_>>();
        for ((start, len), device) in ranges.iter().zip(&devices) {
            bus.insert(*start, *len, device.clone()).unwrap();
        }
        (bus, devices)
    }

    #[test]
    fn access_reaches_the_device_that_owns_the_address() {
        let (bus, devices) = bus_with(&[(0x2000, 0x10), (0x1000, 0x10), (0x1010, 0x10)]);
        bus.write(0x1010, &[1]);
        bus.write(0x200f, &[1, 2]);
        assert_eq!(devices[0].lock().unwrap().0, [(0xf, 2)]);
        assert!(devices[1].lock().unwrap().0.is_empty());
        assert_eq!(devices[2].lock().unwrap().0, [(0, 1)]);
    }

    #[test]
    fn unowned_addresses_read_as_ones() {
        let (bus, _devices) = bus_with(&[(0x1000, 0x10)]);
        for address in [0, 0xfff, 0x1010, u64::MAX] {
            let mut data = [0u8; 4];
            bus.read(address, &mut data);
            assert_eq!(data, [0xff; 4], "at {address:#x}");
        }
    }

    #[test]
    fn overlapping_and_empty_ranges_are_refused() {
        let (mut bus, _devices) = bus_with(&[(0x1000, 0x10)]);
        for (start, len) in [(0x1000, 1), (0xfff, 2), (0x100f, 8), (0xff0, 0x100), (0x5000, 0), (u64::MAX, 2)]
        {
            assert!(bus.insert(start, len, Arc::new(Mutex::new(Recorder::default()))).is_err());
        }
        bus.insert(0x1010, 1, Arc::new(Mutex::new(Recorder::default()))).unwrap();
        bus.insert(0xfff, 1, Arc::new(Mutex::new(Recorder::default()))).unwrap();
    }
}
