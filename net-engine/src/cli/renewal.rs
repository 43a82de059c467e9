//! What becomes of a secret while the command runs, on its way from the process that reads sources again.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use net_secrets::SecretValue;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use tokio::io::unix::AsyncFd;
use zeroize::Zeroizing;

use super::sources::{self, MAX_VALUE_BYTES};
use crate::sys;

/// What a source has shown.
pub(super) enum Renewal {
    /// A value, which may be the one it was.
    Value(SecretValue),
    /// It could not be read, in these words: the value stays.
    Failed(String),
    /// There is no value any more, in these words.
    Revoked(String),
}

const VALUE: u8 = b'V';
const FAILED: u8 = b'F';
const REVOKED: u8 = b'R';

/// Number and kind.
const HEAD_BYTES: usize = 5;

impl Renewal {
    /// Sends it as one message: the secret's number, what it is, and the rest.
    ///
    /// # Errors
    /// Nobody is there any more.
    pub(super) fn send(&self, number: u32, channel: impl AsFd) -> io::Result<()> {
        let (kind, rest) = match self {
            Self::Value(value) => (VALUE, value.expose()),
            Self::Failed(why) => (FAILED, why.as_bytes()),
            Self::Revoked(why) => (REVOKED, why.as_bytes()),
        };
        let mut message = Zeroizing::new(Vec::with_capacity(HEAD_BYTES + rest.len()));
        message.extend_from_slice(&number.to_be_bytes());
        message.push(kind);
        message.extend_from_slice(rest);
        loop {
            match send(channel.as_fd().as_raw_fd(), &message, MsgFlags::MSG_NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The secret's number, and what has become of it; `None` for what nobody here sends.
    fn parse(message: &[u8]) -> Option<(u32, Self)> {
        let (head, rest) = message.split_at_checked(HEAD_BYTES)?;
        let (number, kind) = head.split_first_chunk()?;
        let text = || String::from_utf8_lossy(rest).into_owned();
        let renewal = match kind {
            [VALUE] => match sources::keep(rest) {
                Ok(value) => Self::Value(value),
                Err(error) => Self::Failed(error.to_string()),
            },
            [FAILED] => Self::Failed(text()),
            [REVOKED] => Self::Revoked(text()),
            _ => return None,
        };
        Some((u32::from_be_bytes(*number), renewal))
    }
}

/// Where they arrive.
pub(super) struct Renewals(AsyncFd<OwnedFd>);

impl Renewals {
    /// # Errors
    /// The descriptor cannot be waited for.
    pub(super) fn new(channel: OwnedFd) -> Result<Self> {
        Ok(Self(sys::register_for_reading(channel).context("secrets")?))
    }

    /// The next; `None` once nobody sends any.
    pub(super) async fn next(&self) -> Option<(u32, Renewal)> {
        let mut message = Zeroizing::new(vec![0; HEAD_BYTES + MAX_VALUE_BYTES]);
        loop {
            let mut ready = self.0.readable().await.ok()?;
            match recv(self.0.get_ref().as_raw_fd(), &mut message, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return None,
                Ok(length) => {
                    if let Some(renewal) = Renewal::parse(&message[..length]) {
                        return Some(renewal);
                    }
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    use super::*;

    #[tokio::test]
    async fn what_is_sent_arrives_until_nobody_sends() {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .expect("a pair");
        let value = vec![7; MAX_VALUE_BYTES];
        Renewal::Value(SecretValue::new(value.clone())).send(1, &theirs).expect("room");
        send(theirs.as_raw_fd(), b"nothing", MsgFlags::empty()).expect("room");
        Renewal::Failed("no".to_owned()).send(2, &theirs).expect("room");
        Renewal::Revoked("gone".to_owned()).send(u32::MAX, &theirs).expect("room");
        drop(theirs);
        let renewals = Renewals::new(ours).expect("a reactor");
        let Some((1, Renewal::Value(arrived))) = renewals.next().await else { panic!("the value") };
        assert_eq!(arrived.expose(), value);
        assert!(matches!(renewals.next().await, Some((2, Renewal::Failed(why))) if why == "no"));
        assert!(matches!(renewals.next().await, Some((u32::MAX, Renewal::Revoked(why))) if why == "gone"));
        assert!(renewals.next().await.is_none());
    }
}
