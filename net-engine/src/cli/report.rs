use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use net_core::TokenBucket;

use crate::{Event, Guest};

/// The same line is printed again only after this long, with how often it was held back; and what was left out is told.
const REPEAT: Duration = Duration::from_secs(1);

/// Lines of one kind that are printed in a second, and at once.
const LINES_PER_SECOND: u32 = 32;
const LINES_AT_ONCE: u32 = 256;

/// Prints events to standard error, one readable line each.
///
/// A guest may have as many events as packets. Of each kind so many lines are printed and the others counted: what is
/// told of one kind hides nothing of another, and nothing is left out in silence. Memory is bounded by the lines printed
/// of late, and work on what is left out does not even write it.
#[derive(Default)]
pub(super) struct Reporter {
    /// Lines of the last [`REPEAT`].
    printed: BTreeMap<String, Printed>,
    kinds: BTreeMap<Kind, Told>,
    /// Events that the guest's queue had no room for, as far as that was told.
    lost: u64,
    due: Option<Instant>,
}

/// What is told of, and of which protocol where that matters: as many as there are variants of [`Event`].
type Kind = (&'static str, &'static str);

struct Printed {
    kind: Kind,
    at: Instant,
    /// Events that would have been the same line, since then.
    held: u64,
}

struct Told {
    bucket: TokenBucket,
    left_out: u64,
}

impl Default for Told {
    fn default() -> Self {
        Self { bucket: TokenBucket::new(LINES_PER_SECOND, LINES_AT_ONCE), left_out: 0 }
    }
}

impl Reporter {
    pub(super) fn report(&mut self, event: &Event) {
        print(self.line(kind(event), || event.to_string(), now()));
    }

    /// Waits until there is something to tell without a further event, or for ever.
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Tells what was held back and left out.
    pub(super) fn tell_due(&mut self, guest: &Guest) {
        self.note_lost(guest.lost_events());
        print(self.handle_timeout(now()));
    }

    /// Tells the same when nothing follows.
    pub(super) fn finish(&mut self, guest: &Guest) {
        self.note_lost(guest.lost_events());
        print(self.handle_timeout(now() + REPEAT));
    }

    /// The line to print of an event, if any.
    fn line(&mut self, kind: Kind, text: impl FnOnce() -> String, now: Instant) -> Option<String> {
        self.due.get_or_insert(now + REPEAT);
        let told = self.kinds.entry(kind).or_default();
        if !told.bucket.has(now) {
            told.left_out += 1;
            return None;
        }
        let text = text();
        let before = self.printed.get_mut(&text);
        let held = before.as_ref().map_or(0, |before| before.held);
        if let Some(before) = before
            && now < before.at + REPEAT
        {
            before.held += 1;
            return None;
        }
        // There is one.
        let _ = told.bucket.take(now);
        let line = line(&text, held);
        self.printed.insert(text, Printed { kind, at: now, held: 0 });
        Some(line)
    }

    fn note_lost(&mut self, lost: u64) {
        let more = lost.saturating_sub(self.lost);
        self.lost = lost;
        self.kinds.entry(("events that came too fast", "")).or_default().left_out += more;
    }

    /// What has become due by `now`.
    fn handle_timeout(&mut self, now: Instant) -> Vec<String> {
        let Self { printed, kinds, .. } = self;
        let mut lines = Vec::new();
        printed.retain(|text, before| {
            if now < before.at + REPEAT {
                return true;
            }
            // One of them is the line itself.
            let Some(more) = before.held.checked_sub(1) else { return false };
            let told = kinds.entry(before.kind).or_default();
            if !told.bucket.take(now) {
                told.left_out += before.held;
                return false;
            }
            lines.push(line(text, more));
            (before.at, before.held) = (now, 0);
            true
        });
        for ((what, of), told) in kinds.iter_mut().filter(|(_, told)| told.left_out > 0) {
            let separator = if of.is_empty() { "" } else { " " };
            lines.push(format!("{what}{separator}{of}: {} more were left out", told.left_out));
            told.left_out = 0;
        }
        self.due = (!self.printed.is_empty()).then_some(now + REPEAT);
        lines
    }
}

fn line(text: &str, more: u64) -> String {
    if more == 0 { text.to_owned() } else { format!("{text} ({more} more)") }
}

fn print(lines: impl IntoIterator<Item = String>) {
    for line in lines {
        eprintln!("net-engine: {line}");
    }
}

fn kind(event: &Event) -> Kind {
    match event {
        Event::Opened { flow, .. } => ("opened", flow.protocol.as_str()),
        Event::Denied { flow, .. } => ("denied", flow.protocol.as_str()),
        Event::RequestDenied { .. } => ("denied", "requests"),
        Event::NameRefused { .. } => ("denied", "dns"),
        Event::DialFailed { .. } => ("failed", ""),
        Event::ProxyFailed { .. } => ("failed", "by proxies"),
        Event::InboundOpened { .. } => ("opened", "to published ports"),
        Event::InboundDenied { .. } => ("denied", "to published ports"),
        Event::InboundFailed { .. } => ("failed", "to published ports"),
        Event::InterceptFailed { .. } => ("ended", ""),
        Event::EndedUnread { .. } => ("ended", "unread"),
        Event::Unverified { .. } => ("warning", "of certificates that are not verified"),
        Event::AuthorityEnds { .. } => ("warning", "of the authority's end"),
        Event::Violation { .. } => ("violation", ""),
        Event::LimitReached { .. } => ("refused", "by limits"),
        Event::LimitHolds { .. } => ("held", "by limits"),
        Event::LinkClosed { .. } => ("link closed", ""),
    }
}

#[allow(clippy::disallowed_methods, reason = "the binary owns the clock")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENIED: Kind = ("denied", "tcp");

    #[test]
    fn a_repeated_line_is_counted_not_printed() {
        let mut reporter = Reporter::default();
        let start = now();
        let at = |millis| start + Duration::from_millis(millis);
        let line =
            |reporter: &mut Reporter, millis| reporter.line(DENIED, || "denied".to_owned(), at(millis));
        assert_eq!(line(&mut reporter, 0).as_deref(), Some("denied"));
        assert_eq!(line(&mut reporter, 10), None);
        assert_eq!(line(&mut reporter, 20), None);
        assert_eq!(line(&mut reporter, 1_500).as_deref(), Some("denied (2 more)"));
        // And by itself, where it does not come again.
        assert_eq!(line(&mut reporter, 1_600), None);
        assert_eq!(line(&mut reporter, 1_700), None);
        assert_eq!(reporter.handle_timeout(at(2_400)), [""; 0]);
        assert_eq!(reporter.handle_timeout(at(2_500)), ["denied (1 more)"]);
        assert_eq!(reporter.handle_timeout(at(3_500)), [""; 0]);
        assert!(reporter.printed.is_empty() && reporter.due.is_none());
    }

    /// Lines that all differ, of one kind; then one of another.
    #[test]
    fn a_flood_of_lines_is_bounded_counted_and_hides_no_other_kind() {
        const EVENTS: u64 = 100_000;
        const SECONDS: u64 = 4;
        let mut reporter = Reporter::default();
        let start = now();
        let (mut lines, mut most) = (Vec::new(), 0);
        for nth in 0..EVENTS {
            let at = start + Duration::from_micros(nth * SECONDS * 1_000_000 / EVENTS);
            if reporter.due.is_some_and(|due| due <= at) {
                lines.extend(reporter.handle_timeout(at));
            }
            // Each comes twice, so that some are held back.
            lines.extend(reporter.line(DENIED, || format!("denied tcp {}", nth / 2), at));
            most = most.max(reporter.printed.len());
        }
        let end = start + Duration::from_secs(SECONDS);
        let other = reporter.line(("violation", ""), || "violation".to_owned(), end);
        assert_eq!(other.as_deref(), Some("violation"));
        reporter.note_lost(7);
        lines.extend(reporter.handle_timeout(end + REPEAT));
        let bound =
            usize::try_from(u64::from(LINES_AT_ONCE) + SECONDS * u64::from(LINES_PER_SECOND)).expect("few");
        let summaries = usize::try_from(SECONDS).expect("few") + 2;
        assert!(lines.len() <= bound + summaries, "{} lines", lines.len());
        assert!(most <= bound, "{most} lines are remembered");
        // None is lost: each line is one event, and more where it says so.
        let mut events = 0;
        for line in &lines {
            let more =
                line.strip_prefix("denied tcp: ").and_then(|rest| rest.strip_suffix(" more were left out"));
            let again = line.split_once(" (").and_then(|(_, rest)| rest.strip_suffix(" more)"));
            match (more, again) {
                (Some(more), _) => events += more.parse::<u64>().expect("a count"),
                (None, Some(again)) => events += 1 + again.parse::<u64>().expect("a count"),
                (None, None) => events += u64::from(line.starts_with("denied tcp ")),
            }
        }
        assert_eq!(events, EVENTS);
        assert!(lines.contains(&"events that came too fast: 7 more were left out".to_owned()), "{lines:?}");
    }
}
