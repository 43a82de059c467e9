use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Ports as inclusive ranges; the empty set means every port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortSet(Vec<(u16, u16)>);

/// Why text is no [`PortSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("ports are numbers from 1 to 65535 or ranges of them, as in `443` or `8000-8080`")]
pub struct PortSetError;

impl PortSet {
    /// Every port.
    pub const fn any() -> Self {
        Self(Vec::new())
    }

    /// One port.
    pub fn single(port: u16) -> Self {
        Self(vec![(port, port)])
    }

    /// Whether every port is in the set.
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `port` is in the set.
    pub fn contains(&self, port: u16) -> bool {
        self.is_any() || self.0.iter().any(|(first, last)| (*first..=*last).contains(&port))
    }

    /// Whether every port of `other` is in the set.
    pub(crate) fn contains_all(&self, other: &Self) -> bool {
        let own = self.merged();
        let is_inside = |(first, last): &(u16, u16)| own.iter().any(|own| own.0 <= *first && *last <= own.1);
        self.is_any() || (!other.is_any() && other.merged().iter().all(is_inside))
    }

    /// Whether some port is in both sets.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let is_shared = |own: &(u16, u16)| other.0.iter().any(|other| own.0 <= other.1 && other.0 <= own.1);
        self.is_any() || other.is_any() || self.0.iter().any(is_shared)
    }

    /// The ranges in ascending order, joined where they touch; empty where every port is in the set.
    pub(crate) fn merged(&self) -> Vec<(u16, u16)> {
        let mut ranges = self.0.clone();
        ranges.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                Some(_) | None => merged.push((first, last)),
            }
        }
        merged
    }

    /// Adds a range.
    ///
    /// # Errors
    /// [`PortSetError`] when it is empty or starts at 0.
    pub fn with(mut self, first: u16, last: u16) -> Result<Self, PortSetError> {
        if first == 0 || first > last {
            return Err(PortSetError);
        }
        self.0.push((first, last));
        Ok(self)
    }
}

impl FromStr for PortSet {
    type Err = PortSetError;

    /// Parses `443`, `8000-8080` or several of them joined by commas.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').try_fold(Self::any(), |set, part| {
            let number = |text: &str| match text.as_bytes() {
                [b'0'..=b'9', ..] => text.parse::<u16>().map_err(|_| PortSetError),
                _ => Err(PortSetError),
            };
            match part.split_once('-') {
                Some((first, last)) => set.with(number(first)?, number(last)?),
                None => number(part).and_then(|port| set.with(port, port)),
            }
        })
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            return f.write_str("*");
        }
        for (index, (first, last)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}
