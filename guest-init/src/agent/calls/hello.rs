use super::super::Answer;
use crate::protocol::{CallError, ErrorKind, FEATURES, HelloArgs, HelloReply, Outcome, VERSION};

pub fn call(args: &HelloArgs) -> Result<Answer, CallError> {
    if args.version != VERSION {
        let message =
            format!("The host speaks version {} of the protocol, the agent {VERSION}", args.version);
        return Err(CallError { kind: ErrorKind::Version, message });
    }
    Ok(Answer::Now(Outcome::Hello(HelloReply {
        version: VERSION,
        features: FEATURES.iter().map(|&feature| feature.to_owned()).collect(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
    })))
}
