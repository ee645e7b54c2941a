//! ggml's graph allocator, replayed: which tensors live at the same time, and how high each backend's buffer grows
//! (llama.cpp b11434 `ggml/src/ggml-alloc.c`: best fit over a free list, reuse in place, release after the last use).

use super::cuda;
use super::scheduler::{Backend, Plan};
use super::tensor::{Home, Id, Op, Tensor};

/// `TENSOR_ALIGNMENT` for host buffers, and CUDA's own, bytes (`ggml/src/ggml-impl.h:44`, `ggml-cuda.cu:898`).
const HOST_ALIGNMENT: u64 = 32;
const CUDA_ALIGNMENT: u64 = 128;

/// The peak of each backend's buffer, bytes, in the order of `backends`; `None` when the allocator's state differs
/// after two nodes of a pair in `equal_after`, or when what lies between them leaves copies behind.
pub(crate) fn peaks(plan: &Plan, backends: &[Backend], equal_after: &[(Id, Id)]) -> Option<Vec<u64>> {
    let mut run = Run::new(plan, backends);
    run.watched = equal_after.iter().flat_map(|(first, second)| [(*first, None), (*second, None)]).collect();
    run.leaves();
    run.inputs();
    run.nodes();
    let state = |id: Id| run.watched.iter().find(|(watched, _)| *watched == id).and_then(|(_, state)| state.as_ref());
    let leaves_copies = |first: Id, second: Id| plan.kept_copies.iter().any(|source| (first..second).contains(source));
    let proven = equal_after.iter().all(|(first, second)| {
        state(*first).is_some() && state(*first) == state(*second) && !leaves_copies(*first, *second)
    });
    proven.then(|| run.heaps.iter().map(|heap| heap.peak).collect())
}

/// The free blocks of every heap, and where the watched node's result is.
type Snapshot = (Vec<Vec<(u64, u64)>>, u8, u64);

/// A buffer that only grows: its free blocks by address, the last one endless.
struct Heap {
    alignment: u64,
    free: Vec<(u64, u64)>,
    peak: u64,
}

impl Heap {
    fn new(alignment: u64) -> Self {
        Self { alignment, free: vec![(0, u64::MAX / 2)], peak: 0 }
    }

    fn take(&mut self, size: u64) -> u64 {
        let size = size.next_multiple_of(self.alignment);
        let mut best = None;
        let mut best_size = u64::MAX;
        let last = self.free.len() - 1;
        // Among equals the highest address wins.
        for (index, (_, available)) in self.free[..last].iter().enumerate() {
            if *available >= size && *available <= best_size {
                best = Some(index);
                best_size = *available;
            }
        }
        let index = best.unwrap_or(last);
        let block = &mut self.free[index];
        let offset = block.0;
        block.0 += size;
        block.1 -= size;
        if block.1 == 0 {
            self.free.remove(index);
        }
        self.peak = self.peak.max(offset + size);
        offset
    }

    /// As ggml does it, block by block: a result without elements leaves an empty block, which later keeps its neighbours from
    /// being joined.
    fn give_back(&mut self, offset: u64, size: u64) {
        let size = size.next_multiple_of(self.alignment);
        for at in 0..self.free.len() {
            let (start, length) = self.free[at];
            if start + length == offset {
                self.free[at].1 += size;
                if self.free.get(at + 1).is_some_and(|next| next.0 == offset + size) {
                    self.free[at].1 += self.free[at + 1].1;
                    self.free.remove(at + 1);
                }
                return;
            }
            if offset + size == start {
                self.free[at] = (offset, length + size);
                if at > 0 && self.free[at - 1].0 + self.free[at - 1].1 == offset {
                    self.free[at - 1].1 += self.free[at].1;
                    self.free.remove(at);
                }
                return;
            }
        }
        let at = self.free.iter().position(|block| block.0 >= offset).unwrap_or(self.free.len());
        self.free.insert(at, (offset, size));
    }
}

#[derive(Clone, Copy, Default)]
struct State {
    children: i32,
    views: i32,
    backend: u8,
    allocated: bool,
    offset: u64,
}

struct Run<'a> {
    plan: &'a Plan,
    backends: &'a [Backend],
    heaps: Vec<Heap>,
    states: Vec<State>,
    /// Nodes after which the state is kept.
    watched: Vec<(Id, Option<Snapshot>)>,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, backends: &'a [Backend]) -> Self {
        let heaps = backends
            .iter()
            .map(|backend| Heap::new(if backend.is_host() { HOST_ALIGNMENT } else { CUDA_ALIGNMENT }))
            .collect();
        Self { plan, backends, heaps, states: vec![State::default(); plan.tensors.len()], watched: Vec::new() }
    }

    fn tensor(&self, id: u32) -> &'a Tensor {
        &self.plan.tensors[id as usize]
    }

    fn state(&mut self, id: u32) -> &mut State {
        &mut self.states[id as usize]
    }

    fn size(&self, id: u32, backend: u8) -> u64 {
        match &self.backends[backend as usize] {
            Backend::Host => self.tensor(id).bytes(),
            Backend::Cuda(device) => cuda::allocation_bytes(&self.plan.tensors, id, device),
        }
    }

    fn leaves(&mut self) {
        for &(leaf, backend) in &self.plan.leaves {
            self.allocate(leaf, backend);
        }
    }

    /// Counts who uses what, and gives inputs their places before anything else.
    fn inputs(&mut self) {
        for &(id, backend) in &self.plan.nodes {
            let node = self.tensor(id);
            if node.is_view() && node.op != Op::None {
                self.state(node.view_of).views += 1;
            }
            if node.is_input {
                self.allocate(id, backend);
            }
            for source in node.sources() {
                self.state(source).children += 1;
                if self.tensor(source).is_input {
                    self.allocate(source, backend);
                }
            }
        }
    }

    fn nodes(&mut self) {
        for &(id, backend) in &self.plan.nodes {
            let node = self.tensor(id);
            for source in node.sources() {
                self.allocate(source, backend);
            }
            self.allocate(id, backend);
            for source in node.sources() {
                self.released(source);
            }
            if let Some(at) = self.watched.iter().position(|(watched, _)| *watched == id) {
                let state = self.states[id as usize];
                let free = self.heaps.iter().map(|heap| heap.free.clone()).collect();
                self.watched[at].1 = Some((free, state.backend, state.offset));
            }
        }
    }

    fn allocate(&mut self, id: u32, backend: u8) {
        let tensor = self.tensor(id);
        if tensor.home != Home::Computed || tensor.is_view() || self.states[id as usize].allocated {
            return;
        }
        self.state(id).allocated = true;
        if tensor.op.can_be_in_place() && self.reuse_a_source(id) {
            return;
        }
        let size = self.size(id, backend);
        let offset = self.heaps[backend as usize].take(size);
        let state = self.state(id);
        state.backend = backend;
        state.offset = offset;
    }

    /// Takes over the place of a source that nobody else will read. A view owns no place, so it never hands one on.
    fn reuse_a_source(&mut self, id: u32) -> bool {
        let tensor = self.tensor(id);
        for source in tensor.sources() {
            let parent = self.tensor(source);
            let from = self.states[source as usize];
            if from.allocated
                && !parent.is_output
                && from.children == 1
                && from.views == 0
                && tensor.same_layout(parent)
            {
                self.state(source).allocated = false;
                let state = self.state(id);
                state.backend = from.backend;
                state.offset = from.offset;
                self.free_tail(id, source, from);
                return true;
            }
        }
        false
    }

    /// Gives back what the old owner had beyond the new one's need.
    fn free_tail(&mut self, id: u32, owner: u32, from: State) {
        let alignment = self.heaps[from.backend as usize].alignment;
        let old = self.size(owner, from.backend).next_multiple_of(alignment);
        let new = self.size(id, from.backend).next_multiple_of(alignment);
        if old > new {
            self.heaps[from.backend as usize].give_back(from.offset + new, old - new);
        }
    }

    fn released(&mut self, source: u32) {
        let state = self.state(source);
        state.children -= 1;
        if state.children != 0 || state.views != 0 {
            return;
        }
        let parent = self.tensor(source);
        let owner = if parent.is_view() {
            let root = self.state(parent.view_of);
            root.views -= 1;
            if root.views != 0 || root.children != 0 {
                return;
            }
            parent.view_of
        } else {
            source
        };
        let state = self.states[owner as usize];
        if state.allocated && !self.tensor(owner).is_output {
            let size = self.size(owner, state.backend);
            self.heaps[state.backend as usize].give_back(state.offset, size);
            self.state(owner).allocated = false;
        }
    }
}
