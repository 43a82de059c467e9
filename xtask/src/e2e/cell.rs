//! One combination of link and user, and whether it can run here.

use std::process::Stdio;

use anyhow::Result;
use clap::ValueEnum;

use crate::e2e::world::World;
use crate::space::NOBODY;

/// How the guest is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Link {
    Tap,
    Packet,
}

/// Who runs the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum User {
    Root,
    /// An ordinary user.
    Nobody,
}

/// All rows run once in each cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) link: Link,
    pub(crate) user: User,
}

/// Why a cell does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Skip {
    /// This machine closes the link to that user, which no set-up of ours may change.
    Closed(String),
    /// Something is missing that a complete run needs.
    Missing(String),
}

impl Cell {
    /// Every combination that was asked for.
    pub(crate) fn all(link: Option<Link>, user: Option<User>) -> Vec<Self> {
        let mut cells = Vec::new();
        for cell_user in [User::Root, User::Nobody] {
            for cell_link in [Link::Tap, Link::Packet] {
                if link.is_none_or(|link| link == cell_link) && user.is_none_or(|user| user == cell_user) {
                    cells.push(Self { link: cell_link, user: cell_user });
                }
            }
        }
        cells
    }

    /// For people: `tap/root`.
    pub(crate) fn label(self) -> String {
        let user = match self.user {
            User::Root => "root",
            User::Nobody => "nobody",
        };
        format!("{}/{user}", self.link_name())
    }

    /// What `--link` calls it.
    pub(crate) fn link_name(self) -> &'static str {
        match self.link {
            Link::Tap => "tap",
            Link::Packet => "packet",
        }
    }

    /// What is in the way of this cell, if anything.
    pub(crate) fn obstacle(self, world: &World, is_root: bool) -> Result<Option<Skip>> {
        if self.user == User::Root && !is_root {
            return Ok(Some(Skip::Missing("not started as root".to_owned())));
        }
        if self.user == User::Nobody && !succeeds(world, self.user, is_root, "unshare -Un true")? {
            return Ok(Some(Skip::Missing("this user cannot make user namespaces".to_owned())));
        }
        if self.link == Link::Tap {
            if !succeeds(world, self.user, is_root, "test -e /dev/net/tun")? {
                return Ok(Some(Skip::Missing("there is no /dev/net/tun".to_owned())));
            }
            if tun_is_closed(world, self.user, is_root)? {
                return Ok(Some(Skip::Closed("/dev/net/tun is closed to this user".to_owned())));
            }
        }
        Ok(None)
    }
}

/// Whether the mode of `/dev/net/tun` keeps `user` out.
pub(crate) fn tun_is_closed(world: &World, user: User, is_root: bool) -> Result<bool> {
    Ok(!succeeds(world, user, is_root, "test -r /dev/net/tun && test -w /dev/net/tun")?)
}

/// The words that turn the world's owner into `user`.
pub(crate) fn become_user(user: User, is_root: bool) -> &'static [&'static str] {
    match (user, is_root) {
        (User::Root, _) => &["setpriv", "--pdeathsig", "KILL", "--"],
        (User::Nobody, true) => {
            &["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--pdeathsig", "KILL", "--"]
        }
        // In a user namespace that maps one id there is nobody else to become; in a nested one
        // that id has another number and, after the exec, no capability over what is outside.
        (User::Nobody, false) => &[
            "unshare",
            "--user",
            "--map-user",
            NOBODY,
            "--map-group",
            NOBODY,
            "--",
            "setpriv",
            "--pdeathsig",
            "KILL",
            "--",
        ],
    }
}

fn succeeds(world: &World, user: User, is_root: bool, script: &str) -> Result<bool> {
    let entry = world.host.entry();
    let mut command = crate::space::clean(&entry[0]);
    command.args(&entry[1..]).args(become_user(user, is_root)).args(["sh", "-c", script]);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?.success())
}
