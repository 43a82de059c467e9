use crate::forms::Form;
use crate::scrub::MIN_SCRUB_BYTES;
use crate::skip::Skip;
use crate::{Binding, CompileError};

/// What a fingerprint is of, at most.
const WINDOW_BYTES: usize = 8;
/// Lower and upper case are one, so that hex is found in either.
const FOLD: u64 = 0x2020_2020_2020_2020;

/// Where values may stand in a text.
///
/// It holds no value: beginnings of their forms are kept as keyed fingerprints of four bytes, and what
/// has one is confirmed against the store.
pub(crate) struct Index {
    bindings: Vec<Binding>,
    forms: Vec<ValueForm>,
    skip: Skip,
    /// Fingerprints of the first bytes of each form, one list for each number of bytes up to a window,
    /// in order.
    beginnings: [Vec<(u32, usize)>; WINDOW_BYTES],
    key: u64,
    longest: usize,
    has_space: bool,
}

/// One form of one value.
#[derive(Clone, Copy)]
struct ValueForm {
    binding: usize,
    form: Form,
    bytes: usize,
}

/// A value that was found.
pub(crate) struct Echo {
    pub(crate) bytes: usize,
    /// What it becomes.
    pub(crate) replacement: Vec<u8>,
}

impl Index {
    /// `None` when no value is looked for. Of equal values the first one's placeholder comes back.
    pub(crate) fn compile<'b>(
        bindings: impl Iterator<Item = &'b Binding>,
        key: [u8; 8],
    ) -> Result<Option<Self>, CompileError> {
        let is_searched =
            |binding: &&Binding| binding.scrubs_responses && binding.value.expose().len() >= MIN_SCRUB_BYTES;
        let bindings: Vec<Binding> = bindings.filter(is_searched).cloned().collect();
        if bindings.is_empty() {
            return Ok(None);
        }
        let key = u64::from_le_bytes(key) | 1;
        let mut forms = Vec::new();
        for (binding, own) in bindings.iter().enumerate() {
            // Hex is compared in either case.
            let searched = Form::ALL.into_iter().filter(|form| *form != Form::Hex { is_upper: true });
            forms.extend(searched.map(|form| ValueForm {
                binding,
                form,
                bytes: form.bytes_of(own.value.expose().len()),
            }));
        }
        let byte = |form: &ValueForm, at| form.form.byte(bindings[form.binding].value.expose(), at);
        let first = |form: &ValueForm| {
            std::array::from_fn::<u8, WINDOW_BYTES, _>(|at| byte(form, at).unwrap_or_default())
        };
        let shortest = forms.iter().map(|form| form.bytes).min().unwrap_or(WINDOW_BYTES);
        let skip =
            Skip::new(forms.len(), shortest, key, |form, at| byte(&forms[form], at).unwrap_or_default());
        let beginnings = std::array::from_fn(|last| {
            let list = forms
                .iter()
                .enumerate()
                .map(|(index, form)| (fingerprint(key, &first(form)[..=last]), index));
            let mut list: Vec<_> = list.collect();
            list.sort_unstable();
            list
        });
        let longest = forms.iter().map(|form| form.bytes).max().unwrap_or(0);
        let has_space = bindings.iter().any(|binding| binding.value.expose().contains(&b' '));
        Ok(Some(Self { bindings, forms, skip, beginnings, key, longest, has_space }))
    }

    /// Whether some value has a space, which forms write in a way of their own.
    pub(crate) fn has_space(&self) -> bool {
        self.has_space
    }

    /// The first place at or behind `from` where a value stands, and the longest one there. What may
    /// still grow counts only where `is_last` says that it does not.
    pub(crate) fn find(&self, text: &[u8], from: usize, end: usize) -> Option<(usize, Echo)> {
        let mut at = from;
        while let Some(place) = self.skip.find(text, at).filter(|place| *place < end) {
            if let Some(echo) = self.echo_at(&text[place..]) {
                return Some((place, echo));
            }
            at = place + 1;
        }
        None
    }

    /// The longest form of a value that `text` begins with.
    fn echo_at(&self, text: &[u8]) -> Option<Echo> {
        let whole = self.beginning_with(text).filter(|form| self.common_bytes(form, text) == form.bytes);
        let form = whole.max_by_key(|form| (form.bytes, usize::MAX - form.binding))?;
        let placeholder = self.bindings[form.binding].placeholder.as_str();
        Some(Echo { bytes: form.bytes, replacement: form.form.of(placeholder.as_bytes()) })
    }

    /// Where the longest suffix of `text` begins that may grow into a form; `text.len()` where none does.
    pub(crate) fn open_suffix(&self, text: &[u8]) -> usize {
        let first = text.len().saturating_sub(self.longest.saturating_sub(1));
        let short = text.len().saturating_sub(self.skip.window_bytes() - 1).max(first);
        let mut at = first;
        while let Some(place) = self.skip.find(text, at) {
            if self.is_open(&text[place..]) {
                return place;
            }
            at = place + 1;
        }
        (short..text.len()).find(|start| self.is_open(&text[*start..])).unwrap_or(text.len())
    }

    /// Whether `text` is the beginning of a longer form.
    fn is_open(&self, text: &[u8]) -> bool {
        self.beginning_with(text)
            .any(|form| text.len() < form.bytes && self.common_bytes(form, text) == text.len())
    }

    /// The forms that may begin as `text` does, which is not empty.
    fn beginning_with<'i>(&'i self, text: &[u8]) -> impl Iterator<Item = &'i ValueForm> + use<'i> {
        let window = &text[..text.len().min(WINDOW_BYTES)];
        let wanted = fingerprint(self.key, window);
        let list = &self.beginnings[window.len().saturating_sub(1)];
        let start = list.partition_point(|(own, _)| *own < wanted);
        list[start..].iter().take_while(move |(own, _)| *own == wanted).map(|(_, form)| &self.forms[*form])
    }

    fn common_bytes(&self, form: &ValueForm, text: &[u8]) -> usize {
        form.form.common_bytes(self.bindings[form.binding].value.expose(), text)
    }
}

/// Half of the bits, so that the bytes cannot be told from it.
fn fingerprint(key: u64, bytes: &[u8]) -> u32 {
    let mut window = [0; WINDOW_BYTES];
    window[..bytes.len()].copy_from_slice(bytes);
    let mixed = (u64::from_le_bytes(window) | FOLD).wrapping_mul(key);
    let [.., a, b, c, d] = mixed.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
