use super::*;

#[derive(Default, Clone)]
struct Sent(Arc<Mutex<Vec<(u32, u32)>>>);

impl SendMsi for Sent {
    fn send(&self, address: u32, data: u32) {
        self.0.lock().unwrap().push((address, data));
    }
}

impl Sent {
    fn take(&self) -> Vec<(u32, u32)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn ioapic() -> (Arc<Ioapic>, IoapicRegisters, Sent) {
    let sent = Sent::default();
    let ioapic = Ioapic::new(MAX_PINS, Box::new(sent.clone()));
    let registers = ioapic.registers();
    (ioapic, registers, sent)
}

fn set(registers: &mut IoapicRegisters, register: u8, value: u32) {
    registers.write(SELECT, &u32::from(register).to_le_bytes());
    registers.write(WINDOW, &value.to_le_bytes());
}

fn get(registers: &mut IoapicRegisters, register: u8) -> u32 {
    registers.write(SELECT, &[register]);
    let mut data = [0u8; 4];
    registers.read(WINDOW, &mut data);
    u32::from_le_bytes(data)
}

#[test]
fn edge_becomes_the_message_of_the_redirection_entry() {
    let (ioapic, mut registers, sent) = ioapic();
    set(&mut registers, 0x10 + 2 * 5 + 1, 3 << 24);
    set(&mut registers, 0x10 + 2 * 5, 0x31);
    ioapic.line(5).unwrap().trigger();
    assert_eq!(sent.take(), [(0xfee0_3000, 0x31)]);
}

#[test]
fn logical_lowest_priority_sets_mode_and_hint() {
    let (ioapic, mut registers, sent) = ioapic();
    set(&mut registers, 0x11, 0xff << 24);
    set(&mut registers, 0x10, 1 << 11 | 1 << 8 | 0x22);
    ioapic.line(0).unwrap().trigger();
    assert_eq!(sent.take(), [(0xfeef_f00c, 0x122)]);
}

#[test]
fn edges_on_a_masked_pin_are_delivered_once_when_it_is_unmasked() {
    let (ioapic, mut registers, sent) = ioapic();
    let line = ioapic.line(7).unwrap();
    line.trigger();
    line.trigger();
    assert!(sent.take().is_empty(), "pins start masked");
    set(&mut registers, 0x10 + 14, 0x40);
    assert_eq!(sent.take(), [(0xfee0_0000, 0x40)]);
    set(&mut registers, 0x10 + 14, 1 << 16 | 0x40);
    set(&mut registers, 0x10 + 14, 0x40);
    assert!(sent.take().is_empty());
}

#[test]
fn status_bits_are_read_only() {
    let (_ioapic, mut registers, _sent) = ioapic();
    set(&mut registers, 0x10, u32::MAX);
    assert_eq!(get(&mut registers, 0x10), !(1 << 12 | 1 << 14));
    assert_eq!(get(&mut registers, 1), 0x001f_0011);
}

#[test]
fn registers_that_do_not_exist_and_odd_accesses_change_nothing() {
    let (_ioapic, mut registers, sent) = ioapic();
    for register in [3, 0xf, 0x50, 0xff] {
        set(&mut registers, register, 0);
        assert_eq!(get(&mut registers, register), 0);
    }
    for (offset, len) in [(WINDOW, 1), (WINDOW, 8), (4, 4), (u64::MAX, 4)] {
        let mut data = vec![0xff; len];
        registers.read(offset, &mut data);
        assert_eq!(data, vec![0xff; len]);
        registers.write(offset, &vec![0; len]);
    }
    assert!(sent.take().is_empty());
}

#[test]
fn there_is_no_line_behind_the_last_pin() {
    assert!(ioapic().0.line(MAX_PINS).is_none());
    assert!(ioapic().0.line(MAX_PINS - 1).is_some());
    let small = Ioapic::new(6, Box::new(Sent::default()));
    assert!(small.line(5).is_some() && small.line(6).is_none());
    assert_eq!(get(&mut small.registers(), 1) >> 16, 5);
    set(&mut small.registers(), 0x10 + 2 * 6, 0x31);
    assert_eq!(get(&mut small.registers(), 0x10 + 2 * 6), 0);
}
