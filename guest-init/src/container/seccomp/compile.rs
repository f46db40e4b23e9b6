//! Rules by number to a BPF program. Documentation/userspace-api/seccomp_filter.rst

use libc::{
    BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter,
};

use super::profile::{CLONE_NAMESPACES, PERSONALITIES};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Allow,
    /// EPERM.
    Deny,
    /// ENOSYS.
    Absent,
    /// socket(2) for anything but AF_VSOCK: vsock knows no network namespaces.
    NoVsock,
    /// The harmless personalities.
    Personality,
    /// clone(2) into no new namespace.
    NoNamespaces,
}

const RETURN_ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const RETURN_DENY: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
const RETURN_ABSENT: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
/// A call by another ABI: its number means something else.
const RETURN_FOREIGN: u32 = libc::SECCOMP_RET_KILL_PROCESS;

/// AUDIT_ARCH_X86_64 of linux/audit.h.
const NATIVE_ARCH: u32 = 0xc000_003e;

// Offsets in `struct seccomp_data`. The calls whose argument is checked take it as 32 bits, so that
// its upper half, which they ignore, must not be looked at either.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// A filter that gives call N what `rules[N]` says; numbers beyond, x32's among them, are absent.
pub fn compile(rules: &[Rule]) -> Vec<sock_filter> {
    let mut program = vec![load(ARCH), jump(BPF_JEQ, NATIVE_ARCH, 1, 0), give(RETURN_FOREIGN), load(NUMBER)];
    program.extend(search(&ranges(rules)));
    program
}

/// Runs of numbers with the same rule, by the number each begins with.
fn ranges(rules: &[Rule]) -> Vec<(u32, Rule)> {
    let mut ranges: Vec<(u32, Rule)> = Vec::new();
    for (number, &rule) in (0u32..).zip(rules.iter().chain([&Rule::Absent])) {
        if ranges.last().is_none_or(|&(_, last)| last != rule) {
            ranges.push((number, rule));
        }
    }
    ranges
}

/// Decides at the middle range's beginning; the lower half follows, then the upper.
fn search(ranges: &[(u32, Rule)]) -> Vec<sock_filter> {
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let Some(&(middle, rule)) = upper.first() else { return Vec::new() };
    if lower.is_empty() {
        return decide(rule);
    }
    let lower = search(lower);
    let mut program = match u8::try_from(lower.len()) {
        Ok(over) => vec![jump(BPF_JGE, middle, over, 0)],
        Err(_) => {
            let over = u32::try_from(lower.len()).unwrap_or(u32::MAX);
            vec![jump(BPF_JGE, middle, 0, 1), statement(BPF_JMP | BPF_JA, over)]
        }
    };
    program.extend(lower);
    program.extend(search(upper));
    program
}

fn decide(rule: Rule) -> Vec<sock_filter> {
    match rule {
        Rule::Allow => vec![give(RETURN_ALLOW)],
        Rule::Deny => vec![give(RETURN_DENY)],
        Rule::Absent => vec![give(RETURN_ABSENT)],
        Rule::NoVsock => vec![
            load(FIRST_ARGUMENT),
            jump(BPF_JEQ, libc::AF_VSOCK.unsigned_abs(), 0, 1),
            give(RETURN_DENY),
            give(RETURN_ALLOW),
        ],
        Rule::NoNamespaces => vec![
            load(FIRST_ARGUMENT),
            jump(BPF_JSET, CLONE_NAMESPACES, 0, 1),
            give(RETURN_DENY),
            give(RETURN_ALLOW),
        ],
        Rule::Personality => {
            let mut program = vec![load(FIRST_ARGUMENT)];
            for personality in PERSONALITIES {
                program.push(jump(BPF_JEQ, personality, 0, 1));
                program.push(give(RETURN_ALLOW));
            }
            program.push(give(RETURN_DENY));
            program
        }
    }
}

fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

fn give(value: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, value)
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: opcode(code), jt: 0, jf: 0, k }
}

/// Skips `jt` instructions when the comparison holds, `jf` when not.
fn jump(comparison: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: opcode(BPF_JMP | comparison | BPF_K), jt, jf, k }
}

/// Opcodes are 16 bits by definition (linux/bpf_common.h).
fn opcode(code: u32) -> u16 {
    u16::try_from(code).unwrap_or(u16::MAX)
}
