//! Finding and running the container's command, with docker's reasons when that fails.

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use rustix::fs::{Access, AtFlags, CWD, FileType, accessat};
use rustix::io::Errno;

use crate::error::{StepError, shown};
use crate::protocol::ErrorKind;

/// Replaces this process by `args`, whose first is looked up in the PATH of `env` unless it holds a
/// slash. Returns why that failed.
pub fn exec(args: &[CString], env: &[CString]) -> StepError {
    let Some(command) = args.first() else {
        return StepError::new(ErrorKind::CommandNotFound, "No command to run");
    };
    let (argv, envp) = (pointers(args), pointers(env));
    if command.as_bytes().contains(&b'/') {
        let cause = execve(command, &argv, &envp);
        return refusal(command, cause);
    }
    for candidate in candidates(command, env) {
        match execve(&candidate, &argv, &envp) {
            // Not there, or no file that could be run: the next folder may have one.
            Errno::NOENT | Errno::NOTDIR | Errno::ACCESS if !is_executable_file(&candidate) => (),
            cause => return refusal(&candidate, cause),
        }
    }
    let name = shown(command.as_bytes());
    StepError::new(ErrorKind::CommandNotFound, format!("{name}: executable file not found in $PATH"))
}

/// `command` in each folder of PATH; an empty one is the working directory.
fn candidates<'a>(command: &'a CStr, env: &'a [CString]) -> impl Iterator<Item = CString> + 'a {
    let path = env.iter().rev().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH="));
    path.into_iter().flat_map(|path| path.split(|&byte| byte == b':')).filter_map(move |folder| {
        let folder = if folder.is_empty() { b"." } else { folder };
        CString::new([folder, b"/", command.to_bytes()].concat()).ok()
    })
}

fn is_executable_file(path: &CStr) -> bool {
    let stat = rustix::fs::stat(path);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
        && accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

fn refusal(path: &CStr, cause: Errno) -> StepError {
    let name = shown(path.to_bytes());
    let stat = rustix::fs::stat(path);
    match cause {
        Errno::NOENT if stat.is_ok() => StepError::new(
            ErrorKind::CommandNotFound,
            format!("{name}: the interpreter or loader it asks for does not exist in the image"),
        ),
        Errno::NOENT | Errno::NOTDIR => {
            StepError::because(ErrorKind::CommandNotFound, name.to_string(), cause)
        }
        Errno::ACCESS if stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir()) => {
            StepError::because(ErrorKind::CannotExecute, name.to_string(), Errno::ISDIR)
        }
        cause => StepError::because(ErrorKind::CannotExecute, name.to_string(), cause),
    }
}

fn execve(path: &CStr, argv: &[*const c_char], envp: &[*const c_char]) -> Errno {
    // SAFETY: `path` is a C string, `argv` and `envp` are null-terminated arrays of C strings that
    // outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    crate::sys::last_errno()
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn c(text: &str) -> CString {
        CString::new(text).unwrap()
    }

    #[test]
    fn candidates_follow_the_last_path_and_read_an_empty_folder_as_the_current_one() {
        let env = [c("PATH=/old"), c("PATH=/bin::/usr/bin")];
        let found: Vec<_> = candidates(c"sh", &env).collect();
        assert_eq!(found, [c("/bin/sh"), c("./sh"), c("/usr/bin/sh")]);
        assert_eq!(candidates(c"sh", &[]).count(), 0);
    }

    #[test]
    fn refusals_tell_missing_from_unusable() {
        let kind = |path: &CStr, cause| crate::protocol::CallError::from(refusal(path, cause)).kind;
        assert_eq!(kind(c"/nowhere", Errno::NOENT), ErrorKind::CommandNotFound);
        assert_eq!(kind(c"/proc", Errno::ACCESS), ErrorKind::CannotExecute);
        assert_eq!(kind(c"/proc/self/exe", Errno::NOENT), ErrorKind::CommandNotFound);
    }
}
