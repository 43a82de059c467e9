/// Lists of slots in the order of their last use: to use, to add and to remove one costs the same in
/// a list of any length.
///
/// The links of all lists are here, their [`Ends`] with whoever owns a list. A slot is in one list at
/// most.
#[derive(Debug, Default)]
pub(crate) struct Recency {
    links: Vec<Link>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    older: Option<usize>,
    newer: Option<usize>,
}

/// The two ends of one list.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ends {
    oldest: Option<usize>,
    newest: Option<usize>,
}

impl Ends {
    /// The slot that was not used for longest.
    pub(crate) fn oldest(&self) -> Option<usize> {
        self.oldest
    }

    /// Whether there is exactly one slot.
    pub(crate) fn is_single(&self) -> bool {
        self.oldest.is_some() && self.oldest == self.newest
    }
}

impl Recency {
    /// Adds a slot that is in no list.
    pub(crate) fn append(&mut self, list: &mut Ends, slot: usize) {
        if slot >= self.links.len() {
            self.links.resize(slot + 1, Link::default());
        }
        self.links[slot] = Link { older: list.newest, newer: None };
        match list.newest {
            Some(newest) => self.links[newest].newer = Some(slot),
            None => list.oldest = Some(slot),
        }
        list.newest = Some(slot);
    }

    /// Removes a slot of this list.
    pub(crate) fn remove(&mut self, list: &mut Ends, slot: usize) {
        let Link { older, newer } = self.links[slot];
        match older {
            Some(older) => self.links[older].newer = newer,
            None => list.oldest = newer,
        }
        match newer {
            Some(newer) => self.links[newer].older = older,
            None => list.newest = older,
        }
    }

    /// A slot of this list is used.
    pub(crate) fn touch(&mut self, list: &mut Ends, slot: usize) {
        if list.newest != Some(slot) {
            self.remove(list, slot);
            self.append(list, slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn two_lists_agree_with_two_vectors(ops in proptest::collection::vec((0usize..6, 0u8..3, any::<bool>()), 0..200)) {
            let mut recency = Recency::default();
            let mut lists = [Ends::default(); 2];
            let mut models = [const { Vec::<usize>::new() }; 2];
            for (slot, op, which) in ops {
                let which = usize::from(which);
                let home = models.iter().position(|model| model.contains(&slot));
                match (op, home) {
                    (0, None) => {
                        recency.append(&mut lists[which], slot);
                        models[which].push(slot);
                    }
                    (1, Some(home)) => {
                        recency.remove(&mut lists[home], slot);
                        models[home].retain(|other| *other != slot);
                    }
                    (2, Some(home)) => {
                        recency.touch(&mut lists[home], slot);
                        models[home].retain(|other| *other != slot);
                        models[home].push(slot);
                    }
                    _ => {}
                }
                for (list, model) in lists.iter().zip(&models) {
                    let mut seen = Vec::new();
                    let mut next = list.oldest();
                    while let Some(slot) = next {
                        seen.push(slot);
                        next = recency.links[slot].newer;
                    }
                    prop_assert_eq!(&seen, model);
                    prop_assert_eq!(list.newest, model.last().copied());
                }
            }
        }
    }
}
