//! A container in the background.

use crate::command::{Hull, Output, hull};
use crate::{BUSYBOX, unique};

/// Removed when dropped, whatever it does.
pub struct Container {
    pub name: String,
}

impl Container {
    /// `hull run -d OPTIONS... busybox COMMAND...` in the mode under test.
    pub fn start<const N: usize, const M: usize>(options: [&str; N], command: [&str; M]) -> Container {
        let container = Container { name: unique("box") };
        let words = ["-d", "--name", &container.name].into_iter().chain(options).chain([BUSYBOX]);
        Hull::keep(words).args(command).output().exits(0);
        container
    }

    /// One that does nothing for long.
    pub fn sleeping<const N: usize>(options: [&str; N]) -> Container {
        Container::start(options, ["sleep", "1000"])
    }

    /// `hull exec NAME WORDS...`
    pub fn exec<const N: usize>(&self, words: [&str; N]) -> Output {
        Hull::new(["exec", &self.name]).args(words).output()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        hull(["rm", "-f", &self.name]);
    }
}
