//! The secrets of a guest, and what happens when they change.

use std::time::Instant;

use net_secrets::SecretSet;
use tokio::time::sleep_until;

use super::Context;
use crate::guest::Event;

impl Context {
    /// The secrets of this moment; a clone shares them.
    pub(crate) fn secrets(&self) -> SecretSet {
        self.secrets.borrow().clone()
    }

    /// Changes with every swap of the secrets.
    pub(crate) fn secrets_generation(&self) -> u64 {
        self.secrets_generation.get()
    }

    /// Replaces the secrets: live connections use the new ones from their next request on. Where there
    /// were none, those that are carried unread for that reason end.
    pub(crate) fn swap_secrets(&self, secrets: SecretSet) {
        let previous = self.secrets();
        let are_first = previous.is_empty() && !secrets.is_empty();
        // More values than one automaton can hold are looked for without those that were replaced.
        let now = Instant::now();
        let until = now + self.limits.retired_secret_timeout;
        let successor = secrets.clone().succeeding(&previous, until, now).unwrap_or(secrets);
        *self.secrets.borrow_mut() = successor;
        self.secrets_generation.set(self.secrets_generation.get() + 1);
        if !are_first {
            return;
        }
        for (id, flow, name) in self.unread_sessions() {
            self.events.push(Event::EndedUnread { flow, name });
            self.reset_session(id);
        }
        self.stack.wake_driver();
    }

    /// Forgets values that were replaced, each when its time is over. Never ends.
    pub(crate) async fn forget_retired(&self) {
        loop {
            let until = self.secrets.borrow().retired_until();
            let Some(until) = until else { return std::future::pending().await };
            sleep_until(until.into()).await;
            let expired = self.secrets().expire(Instant::now());
            // Fewer values than before make an automaton.
            if let Ok(secrets) = expired {
                *self.secrets.borrow_mut() = secrets;
            }
        }
    }
}
