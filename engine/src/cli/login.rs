//! `hull login` and `hull logout`.

use std::io::{self, Read};

use anyhow::bail;
use clap::Args;

use super::{Exit, prompt};
use crate::context::Context;
use crate::registry::auth::{self, Credentials, Kept, Keychain, Secret, names};
use crate::terminal;
use crate::text::escape;

/// More is no password.
const MAX_PASSWORD: u64 = 64 << 10;

#[derive(Debug, Args)]
pub struct LoginArgs {
    /// User's name
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// Password or token; others can see it in the list of processes
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<Secret>,
    /// Read the password or token from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Registry [default: docker.io]
    #[arg(value_name = "SERVER", default_value = names::DOCKER, hide_default_value = true)]
    server: String,
}

#[derive(Debug, Args)]
pub struct LogoutArgs {
    /// Registry [default: docker.io]
    #[arg(value_name = "SERVER", default_value = names::DOCKER, hide_default_value = true)]
    server: String,
}

pub fn login(context: &Context, args: LoginArgs) -> Exit {
    let registry = names::server(&args.server)?;
    let keychain = Keychain::open(&context.registries)?;
    let asked_for = given(args)?;
    let stored = match asked_for {
        (None, None) => keychain.get(&registry)?,
        _ => None,
    };
    if let Some(login) = &stored
        && again(context, &registry, login)?
    {
        println!("Login Succeeded");
        return Ok(0);
    }
    let (user, password) = ask(asked_for, stored.as_ref())?;
    if user.contains(':') {
        return Err(anyhow::anyhow!("A user's name cannot have a colon in it").into());
    }
    let login = auth::login::check(&context.registries, &registry, &user, &password)?;
    keep(&keychain, &registry, &login)?;
    println!("Login Succeeded");
    Ok(0)
}

/// What the command line and stdin say of user and password.
fn given(args: LoginArgs) -> anyhow::Result<(Option<String>, Option<Secret>)> {
    let user = args.username.map(|user| user.trim().to_owned()).filter(|user| !user.is_empty());
    let password = args.password.filter(|password| !password.is_empty());
    if password.is_some() {
        if args.password_stdin {
            bail!("conflicting options: cannot specify both --password and --password-stdin");
        }
        eprintln!("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    if !args.password_stdin {
        return Ok((user, password));
    }
    if user.is_none() {
        bail!("the --password-stdin option requires --username to be set");
    }
    let mut text = String::new();
    io::stdin().take(MAX_PASSWORD).read_to_string(&mut text)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        bail!("There is no password on stdin");
    }
    Ok((user, Some(Secret::new(text))))
}

/// Whether the login that is stored is good. If not, it is told, and asked for another.
fn again(context: &Context, registry: &str, login: &Credentials) -> anyhow::Result<bool> {
    let Credentials::Password { user, password } = login else { return Ok(false) };
    eprintln!("Authenticating with existing credentials... [Username: {}]", escape(user));
    eprintln!("To log in with another account, hull logout first");
    match auth::login::check(&context.registries, registry, user, password) {
        Ok(_) => Ok(true),
        Err(auth::Error::Incorrect { .. }) => {
            eprintln!("Stored credentials invalid or expired");
            Ok(false)
        }
        Err(other) => Err(other.into()),
    }
}

/// Asks on the terminal for what is missing.
fn ask(
    (user, password): (Option<String>, Option<Secret>),
    stored: Option<&Credentials>,
) -> anyhow::Result<(String, Secret)> {
    if (user.is_none() || password.is_none()) && !terminal::is_terminal(&io::stdin()) {
        bail!(
            "Cannot perform an interactive login from a non TTY device (-u and --password-stdin do without)"
        );
    }
    let user = match user {
        Some(user) => user,
        None => {
            let known = stored.map(Credentials::user).filter(|user| !user.is_empty());
            let hint = known.map(|user| format!(" ({})", escape(user))).unwrap_or_default();
            let typed = prompt::line(&format!("Username{hint}: "))?;
            match (typed.trim(), known) {
                ("", Some(known)) => known.to_owned(),
                ("", None) => bail!("Non-null Username Required"),
                (typed, _) => typed.to_owned(),
            }
        }
    };
    let password = match password {
        Some(password) => password,
        None => Secret::new(prompt::hidden("Password: ")?),
    };
    if password.is_empty() {
        bail!("Password Required");
    }
    Ok((user, password))
}

fn keep(keychain: &Keychain, registry: &str, login: &Credentials) -> auth::Result<()> {
    let kept = keychain.store(registry, login)?;
    if let (Kept::File(path), Credentials::Password { .. }) = (kept, login) {
        let path = escape(path.as_os_str().as_encoded_bytes()).to_string();
        eprintln!(
            "\nWARNING! Your credentials are stored unencrypted in '{path}'.\n\
             Configure a credential helper to remove this warning. See\n\
             https://docs.docker.com/go/credential-store/\n"
        );
    }
    Ok(())
}

pub fn logout(context: &Context, args: &LogoutArgs) -> Exit {
    let registry = names::server(&args.server)?;
    let shown = names::key_of(&registry);
    match Keychain::open(&context.registries)?.erase(&registry)? {
        true => println!("Removing login credentials for {}", escape(shown)),
        false => println!("Not logged in to {}", escape(shown)),
    }
    Ok(0)
}
