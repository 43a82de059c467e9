/// Values by a small number that is given again once its value was removed.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    values: Vec<Option<T>>,
    vacant: Vec<usize>,
}

impl<T> Slots<T> {
    pub(crate) fn new() -> Self {
        Self { values: Vec::new(), vacant: Vec::new() }
    }

    /// The number of values.
    pub(crate) fn len(&self) -> usize {
        self.values.len() - self.vacant.len()
    }

    pub(crate) fn insert(&mut self, value: T) -> usize {
        match self.vacant.pop() {
            Some(slot) => {
                self.values[slot] = Some(value);
                slot
            }
            None => {
                self.values.push(Some(value));
                self.values.len() - 1
            }
        }
    }

    pub(crate) fn get(&self, slot: usize) -> Option<&T> {
        self.values.get(slot)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.values.get_mut(slot)?.as_mut()
    }

    pub(crate) fn remove(&mut self, slot: usize) -> Option<T> {
        let value = self.values.get_mut(slot)?.take()?;
        self.vacant.push(slot);
        Some(value)
    }
}
