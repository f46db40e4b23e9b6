use super::*;

/// What was sent, as address and data; and which routes and wires there are.
#[derive(Default, Clone)]
struct Sent(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    sent: Vec<(u32, u32)>,
    wiring: Vec<Wired>,
    refuses: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Wired {
    Route(u32, u32),
    Attach,
    Detach,
}

impl Messages for Sent {
    fn send(&self, Message { address, data }: Message) {
        self.0.lock().unwrap().sent.push((address, data));
    }

    fn route(&self, _: u32, message: Message) -> Result<(), KvmError> {
        let mut log = self.0.lock().unwrap();
        if log.refuses {
            let source = vmm_sys_util::errno::Error::new(12);
            return Err(KvmError::Call { action: "route", source });
        }
        log.wiring.push(Wired::Route(message.address, message.data));
        Ok(())
    }

    fn attach(&self, _: u32, _: &EventFd) -> Result<(), KvmError> {
        self.0.lock().unwrap().wiring.push(Wired::Attach);
        Ok(())
    }

    fn detach(&self, _: u32, _: &EventFd) -> Result<(), KvmError> {
        self.0.lock().unwrap().wiring.push(Wired::Detach);
        Ok(())
    }
}

impl Sent {
    fn take(&self) -> Vec<(u32, u32)> {
        std::mem::take(&mut self.0.lock().unwrap().sent)
    }

    fn take_wiring(&self) -> Vec<Wired> {
        std::mem::take(&mut self.0.lock().unwrap().wiring)
    }
}

fn ioapic() -> (Arc<Ioapic>, IoapicRegisters, Sent) {
    let sent = Sent::default();
    let ioapic = Ioapic::new(MAX_PINS, Box::new(sent.clone()), Failure::new().unwrap());
    let registers = ioapic.registers();
    (ioapic, registers, sent)
}

fn event() -> Arc<EventFd> {
    Arc::new(EventFd::new(0).unwrap())
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
    let small = Ioapic::new(6, Box::new(Sent::default()), Failure::new().unwrap());
    assert!(small.line(5).is_some() && small.line(6).is_none());
    assert_eq!(get(&mut small.registers(), 1) >> 16, 5);
    set(&mut small.registers(), 0x10 + 2 * 6, 0x31);
    assert_eq!(get(&mut small.registers(), 0x10 + 2 * 6), 0);
}

#[test]
fn a_wire_follows_the_redirection_entry() {
    let (ioapic, mut registers, sent) = ioapic();
    let line = ioapic.line(5).unwrap();
    let wiring = line.wiring().unwrap();
    let (low, high) = (0x10 + 2 * 5, 0x11 + 2 * 5);
    assert!(wiring.wire(event()));
    assert!(sent.take_wiring().is_empty(), "the pin is masked still");
    set(&mut registers, low, 0x31);
    assert_eq!(sent.take_wiring(), [Wired::Route(0xfee0_0000, 0x31), Wired::Attach]);
    set(&mut registers, high, 3 << 24);
    assert_eq!(sent.take_wiring(), [Wired::Route(0xfee0_3000, 0x31)]);
    set(&mut registers, high, 3 << 24);
    set(&mut registers, 0x10, 0x32);
    assert!(sent.take_wiring().is_empty(), "the same, or another pin");
    set(&mut registers, low, 1 << 16 | 0x31);
    assert_eq!(sent.take_wiring(), [Wired::Detach]);
    set(&mut registers, low, 0x31);
    assert_eq!(sent.take_wiring(), [Wired::Route(0xfee0_3000, 0x31), Wired::Attach]);
    line.trigger();
    assert_eq!(sent.take(), [(0xfee0_3000, 0x31)], "our own edges still work");
    wiring.unwire();
    assert_eq!(sent.take_wiring(), [Wired::Detach]);
    set(&mut registers, low, 0x33);
    assert!(sent.take_wiring().is_empty());
}

#[test]
fn a_wire_that_the_host_refuses_is_no_wire() {
    let (ioapic, mut registers, sent) = ioapic();
    set(&mut registers, 0x10, 0x31);
    sent.0.lock().unwrap().refuses = true;
    let line = ioapic.line(0).unwrap();
    assert!(!line.wiring().unwrap().wire(event()));
    set(&mut registers, 0x10, 0x32);
    assert_eq!(ioapic.failure.cause(), None);
}

#[test]
fn a_route_that_cannot_be_changed_is_told() {
    let (ioapic, mut registers, sent) = ioapic();
    set(&mut registers, 0x10, 0x31);
    assert!(ioapic.line(0).unwrap().wiring().unwrap().wire(event()));
    sent.0.lock().unwrap().refuses = true;
    set(&mut registers, 0x10, 0x32);
    let message = ioapic.failure.cause().unwrap().to_string();
    assert!(message.contains("Interrupt 0 cannot be routed: KVM refused to route"), "{message}");
}
