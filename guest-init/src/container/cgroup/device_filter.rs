//! Docker's default device rules: any node may be made, only the harmless ones opened. Not docker's 5:1:
//! a container's own console is a pseudo terminal, and that node is the host's.
//!
//! CAP_MKNOD is among docker's default capabilities, so a container can make a node for the host's
//! disk; that it cannot open it is up to these rules.

use std::os::fd::{AsRawFd, OwnedFd};

use super::Group;
use crate::error::{Step, StepError};

/// In the words of Documentation/admin-guide/cgroup-v1/devices.rst.
const V1_RULES: [&str; 10] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// v1: everything denied, then the list allowed.
pub fn write_rules(group: &Group) -> Result<(), StepError> {
    group.write("devices.deny", b"a").step(format_args!("deny all devices in {}", group.path))?;
    for rule in V1_RULES {
        group
            .write("devices.allow", rule.as_bytes())
            .step(format_args!("allow devices {rule:?} in {}", group.path))?;
    }
    Ok(())
}

/// v2: a program that the kernel asks at every mknod and open.
pub fn attach_program(folder: &OwnedFd, path: &str) -> Result<(), StepError> {
    let program = load().step("load the device filter (BPF_PROG_TYPE_CGROUP_DEVICE)")?;
    attach(&program, folder).step(format_args!("attach the device filter to {path}"))
}

/// `struct bpf_insn` of linux/bpf.h.
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    opcode: u8,
    /// Source register above, destination below.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const fn load_field(register: u8, offset: i16) -> Instruction {
    // BPF_LDX | BPF_MEM | BPF_W from the context in r1.
    Instruction { opcode: 0x61, registers: 0x10 | register, offset, immediate: 0 }
}

const fn alu(opcode: u8, register: u8, immediate: i32) -> Instruction {
    Instruction { opcode, registers: register, offset: 0, immediate }
}

/// Skips `over` instructions if the register is (or is not) the value.
const fn jump_if(opcode: u8, register: u8, value: i32, over: i16) -> Instruction {
    Instruction { opcode, registers: register, offset: over, immediate: value }
}

const EQUAL: u8 = 0x15;
const NOT_EQUAL: u8 = 0x55;
const SHIFT_RIGHT: u8 = 0x77;
const AND: u8 = 0x57;
const MOVE: u8 = 0xb7;
const EXIT: Instruction = Instruction { opcode: 0x95, registers: 0, offset: 0, immediate: 0 };

const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const RESULT: u8 = 0;

/// BPF_DEVCG_ACC_MKNOD and BPF_DEVCG_DEV_CHAR of linux/bpf.h.
const MKNOD_ALONE: i32 = 1;
const CHARACTER: i32 = 2;

/// `struct bpf_cgroup_dev_ctx`: access << 16 | kind, major, minor.
const PROGRAM: [Instruction; 23] = [
    load_field(ACCESS, 0),
    load_field(KIND, 0),
    load_field(MAJOR, 4),
    load_field(MINOR, 8),
    alu(SHIFT_RIGHT, ACCESS, 16),
    alu(AND, KIND, 0xffff),
    jump_if(EQUAL, ACCESS, MKNOD_ALONE, 12),
    jump_if(NOT_EQUAL, KIND, CHARACTER, 13),
    // Terminals of /dev/pts.
    jump_if(EQUAL, MAJOR, 136, 10),
    jump_if(EQUAL, MAJOR, 5, 6),
    jump_if(NOT_EQUAL, MAJOR, 1, 10),
    // null, zero, full, random, urandom.
    jump_if(EQUAL, MINOR, 3, 7),
    jump_if(EQUAL, MINOR, 5, 6),
    jump_if(EQUAL, MINOR, 7, 5),
    jump_if(EQUAL, MINOR, 8, 4),
    jump_if(EQUAL, MINOR, 9, 3),
    // tty, ptmx.
    jump_if(NOT_EQUAL, MAJOR, 5, 4),
    jump_if(EQUAL, MINOR, 0, 1),
    jump_if(NOT_EQUAL, MINOR, 2, 2),
    alu(MOVE, RESULT, 1),
    EXIT,
    alu(MOVE, RESULT, 0),
    EXIT,
];

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The beginning of `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
struct LoadAttr {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The beginning of `union bpf_attr` for BPF_PROG_ATTACH.
#[repr(C)]
struct AttachAttr {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

fn load() -> Result<OwnedFd, rustix::io::Errno> {
    let license = c"Apache-2.0";
    let attr = LoadAttr {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(PROGRAM.len()).unwrap_or(0),
        instructions: address(PROGRAM.as_ptr().cast()),
        license: address(license.as_ptr().cast()),
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: `attr` is of the size passed and points at the program and the license, both static.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attr, size_of::<LoadAttr>()) };
    crate::sys::owned(libc::c_int::try_from(fd).unwrap_or(-1))
}

fn attach(program: &OwnedFd, folder: &OwnedFd) -> Result<(), rustix::io::Errno> {
    let raw = |fd: &OwnedFd| u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX);
    let attr = AttachAttr {
        target: raw(folder),
        program: raw(program),
        kind: BPF_CGROUP_DEVICE,
        // Beside those of cgroups above, as systemd's: all must agree.
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `attr` is of the size passed and holds no pointers.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attr, size_of::<AttachAttr>()) };
    if result < 0 { Err(crate::sys::last_errno()) } else { Ok(()) }
}

fn address(pointer: *const u8) -> u64 {
    u64::try_from(pointer.addr()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
