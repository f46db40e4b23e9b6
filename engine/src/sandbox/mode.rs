//! Which isolation mode a container gets, and why.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::probe::Verdict;

/// Where a container runs. Decided once, at create.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    Vm,
    Namespace,
}

impl Isolation {
    pub const fn as_str(self) -> &'static str {
        match self {
            Isolation::Vm => "vm",
            Isolation::Namespace => "namespace",
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Isolation {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = [Isolation::Vm, Isolation::Namespace].into_iter().find(|mode| mode.as_str() == word);
        found.ok_or_else(|| format!("unknown isolation mode \"{word}\""))
    }
}

/// What the user asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum IsolationRequest {
    /// A virtual machine where KVM works, else namespaces with a warning
    #[default]
    Auto,
    /// A virtual machine or nothing
    Vm,
    /// Host namespaces
    Namespace,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    #[error("This container needs a virtual machine, and KVM does not work here: {reason}")]
    NoKvm { reason: String },
    #[error("The config file says require_vm, so --isolation namespace is refused")]
    VmRequired,
}

/// The mode, and the warning that goes with a fallback. `probe` is asked only if its answer counts.
pub fn decide(
    request: IsolationRequest,
    require_vm: bool,
    probe: impl FnOnce() -> Verdict,
) -> Result<(Isolation, Option<String>), ModeError> {
    if request == IsolationRequest::Namespace {
        return if require_vm { Err(ModeError::VmRequired) } else { Ok((Isolation::Namespace, None)) };
    }
    let verdict = probe();
    if verdict.works {
        return Ok((Isolation::Vm, None));
    }
    if require_vm || request == IsolationRequest::Vm {
        return Err(ModeError::NoKvm { reason: verdict.reason });
    }
    let warning = format!(
        "running in host namespaces, a weaker isolation than a virtual machine: {} \
         (--isolation namespace accepts this without a warning)",
        verdict.reason
    );
    Ok((Isolation::Namespace, Some(warning)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> Verdict {
        Verdict { works: false, reason: "no /dev/kvm".into() }
    }

    fn sound() -> Verdict {
        Verdict { works: true, reason: String::new() }
    }

    #[test]
    fn auto_takes_a_machine_where_kvm_works_and_else_namespaces_with_the_reason() {
        assert_eq!(decide(IsolationRequest::Auto, false, sound), Ok((Isolation::Vm, None)));
        let (mode, warning) = decide(IsolationRequest::Auto, false, broken).unwrap();
        assert_eq!(mode, Isolation::Namespace);
        assert!(warning.unwrap().contains("no /dev/kvm"));
    }

    #[test]
    fn require_vm_forbids_anything_weaker() {
        assert!(matches!(decide(IsolationRequest::Auto, true, broken), Err(ModeError::NoKvm { .. })));
        assert_eq!(decide(IsolationRequest::Namespace, true, sound), Err(ModeError::VmRequired));
        assert_eq!(decide(IsolationRequest::Vm, true, sound), Ok((Isolation::Vm, None)));
    }

    #[test]
    fn vm_asked_for_by_name_never_falls_back() {
        assert!(matches!(decide(IsolationRequest::Vm, false, broken), Err(ModeError::NoKvm { .. })));
    }
}
