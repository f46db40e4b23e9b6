//! `hull update`.

use clap::Args;

use super::resource_args::LimitArgs;
use super::{Exit, for_each};
use crate::container::restart::RestartPolicy;
use crate::container::update;
use crate::context::Context;
use crate::store::Store;

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct UpdateArgs {
    #[command(flatten)]
    limits: LimitArgs,
    /// Start again when it ends: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<RestartPolicy>,
    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub fn update(context: &Context, args: &UpdateArgs) -> Exit {
    if args.limits.are_none() && args.restart.is_none() {
        return Err(anyhow::anyhow!("you must provide one or more flags when using this command").into());
    }
    let resources = args.limits.resources()?;
    let store = Store::open(&context.root, &context.run)?;
    for_each(&args.containers, |name| {
        update::update(context, &store, name, &resources, args.restart).map(|()| name.to_string())
    })
}
