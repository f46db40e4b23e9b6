//! Getting a vCPU's thread out of the guest from another thread.
//!
//! A signal alone would be lost when it arrives just before KVM_RUN. Its handler therefore sets
//! `immediate_exit` in the run structure of the thread it interrupts, so that KVM_RUN returns at once
//! (KVM API, 5, "The kvm_run structure").

use std::cell::Cell;
use std::ptr;
use std::thread::JoinHandle;

use kvm_ioctls::VcpuFd;
use vmm_sys_util::errno;
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

thread_local! {
    /// `immediate_exit` of the vCPU that this thread runs.
    static IMMEDIATE_EXIT: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

/// Installs the handler for the whole process.
pub fn install_handler() -> Result<(), errno::Error> {
    register_signal_handler(SIGRTMIN(), on_kick)
}

extern "C" fn on_kick(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    IMMEDIATE_EXIT.with(|immediate_exit| {
        let flag = immediate_exit.get();
        if !flag.is_null() {
            // SAFETY: `Kickable` set it to a byte of a mapping that outlives it, and takes it back
            // on drop; only this thread writes that byte, so no access races.
            unsafe { flag.write_volatile(1) }
        }
    });
}

/// While it lives, a kick ends this thread's KVM_RUN of that vCPU.
pub struct Kickable;

impl Kickable {
    /// `vcpu` must not be dropped before the value returned.
    pub fn new(vcpu: &mut VcpuFd) -> Self {
        let flag = &raw mut vcpu.get_kvm_run().immediate_exit;
        IMMEDIATE_EXIT.with(|immediate_exit| immediate_exit.set(flag));
        Self
    }
}

impl Drop for Kickable {
    fn drop(&mut self) {
        IMMEDIATE_EXIT.with(|immediate_exit| immediate_exit.set(ptr::null_mut()));
    }
}

/// Ends the current or next KVM_RUN of the thread.
pub fn kick<T>(thread: &JoinHandle<T>) {
    // Fails only for a thread that has ended.
    let _ = thread.kill(SIGRTMIN());
}
