use super::*;

const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;
const BLOCK: u32 = 1;
const CHAR: u32 = 2;

/// The kernel's interpreter, as far as this program uses it.
fn allows(access: u32, kind: u32, major: u32, minor: u32) -> bool {
    let context = [access << 16 | kind, major, minor];
    let mut registers = [0u64; 11];
    let mut at = 0i64;
    loop {
        let step = PROGRAM[usize::try_from(at).unwrap()];
        at += 1;
        let value = u64::try_from(step.immediate).unwrap();
        let register = &mut registers[usize::from(step.registers & 0xf)];
        let skip = match step.opcode {
            0x61 => {
                *register = context[usize::try_from(step.offset / 4).unwrap()].into();
                false
            }
            SHIFT_RIGHT => {
                *register >>= value;
                false
            }
            AND => {
                *register &= value;
                false
            }
            MOVE => {
                *register = value;
                false
            }
            EQUAL => *register == value,
            NOT_EQUAL => *register != value,
            0x95 => return registers[0] == 1,
            other => panic!("opcode {other:#x}"),
        };
        at += if skip { i64::from(step.offset) } else { 0 };
    }
}

#[test]
fn dockers_default_devices_can_be_opened() {
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, 0), (136, 77)] {
        assert!(allows(READ | WRITE, CHAR, major, minor), "{major}:{minor}");
    }
}

#[test]
fn no_other_device_can_be_opened() {
    for (major, minor) in
        [(1, 1), (1, 2), (1, 4), (1, 11), (5, 1), (5, 3), (10, 200), (10, 229), (4, 64), (137, 0)]
    {
        assert!(!allows(READ, CHAR, major, minor), "{major}:{minor}");
    }
    for (major, minor) in [(1, 3), (5, 0), (136, 0), (254, 0), (7, 0)] {
        assert!(!allows(READ, BLOCK, major, minor), "block {major}:{minor}");
    }
}

#[test]
fn any_node_can_be_made_but_not_made_and_opened() {
    assert!(allows(MKNOD, BLOCK, 254, 0));
    assert!(allows(MKNOD, CHAR, 10, 200));
    assert!(!allows(MKNOD | WRITE, BLOCK, 254, 0));
}
