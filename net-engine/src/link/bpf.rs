//! Classic BPF, as the kernel runs it on packets (the kernel's `networking/filter` document).

use nix::libc::{BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, sock_filter};

/// A program under construction. All jumps go forward, and are filled in once their labels are known.
pub(super) struct Assembly<L> {
    code: Vec<sock_filter>,
    jumps: Vec<Jump<L>>,
    labels: Vec<(L, usize)>,
}

struct Jump<L> {
    at: usize,
    if_true: Option<L>,
    if_false: Option<L>,
}

impl<L: Copy + PartialEq> Assembly<L> {
    pub(super) fn new() -> Self {
        Self { code: Vec::new(), jumps: Vec::new(), labels: Vec::new() }
    }

    pub(super) fn push(&mut self, code: u32, k: u32) {
        // Opcodes are below 2^8.
        self.code.push(sock_filter { code: u16::try_from(code).unwrap_or(u16::MAX), jt: 0, jf: 0, k });
    }

    pub(super) fn load(&mut self, size: u32, mode: u32, k: u32) {
        self.push(BPF_LD | size | mode, k);
    }

    /// Goes to a label by what A is, or to the next instruction where there is none.
    pub(super) fn jump(
        &mut self,
        test: u32,
        k: u32,
        if_true: impl Into<Option<L>>,
        if_false: impl Into<Option<L>>,
    ) {
        let at = self.code.len();
        self.jumps.push(Jump { at, if_true: if_true.into(), if_false: if_false.into() });
        self.push(BPF_JMP | test | BPF_K, k);
    }

    pub(super) fn goto(&mut self, to: L) {
        self.jump(BPF_JEQ, 0, to, to);
    }

    /// Gives the next instruction a name.
    pub(super) fn label(&mut self, label: L) {
        self.labels.push((label, self.code.len()));
    }

    /// The program. No jump may be longer than 255 instructions.
    pub(super) fn finish(mut self) -> Vec<sock_filter> {
        for Jump { at, if_true, if_false } in self.jumps {
            let distance = |to: Option<L>| {
                let target = self.labels.iter().find(|(label, _)| Some(*label) == to);
                let target = target.map_or(at + 1, |(_, target)| *target);
                u8::try_from(target - at - 1).unwrap_or(0)
            };
            (self.code[at].jt, self.code[at].jf) = (distance(if_true), distance(if_false));
        }
        self.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_lead_to_their_labels_or_go_on() {
        let mut asm = Assembly::new();
        asm.jump(BPF_JEQ, 7, 'b', None);
        asm.jump(BPF_JEQ, 8, None, 'a');
        asm.goto('b');
        asm.label('a');
        asm.push(BPF_K, 1);
        asm.label('b');
        asm.push(BPF_K, 2);
        let jumps: Vec<_> = asm.finish().iter().map(|step| (step.jt, step.jf)).collect();
        assert_eq!(jumps, [(3, 0), (0, 1), (1, 1), (0, 0), (0, 0)]);
    }
}
