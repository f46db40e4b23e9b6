use std::collections::BTreeSet;

use super::compile::Rule;
use super::*;

const X86_64: u32 = 0xc000_003e;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | 1;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | 38;

/// The kernel's interpreter, as far as these programs use it.
fn run(program: &[libc::sock_filter], arch: u32, number: libc::c_long, argument: u32) -> u32 {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let step = program[at];
        at += 1;
        match u32::from(step.code) {
            0x20 => {
                accumulator = match step.k {
                    0 => u32::try_from(number).unwrap(),
                    4 => arch,
                    16 => argument,
                    other => panic!("load of {other}"),
                }
            }
            0x15 => at += usize::from(if accumulator == step.k { step.jt } else { step.jf }),
            0x35 => at += usize::from(if accumulator >= step.k { step.jt } else { step.jf }),
            0x45 => at += usize::from(if accumulator & step.k != 0 { step.jt } else { step.jf }),
            0x05 => at += usize::try_from(step.k).unwrap(),
            0x06 => return step.k,
            other => panic!("opcode {other:#x}"),
        }
    }
}

#[test]
fn every_call_gets_what_its_rule_says() {
    for capabilities in [CapabilitySet::empty(), CapabilitySet::SYS_ADMIN, CapabilitySet::all()] {
        let program = default_program(capabilities);
        for (number, rule) in (0..).zip(rules(capabilities)) {
            let wanted = match rule {
                Rule::Allow | Rule::NoVsock | Rule::Personality | Rule::NoNamespaces => ALLOW,
                Rule::Deny => EPERM,
                Rule::Absent => ENOSYS,
            };
            assert_eq!(run(&program, X86_64, number, 0), wanted, "call {number}");
        }
    }
}

#[test]
fn namespaces_and_mounts_need_cap_sys_admin() {
    let without = default_program(CapabilitySet::empty());
    let with = default_program(CapabilitySet::SYS_ADMIN);
    for number in [libc::SYS_unshare, libc::SYS_mount, libc::SYS_setns, libc::SYS_bpf] {
        assert_eq!(run(&without, X86_64, number, 0), EPERM);
        assert_eq!(run(&with, X86_64, number, 0), ALLOW);
    }
    let new_user = u32::try_from(libc::CLONE_NEWUSER).unwrap();
    assert_eq!(run(&without, X86_64, libc::SYS_clone, new_user), EPERM);
    assert_eq!(run(&with, X86_64, libc::SYS_clone, new_user), ALLOW);
    assert_eq!(run(&without, X86_64, libc::SYS_clone3, 0), ENOSYS);
}

#[test]
fn arguments_are_checked_for_socket_and_personality() {
    let program = default_program(CapabilitySet::empty());
    assert_eq!(run(&program, X86_64, libc::SYS_socket, 40), EPERM);
    assert_eq!(run(&program, X86_64, libc::SYS_socket, 2), ALLOW);
    assert_eq!(run(&program, X86_64, libc::SYS_personality, 0xffff_ffff), ALLOW);
    assert_eq!(run(&program, X86_64, libc::SYS_personality, 0x40_0000), EPERM);
}

#[test]
fn calls_of_other_abis_and_of_the_future_are_closed() {
    let program = default_program(CapabilitySet::all());
    let i386 = 0x4000_0003;
    assert_eq!(run(&program, i386, 4, 0), libc::SECCOMP_RET_KILL_PROCESS);
    assert_eq!(run(&program, X86_64, 0x4000_0000 + libc::SYS_write, 0), ENOSYS);
    assert_eq!(run(&program, X86_64, LAST + 1, 0), ENOSYS);
}

#[test]
fn profile_names_each_call_once_and_none_beyond_the_last() {
    let listed: BTreeSet<_> = ALWAYS.iter().collect();
    assert_eq!(listed.len(), ALWAYS.len());
    let conditional = WITH_CAPABILITY.iter().flat_map(|(_, numbers)| numbers.iter());
    assert!(ALWAYS.iter().chain(conditional).all(|&number| (0..=LAST).contains(&number)));
}

#[test]
fn program_is_small_and_shallow() {
    let program = default_program(CapabilitySet::empty());
    assert!(program.len() < 300, "{}", program.len());
}
