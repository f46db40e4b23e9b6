//! `hull attach`.

use clap::Args;

use super::Exit;
use crate::container::attach::{self, Asked};
use crate::context::Context;
use crate::session::detach;

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct AttachArgs {
    /// Leave stdin alone
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the container
    #[arg(long, value_name = "BOOL", default_value = "true", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, hide_default_value = true, action = clap::ArgAction::Set)]
    sig_proxy: bool,
    /// Keys that leave the container running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Name, id or start of an id
    container: String,
}

pub fn attach(context: &Context, args: &AttachArgs) -> Exit {
    let asked = Asked {
        stdin: !args.no_stdin,
        sig_proxy: args.sig_proxy,
        detach_keys: detach::parse(args.detach_keys.as_deref().unwrap_or(detach::DEFAULT))?,
    };
    Ok(attach::attach(context, &args.container, &asked)?)
}
