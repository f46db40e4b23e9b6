//! Against the machine's own end of the socket.

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::thread::{self, JoinHandle};

use hull_vmm::config::{FileSource, Segment};
use hull_vmm::control::{Control, Received};
use hull_vmm::lifecycle::ExitCause;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;

/// A machine that answers one command with `event`, and what it got.
fn machine(event: Event) -> (UnixStream, JoinHandle<(Command, Vec<OwnedFd>)>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let thread = thread::spawn(move || {
        let mut control = Control::new(theirs);
        loop {
            let mut readable = [PollFd::new(control.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut readable, PollTimeout::from(20_000u16)).unwrap(), 1);
            match control.receive().unwrap() {
                Received::Command(command, files) => {
                    control.send(&event).unwrap();
                    return (command, files);
                }
                Received::Partial => {}
                Received::Closed => panic!("closed before the command was there"),
            }
        }
    });
    (ours, thread)
}

fn segments(count: usize) -> DiskContent {
    let segment = |index| Segment {
        file: FileSource::Fd(i32::try_from(index).unwrap()),
        start_sector: u64::try_from(index).unwrap() * 8,
    };
    DiskContent::Segments((0..count).map(segment).collect())
}

fn inode(file: impl Into<OwnedFd>) -> u64 {
    File::from(file.into()).metadata().unwrap().ino()
}

#[test]
fn slot_is_filled_with_files_in_their_order_however_many() {
    let (one, other) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    // One, a full message, one more than that, and the most that a disk has.
    for count in [1, 253, 254, 507, 1024] {
        let (control, thread) = machine(Event::Done { sectors: Some(7) });
        let mut fds = vec![one.as_fd(); count];
        fds[count - 1] = other.as_fd();
        assert_eq!(fill(&control, 3, segments(count), &fds).unwrap(), 7);
        let (command, files) = thread.join().unwrap();
        let Command::FillDisk { disk: 3, content: DiskContent::Segments(all) } = command else { panic!() };
        assert_eq!((all.len(), files.len()), (count, count));
        let last = files.into_iter().next_back().unwrap();
        assert_eq!(inode(last), other.metadata().unwrap().ino());
    }
}

#[test]
fn writable_slot_is_filled_with_its_one_file() {
    let file = tempfile::tempfile().unwrap();
    let (control, thread) = machine(Event::Done { sectors: Some(1 << 40) });
    let content = DiskContent::File(FileSource::Fd(0));
    assert_eq!(fill(&control, 0, content, &[file.as_fd()]).unwrap(), 1 << 40);
    let (_, mut files) = thread.join().unwrap();
    assert_eq!(files.len(), 1);
    assert_eq!(inode(files.remove(0)), file.metadata().unwrap().ino());
}

#[test]
fn limits_arrive_as_they_are() {
    let (control, thread) = machine(Event::Done { sectors: None });
    let limits = DiskLimits { write_bps: Some(u64::MAX), ..DiskLimits::default() };
    limit(&control, 11, limits).unwrap();
    let (command, files) = thread.join().unwrap();
    assert!(matches!(command, Command::LimitDisk { disk: 11, limits: got } if got == limits));
    assert!(files.is_empty());
}

#[test]
fn refusal_and_end_are_told_in_the_machines_words() {
    let say = |event| {
        let (control, thread) = machine(event);
        let outcome = limit(&control, 0, DiskLimits::default());
        thread.join().unwrap();
        outcome.unwrap_err()
    };
    let refused = say(Event::Failed { message: "There is no disk 0".into() });
    assert!(matches!(&refused, SlotError::Refused(message) if message == "There is no disk 0"));
    let long = say(Event::Failed { message: "x".repeat(100_000) });
    assert!(long.to_string().len() < 3000);
    let exit = Event::Exit { cause: ExitCause::Panic, message: "panicked".into(), boot_log_tail: None };
    assert!(matches!(say(exit), SlotError::Ended(message) if message == "panicked"));
    assert!(matches!(say(Event::Running), SlotError::Unexpected));
    assert!(matches!(say(Event::Done { sectors: Some(1) }), SlotError::Unexpected));
}

#[test]
fn machine_that_is_gone_or_talks_nonsense_is_an_error() {
    let (control, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    assert!(matches!(limit(&control, 0, DiskLimits::default()), Err(SlotError::Send(_))));
    for nonsense in [&b"\xff\xff\xff\xff"[..], b"\x02\0\0\0{}", b"\x02\0\0\0{"] {
        let (control, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(nonsense).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(matches!(limit(&control, 0, DiskLimits::default()), Err(SlotError::Answer(_))));
    }
}

#[test]
fn neither_silence_nor_a_full_socket_nor_dribbling_outlasts_the_limit() {
    let short = Duration::from_millis(50);
    let command = Command::LimitDisk { disk: 0, limits: DiskLimits::default() };
    let begin = Instant::now();
    let (control, _theirs) = UnixStream::pair().unwrap();
    assert!(matches!(exchange(&control, &command, &[], short), Err(SlotError::Answer(_))));
    control.set_nonblocking(true).unwrap();
    while (&control).write(&[0; 65536]).is_ok() {}
    control.set_nonblocking(false).unwrap();
    assert!(matches!(exchange(&control, &command, &[], short), Err(SlotError::Send(_))));

    let (control, theirs) = UnixStream::pair().unwrap();
    let dribbling = thread::spawn(move || {
        // A byte at a time of a frame that is long, as often as it is read.
        theirs.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        (&theirs).write_all(&100_000u32.to_le_bytes()).unwrap();
        while (&theirs).write_all(b" ").is_ok() {
            let _ = (&theirs).read(&mut [0; 4096]);
        }
    });
    assert!(matches!(exchange(&control, &command, &[], short), Err(SlotError::Answer(_))));
    drop(control);
    dribbling.join().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[test]
fn timeouts_of_before_are_back_afterwards() {
    let (control, thread) = machine(Event::Done { sectors: None });
    control.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    limit(&control, 0, DiskLimits::default()).unwrap();
    thread.join().unwrap();
    assert_eq!(control.read_timeout().unwrap(), Some(Duration::from_secs(120)));
    assert_eq!(control.write_timeout().unwrap(), None);
}
