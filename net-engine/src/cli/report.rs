use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::Event;

/// The same line is printed again only after this long, with how often it was held back.
const REPEAT: Duration = Duration::from_secs(1);

/// Lines remembered for that; a guest that invents more is printed more.
const MAX_REMEMBERED: usize = 256;

/// Prints events to standard error, one readable line each.
#[derive(Default)]
pub(super) struct Reporter {
    remembered: HashMap<String, (Instant, u64)>,
}

impl Reporter {
    pub(super) fn report(&mut self, event: &Event) {
        if let Some(line) = self.line(event.to_string(), now()) {
            eprintln!("net-engine: {line}");
        }
    }

    /// The line to print, if any.
    fn line(&mut self, text: String, now: Instant) -> Option<String> {
        if let Some((printed, held)) = self.remembered.get_mut(&text) {
            if now < *printed + REPEAT {
                *held += 1;
                return None;
            }
            let suffix = if *held == 0 { String::new() } else { format!(" ({held} more)") };
            (*printed, *held) = (now, 0);
            return Some(format!("{text}{suffix}"));
        }
        if self.remembered.len() >= MAX_REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert(text.clone(), (now, 0));
        Some(text)
    }
}

#[allow(clippy::disallowed_methods, reason = "the binary owns the clock")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_line_is_counted_not_printed() {
        let mut reporter = Reporter::default();
        let start = now();
        let line = |reporter: &mut Reporter, millis| {
            reporter.line("denied".to_owned(), start + Duration::from_millis(millis))
        };
        assert_eq!(line(&mut reporter, 0).as_deref(), Some("denied"));
        assert_eq!(line(&mut reporter, 10), None);
        assert_eq!(line(&mut reporter, 20), None);
        assert_eq!(line(&mut reporter, 1500).as_deref(), Some("denied (2 more)"));
    }
}
