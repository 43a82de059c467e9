use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;

use crate::fifo_map::FifoMap;

/// Servers whose sessions are kept.
const MAX_SERVERS: usize = 128;

/// What rustls keeps of each (RFC 8446, appendix C.4).
const TICKETS_PER_SERVER: usize = 8;

/// How long a session is taken up again without a look at certificates; less where one of them ends.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// Sessions with upstreams that may be taken up again, for 128 of them.
///
/// A session that is taken up again shows no certificate. So it is only offered while those hold that
/// were verified when the first of its line began, and for an hour at most.
#[derive(Debug)]
pub(crate) struct UpstreamSessions {
    sessions: ClientSessionMemoryCache,
    verified: Mutex<FifoMap<ServerName<'static>, UnixTime>>,
    clock: Arc<dyn TimeProvider>,
}

impl UpstreamSessions {
    pub(crate) fn new(clock: Arc<dyn TimeProvider>) -> Self {
        Self {
            sessions: ClientSessionMemoryCache::new(MAX_SERVERS * TICKETS_PER_SERVER),
            verified: Mutex::new(FifoMap::new(MAX_SERVERS)),
            clock,
        }
    }

    /// A handshake that is under way has verified certificates that hold until then, and that the server
    /// has their key.
    pub(crate) fn begin(&self, server: ServerName<'static>, now: UnixTime, until: UnixTime) {
        // Those of other certificates are not measured by the end of these.
        self.forget(&server);
        let at_most = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + MAX_AGE);
        self.verified().insert(server, until.min(at_most));
    }

    fn forget(&self, server: &ServerName<'static>) {
        self.verified().remove(server);
        while self.sessions.take_tls13_ticket(server).is_some() {}
        self.sessions.remove_tls12_session(server);
    }

    /// Whether what was verified holds; a session of another server is not offered, nor one of a clock
    /// that cannot be read.
    fn holds(&self, server: &ServerName<'static>) -> bool {
        let until = self.verified().get(server).copied();
        until.zip(self.clock.current_time()).is_some_and(|(until, now)| now < until)
    }

    fn verified(&self) -> MutexGuard<'_, FifoMap<ServerName<'static>, UnixTime>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for UpstreamSessions {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.sessions.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.kx_hint(server)
    }

    fn set_tls12_session(&self, server: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.sessions.set_tls12_session(server, value);
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.holds(&server.to_owned()).then(|| self.sessions.tls12_session(server)).flatten()
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.sessions.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.sessions.insert_tls13_ticket(server, value);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.holds(server).then(|| self.sessions.take_tls13_ticket(server)).flatten()
    }
}
