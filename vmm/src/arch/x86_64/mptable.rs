//! The MultiProcessor table: which CPUs there are, and which interrupt arrives at which pin
//! (Intel MultiProcessor Specification 1.4, chapter 4). A kernel without ACPI reads it.

use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use crate::memory::{GuestMemory, layout};

const SPEC_1_4: u8 = 4;
/// Local APIC and IOAPIC version: integrated, no EOI register.
const APIC_VERSION: u8 = 0x14;
const IOAPIC_VERSION: u8 = 0x11;
const ISA_BUS: u8 = 0;

/// Entry types (MP 1.4, table 4-3).
const PROCESSOR: u8 = 0;
const BUS: u8 = 1;
const IOAPIC: u8 = 2;
const IO_INTERRUPT: u8 = 3;
const LOCAL_INTERRUPT: u8 = 4;

const CPU_ENABLED: u8 = 1;
const CPU_BOOT: u8 = 2;
/// Interrupt types (MP 1.4, table 4-11).
const VECTORED: u8 = 0;
const NMI: u8 = 1;
const ALL_LOCAL_APICS: u8 = 0xff;

const FLOATING_POINTER: usize = 16;
const HEADER: usize = 44;

/// Writes the floating pointer and the table behind it. ISA interrupt n of `irqs` arrives at pin n;
/// the pins of others are not mentioned, which spares the kernel setting them up.
pub fn write(memory: &GuestMemory, vcpus: u8, irqs: &[u8]) -> Result<(), GuestMemoryError> {
    let (entries, count) = entries(vcpus, irqs);
    let table = [header(&entries, count), entries].concat();
    let table_address = layout::MP_TABLE + FLOATING_POINTER as u64;
    memory.write_slice(&floating_pointer(table_address), GuestAddress(layout::MP_TABLE))?;
    memory.write_slice(&table, GuestAddress(table_address))
}

fn floating_pointer(table: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FLOATING_POINTER);
    bytes.extend(b"_MP_");
    bytes.extend(&table.to_le_bytes()[..4]);
    // Length in units of 16 bytes, version, checksum, and five bytes of features: a table is there.
    bytes.extend([1, SPEC_1_4, 0, 0, 0, 0, 0, 0]);
    with_checksum(bytes, 10)
}

fn header(entries: &[u8], count: u16) -> Vec<u8> {
    let length = u16::try_from(HEADER + entries.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(HEADER + entries.len());
    bytes.extend(b"PCMP");
    bytes.extend(length.to_le_bytes());
    bytes.extend([SPEC_1_4, 0]);
    bytes.extend(b"HULL    MICROVM     ");
    bytes.extend([0; 6]);
    bytes.extend(count.to_le_bytes());
    bytes.extend(layout::LOCAL_APIC.to_le_bytes());
    bytes.extend([0; 4]);
    // The checksum goes over header and entries.
    bytes[7] = checksum(&[&bytes, entries].concat());
    bytes
}

fn entries(vcpus: u8, irqs: &[u8]) -> (Vec<u8>, u16) {
    let ioapic_id = vcpus;
    let mut bytes = Vec::new();
    let mut count = 0_u16;
    let mut add = |entry: &[u8]| {
        bytes.extend(entry);
        count += 1;
    };
    for id in 0..vcpus {
        let flags = if id == 0 { CPU_ENABLED | CPU_BOOT } else { CPU_ENABLED };
        let mut entry = [0u8; 20];
        entry[..4].copy_from_slice(&[PROCESSOR, id, APIC_VERSION, flags]);
        add(&entry);
    }
    add(&[BUS, ISA_BUS, b'I', b'S', b'A', b' ', b' ', b' ']);
    let [a, b, c, d, ..] = layout::IOAPIC.to_le_bytes();
    add(&[IOAPIC, ioapic_id, IOAPIC_VERSION, 1, a, b, c, d]);
    for irq in irqs {
        add(&[IO_INTERRUPT, VECTORED, 0, 0, ISA_BUS, *irq, ioapic_id, *irq]);
    }
    add(&[LOCAL_INTERRUPT, NMI, 0, 0, ISA_BUS, 0, ALL_LOCAL_APICS, 1]);
    (bytes, count)
}

fn with_checksum(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    bytes[at] = checksum(&bytes);
    bytes
}

/// What makes all bytes add up to zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;

    fn written(vcpus: u8, irqs: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let memory = memory::allocate(1 << 20).unwrap();
        write(&memory, vcpus, irqs).unwrap();
        let mut pointer = vec![0u8; FLOATING_POINTER];
        memory.read_slice(&mut pointer, GuestAddress(layout::MP_TABLE)).unwrap();
        let address = u32::from_le_bytes(pointer[4..8].try_into().unwrap());
        let length: u16 = memory.read_obj(GuestAddress(u64::from(address) + 4)).unwrap();
        let mut table = vec![0u8; length.into()];
        memory.read_slice(&mut table, GuestAddress(address.into())).unwrap();
        (pointer, table)
    }

    #[test]
    fn both_checksums_add_up_to_zero() {
        let (pointer, table) = written(3, &[4, 5]);
        assert_eq!(checksum(&pointer), 0);
        assert_eq!(checksum(&table), 0);
        assert_eq!((&pointer[..4], &table[..4]), (&b"_MP_"[..], &b"PCMP"[..]));
    }

    #[test]
    fn table_of_the_largest_machine_fits_the_bios_area() {
        let irqs = (4..24).collect::<Vec<_>>();
        let (_, table) = written(64, &irqs);
        assert!(FLOATING_POINTER + table.len() <= layout::MP_TABLE_MAX);
        assert_eq!(u16::from_le_bytes([table[34], table[35]]), 64 + 2 + 20 + 1);
    }
}
