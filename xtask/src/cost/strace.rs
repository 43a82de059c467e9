//! What strace has written of one thread.

use std::collections::BTreeMap;

/// How often a thread has made each system call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls(BTreeMap<String, u64>);

impl Calls {
    /// Counts the calls of `thread` in a log of `strace -f -o`: a line a call, the thread's id in front.
    /// A call that another thread interrupts has a second line, `<... name resumed>`.
    pub(crate) fn parse(log: &str, thread: u32) -> Self {
        let mut calls = Self::default();
        for line in log.lines() {
            let Some((id, event)) = line.trim_start().split_once(' ') else { continue };
            let Some((name, _)) = event.trim_start().split_once('(') else { continue };
            let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if id.parse() == Ok(thread) && !name.is_empty() && name.bytes().all(is_name) {
                *calls.0.entry(name.to_owned()).or_default() += 1;
            }
        }
        calls
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
77    epoll_wait(5, [], 1024, 0) = 0
77    epoll_wait(5,  <unfinished ...>
76    write(7, \"\\1\\0\\0\\0\\0\\0\\0\\0\", 8 <unfinished ...>
77    <... epoll_wait resumed>[{events=EPOLLIN, data={u32=0, u64=0}}], 1024, 999) = 1
76    <... write resumed>) = 8
76    sendto(9, \"77 read(\", 8, MSG_NOSIGNAL, NULL, 0) = 8
  77  sendto(9, \"epoll_wait(\", 11, MSG_NOSIGNAL, NULL, 0) = 11
77    --- SIGCHLD {si_signo=SIGCHLD} (x) ---
77    +++ exited with 0 +++
";

    #[test]
    fn each_call_of_the_thread_counts_once() {
        let calls = Calls::parse(LOG, 77);
        assert_eq!(calls.names().collect::<Vec<_>>(), ["epoll_wait", "sendto"]);
        assert_eq!((calls.of("epoll_wait"), calls.of("sendto"), calls.total()), (2, 1, 3));
        assert_eq!(Calls::parse(LOG, 7).total(), 0);
    }
}
