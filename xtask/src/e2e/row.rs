//! One end-to-end test: a command under an engine, and what must be seen of it.

use crate::e2e::need::Need;

/// A row of a table.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The engine's flags, besides those every row has.
    pub(crate) flags: &'static [&'static str],
    /// A shell script, run as the guest's COMMAND. `{id}` is unique to this run of this row,
    /// `{dir}` the scratch directory, `{sha}` the checksum of the blob; flags, wrapper and
    /// expectations have them too.
    pub(crate) command: &'static str,
    pub(crate) expect: &'static [Expect],
    pub(crate) setting: Setting,
}

/// What is out of the ordinary about a row.
#[derive(Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) pace: Pace,
    /// It tests the engine's judgement: without an engine it cannot hold.
    pub(crate) needs_engine: bool,
    /// Words before the engine's own command line.
    pub(crate) wrapper: &'static [&'static str],
    /// The link and `--upstream-ca` are not given: the row is about such flags.
    pub(crate) bare: bool,
    /// Which cells it runs in.
    pub(crate) only: Only,
    /// What must be there.
    pub(crate) needs: &'static [Need],
}

/// What runs beside a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Patient rows alone.
    InTurn,
    /// It mostly waits, so it runs beside the others from the start.
    Patient,
    /// Another of these: it spends its time starting up, and measures nothing.
    Paired,
}

/// The cells a row runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Only {
    /// All.
    Any,
    /// One for each user: the link plays no part.
    OncePerUser,
    /// One: neither link nor user plays a part. An ordinary user's, where one can run.
    Once,
    /// One, for an ordinary user: to root nothing is closed.
    OrdinaryUser,
    /// One, for root: it does to the engine what nobody else may.
    Root,
    /// One for each user to whom `/dev/net/tun` is closed.
    ClosedTun,
}

/// Something that must hold after the command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    /// The exit status.
    Exit(i32),
    /// Any exit status but success.
    Fails,
    /// In stdout.
    Out(&'static str),
    /// Not in stdout.
    NotOut(&'static str),
    /// All of these in one line of stderr.
    Err(&'static [&'static str]),
    /// Not in stderr.
    NotErr(&'static str),
    /// All of these in one line of what the servers saw.
    Upstream(&'static [&'static str]),
    /// Nowhere in what the servers saw.
    NotUpstream(&'static str),
    /// The engine's resident memory has grown by less than so many MiB since the guest made the file
    /// `{dir}/started/{id}.mark`.
    GrowsBelow(u64),
    /// Exit status 2, one line on stderr with all of these, and the command never ran.
    Rejected(&'static [&'static str]),
}

/// A row with nothing out of the ordinary.
pub(crate) const fn row(
    name: &'static str,
    flags: &'static [&'static str],
    command: &'static str,
    expect: &'static [Expect],
) -> Row {
    let setting = Setting {
        pace: Pace::InTurn,
        needs_engine: false,
        wrapper: &[],
        bare: false,
        only: Only::Any,
        needs: &[],
    };
    Row { name, flags, command, expect, setting }
}

impl Row {
    /// It mostly waits.
    pub(crate) const fn patient(mut self) -> Self {
        self.setting.pace = Pace::Patient;
        self
    }

    /// It may run beside another such.
    pub(crate) const fn paired(mut self) -> Self {
        self.setting.pace = Pace::Paired;
        self
    }

    /// It tests the engine's judgement.
    pub(crate) const fn judged(mut self) -> Self {
        self.setting.needs_engine = true;
        self
    }

    /// It runs where all of these are.
    pub(crate) const fn needing(mut self, needs: &'static [Need]) -> Self {
        self.setting.needs = needs;
        self
    }

    /// It speaks QUIC.
    pub(crate) const fn over_quic(self) -> Self {
        self.needing(&[Need::Quic])
    }

    /// Runs in these cells alone.
    pub(crate) const fn only(mut self, only: Only) -> Self {
        self.setting.only = only;
        self
    }

    /// Words before the engine's command line.
    pub(crate) const fn wrapped(mut self, wrapper: &'static [&'static str]) -> Self {
        self.setting.wrapper = wrapper;
        self
    }
}

/// A row of bad input: the engine refuses to start, and says why.
pub(crate) const fn rejected(
    name: &'static str,
    flags: &'static [&'static str],
    expect: &'static [Expect],
) -> Row {
    let setting = Setting {
        pace: Pace::InTurn,
        needs_engine: true,
        wrapper: &[],
        bare: true,
        only: Only::OncePerUser,
        needs: &[],
    };
    Row { name, flags, command: "touch {dir}/started/{id}", expect, setting }
}
