//! Who the function runs as: Lambda's own user where the machine has it to give, else a user namespace that maps it.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{AccessFlags, access, getegid, geteuid};

/// The user that Lambda runs functions as: `sbx_user1051`.
pub const USER: u32 = 993;
/// Its group.
pub const GROUP: u32 = 990;

/// The hidden subcommand that [`main`] serves.
pub const SUBCOMMAND: &str = "sandbox-exec";

/// A command that will run as the sandbox's user, without capabilities.
///
/// # Errors
/// What the system says of a program that nobody may run, where that would not show at the start.
pub(crate) fn command(path: &str) -> io::Result<Command> {
    if is_mapped("/proc/self/uid_map", USER)? && is_mapped("/proc/self/gid_map", GROUP)? {
        let mut command = Command::new(path);
        command.uid(USER).gid(GROUP);
        return Ok(command);
    }
    // Said here, as by an exec: what comes between would end with an exit code of its own.
    access(path, AccessFlags::X_OK)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg(SUBCOMMAND).arg(path);
    Ok(command)
}

fn is_mapped(table: &str, id: u32) -> io::Result<bool> {
    Ok(maps(&fs::read_to_string(table)?, id))
}

/// Each line: first id inside, first id outside, how many (user_namespaces(7)).
fn maps(table: &str, id: u32) -> bool {
    table.lines().any(|line| {
        let mut numbers = line.split_whitespace().filter_map(|number| number.parse::<u64>().ok());
        let (Some(first), Some(_), Some(count)) = (numbers.next(), numbers.next(), numbers.next()) else {
            return false;
        };
        (first..first + count).contains(&u64::from(id))
    })
}

/// Becomes the program that is named, as the sandbox's user, in a user namespace of its own: the id outside stays the
/// only one there is. Leaving the root id drops all capabilities at the exec.
pub fn main(program: &[String]) -> ExitCode {
    let [path] = program else {
        tracing::error!(subcommand = SUBCOMMAND, "needs one program");
        return ExitCode::FAILURE;
    };
    let error = become_mapped_user().map_or_else(|error| error, |()| Command::new(path).exec());
    tracing::error!(path, %error, "cannot be run as the sandbox's user");
    ExitCode::FAILURE
}

fn become_mapped_user() -> io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{USER} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{GROUP} {group} 1"))
}
