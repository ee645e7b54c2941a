//! ggml's backend scheduler, replayed: which backend computes each tensor, where the graph is cut, and what is copied at each cut
//! (llama.cpp b11434 `ggml/src/ggml-backend.cpp:1206`).

use std::collections::{HashMap, HashSet};

use super::cuda::{self, CudaDevice};
use super::fusion;
use super::tensor::{Graph, Home, Id, MAX_SOURCES, NONE, Op, Place, Tensor};

/// `GGML_SCHED_MAX_COPIES`: how often inputs exist when several GPUs work as a pipeline.
pub(crate) const PIPELINE_COPIES: u32 = 4;
/// From this many rows on, an op over a host weight runs on the first GPU (`GGML_OP_OFFLOAD_MIN_BATCH`).
const OFFLOAD_ROWS: u64 = 32;

/// One backend; the host comes last.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Backend {
    Cuda(CudaDevice),
    Host,
}

impl Backend {
    pub(crate) const fn is_host(&self) -> bool {
        matches!(self, Self::Host)
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) op_offload: bool,
    /// 1, or [`PIPELINE_COPIES`].
    pub(crate) copies: u32,
    /// b11434 copies every input of the graph for a pipeline, v0.5.0 only those that are read.
    pub(crate) copies_unread_inputs: bool,
    pub(crate) fusions: fusion::Rules,
}

/// The graph as the allocator sees it: copies and keep-alive nodes added, each node with its backend.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) nodes: Vec<(Id, u8)>,
    pub(crate) leaves: Vec<(Id, u8)>,
    /// The backend of each tensor of the graph, or -1.
    pub(crate) assigned: Vec<i8>,
    /// What is copied once for each step of a pipeline, and stays.
    pub(crate) kept_copies: Vec<Id>,
}

struct Split {
    backend: u8,
    start: usize,
    end: usize,
    inputs: Vec<Id>,
}

struct Scheduler<'a> {
    graph: Graph,
    backends: &'a [Backend],
    options: Options,
    assigned: Vec<i8>,
    /// By tensor and backend, the first of `copies` consecutive copies.
    copies: HashMap<(Id, u8), Vec<Id>>,
    /// Inputs that a node reads, and not through a view.
    read_inputs: HashSet<Id>,
}

pub(crate) fn plan(graph: Graph, backends: &[Backend], options: Options) -> Plan {
    let assigned = graph.tensors.iter().map(|tensor| tensor.pinned_backend).collect();
    let mut scheduler =
        Scheduler { graph, backends, options, assigned, copies: HashMap::new(), read_inputs: HashSet::new() };
    scheduler.assign_by_residents();
    scheduler.expand_assignments();
    scheduler.assign_the_rest();
    let splits = scheduler.split();
    scheduler.assemble(&splits)
}

impl Scheduler<'_> {
    fn host(&self) -> i8 {
        (self.backends.len() - 1) as i8
    }

    fn supports(&self, backend: i8, id: Id) -> bool {
        match &self.backends[backend as usize] {
            Backend::Host => true,
            Backend::Cuda(device) => cuda::supports(&self.graph.tensors, id, device),
        }
    }

    /// Where the bytes behind a tensor are, if they are there before the graph runs.
    fn resident(&self, id: Id) -> Option<Place> {
        let tensor = self.graph.get(id);
        let owner = if tensor.is_view() { self.graph.get(tensor.view_of) } else { tensor };
        match owner.home {
            Home::Computed => None,
            Home::Weight(place) | Home::Cache(place) => Some(place),
        }
    }

    fn reaches(&self, backend: i8, place: Place) -> bool {
        match place {
            Place::Device(device) => backend == device as i8,
            Place::Host => backend == self.host(),
        }
    }

    /// The backend that can run `op` where `id` is resident.
    fn backend_of_resident(&self, id: Id, op: Id) -> i8 {
        let Some(place) = self.resident(id) else { return -1 };
        let backend = match place {
            Place::Device(device) => device as i8,
            Place::Host => self.host(),
        };
        if self.supports(backend, op) { backend } else { -1 }
    }

    fn backend_from_residents(&self, id: Id) -> i8 {
        let own = self.backend_of_resident(id, id);
        if own != -1 {
            return own;
        }
        let tensor = self.graph.get(id);
        if tensor.is_input {
            return self.host();
        }
        // A rope's factors and an attention's sinks are too small to say where it runs.
        if matches!(tensor.op, Op::Rope | Op::FlashAttention) {
            return -1;
        }
        for source in tensor.sources() {
            if !matches!(self.graph.get(source).home, Home::Weight(_)) {
                continue;
            }
            let backend = self.backend_of_resident(source, id);
            if self.options.op_offload
                && backend == self.host()
                && offload_rows(tensor) >= OFFLOAD_ROWS
                && let Some(gpu) = (0..backend).find(|gpu| self.supports(*gpu, id))
            {
                return gpu;
            }
            return backend;
        }
        -1
    }

    fn assign_by_residents(&mut self) {
        for at in 0..self.graph.leaves.len() + self.graph.nodes.len() {
            let id =
                self.graph.leaves.get(at).copied().unwrap_or_else(|| self.graph.nodes[at - self.graph.leaves.len()]);
            if self.assigned[id as usize] == -1 {
                self.assigned[id as usize] = self.backend_from_residents(id);
            }
        }
    }

    /// Nodes between assigned ones follow their neighbours: first GPUs down and up, then everything.
    fn expand_assignments(&mut self) {
        let nodes = std::mem::take(&mut self.graph.nodes);
        self.expand(nodes.iter(), true);
        self.expand(nodes.iter().rev(), true);
        self.expand(nodes.iter(), false);
        self.expand(nodes.iter().rev(), false);
        self.graph.nodes = nodes;
    }

    fn expand<'n>(&mut self, nodes: impl Iterator<Item = &'n Id>, gpus_only: bool) {
        let mut current = -1;
        for &id in nodes {
            if self.graph.get(id).op.is_view() {
                continue;
            }
            let assigned = self.assigned[id as usize];
            if assigned != -1 {
                current = if gpus_only && assigned == self.host() { -1 } else { assigned };
            } else if current != -1 && self.supports(current, id) {
                self.assigned[id as usize] = current;
            }
        }
    }

    fn reachable(&self, id: Id, backend: i8) -> bool {
        if let Some(place) = self.resident(id) {
            return self.reaches(backend, place);
        }
        let tensor = self.graph.get(id);
        let mut owner = self.assigned[id as usize];
        if owner == -1 && tensor.is_view() {
            owner = self.assigned[tensor.view_of as usize];
        }
        owner != -1 && owner == backend
    }

    fn assign_the_rest(&mut self) {
        for at in 0..self.graph.nodes.len() {
            let id = self.graph.nodes[at];
            if self.graph.get(id).op.is_view() || self.assigned[id as usize] != -1 {
                continue;
            }
            // No neighbour could run it: the backend that reaches most of its sources.
            let mut most = -1;
            for backend in 0..self.backends.len() as i8 {
                if self.supports(backend, id) {
                    let reached =
                        self.graph.get(id).sources().filter(|source| self.reachable(*source, backend)).count() as i32;
                    if reached > most {
                        most = reached;
                        self.assigned[id as usize] = backend;
                    }
                }
            }
        }
        for at in 0..self.graph.nodes.len() {
            let id = self.graph.nodes[at];
            let tensor = *self.graph.get(id);
            if tensor.is_view() && self.assigned[id as usize] == -1 {
                self.assigned[id as usize] = self.assigned[tensor.view_of as usize];
            }
            for source in tensor.sources() {
                if self.assigned[source as usize] == -1 {
                    let view_of = self.graph.get(source).view_of;
                    self.assigned[source as usize] =
                        if view_of == NONE { self.assigned[id as usize] } else { self.assigned[view_of as usize] };
                }
            }
            if self.assigned[id as usize] == -1 {
                let first = (0..self.backends.len() as i8).find(|backend| self.supports(*backend, id));
                self.assigned[id as usize] = first.unwrap_or(self.host());
            }
        }
    }

    fn split(&mut self) -> Vec<Split> {
        let nodes = std::mem::take(&mut self.graph.nodes);
        let first = nodes.iter().find(|id| !self.graph.get(**id).op.is_view());
        let mut current = first.map_or(self.host(), |id| self.assigned[*id as usize]);
        let mut splits = vec![Split { backend: current as u8, start: 0, end: nodes.len(), inputs: Vec::new() }];
        for (at, &id) in nodes.iter().enumerate() {
            let tensor = *self.graph.get(id);
            if tensor.op.is_view() {
                continue;
            }
            let backend = self.assigned[id as usize];
            let has_inputs = splits.last().is_some_and(|split| !split.inputs.is_empty());
            // A new split lets the memory of the weights that the last one copied be used again.
            let copies_a_weight = backend == current
                && has_inputs
                && tensor.sources().any(|source| {
                    matches!(self.graph.get(source).home, Home::Weight(_))
                        && self.assigned[source as usize] != current
                        && !self.reachable(source, current)
                });
            if backend != current || copies_a_weight {
                if let Some(split) = splits.last_mut() {
                    split.end = at;
                }
                splits.push(Split { backend: backend as u8, start: at, end: nodes.len(), inputs: Vec::new() });
                current = backend;
            }
            for slot in 0..MAX_SOURCES {
                let source = tensor.sources[slot];
                if source != NONE && self.options.copies > 1 && self.graph.get(source).is_input {
                    self.read_inputs.insert(source);
                }
                if source == NONE || self.assigned[source as usize] == current || self.reachable(source, current) {
                    continue;
                }
                if !self.copies.contains_key(&(source, current as u8)) {
                    self.copy(source, current as u8);
                    if let Some(split) = splits.last_mut() {
                        split.inputs.push(source);
                    }
                }
                let copy = self.copies[&(source, current as u8)][0];
                self.graph.get_mut(id).sources[slot] = copy;
            }
        }
        self.graph.nodes = nodes;
        splits
    }

    fn copy(&mut self, source: Id, backend: u8) {
        let copies = (0..self.options.copies).map(|_| self.copy_once(source)).collect();
        self.copies.insert((source, backend), copies);
    }

    fn copy_once(&mut self, source: Id) -> Id {
        let (kind, ne, nb) = (self.graph.get(source).kind, self.graph.get(source).ne, self.graph.get(source).nb);
        let copy = self.graph.push(kind, Op::None, ne, &[]);
        let pipelined = self.options.copies > 1;
        let tensor = self.graph.get_mut(copy);
        tensor.nb = nb;
        tensor.is_input = pipelined;
        tensor.is_output = pipelined;
        copy
    }

    /// Every input of the graph exists once for each step of the pipeline.
    fn copy_graph_inputs(&mut self) -> Vec<Id> {
        let mut inputs = Vec::new();
        if self.options.copies == 1 {
            return inputs;
        }
        for at in 0..self.graph.leaves.len() {
            let leaf = self.graph.leaves[at];
            if !self.graph.get(leaf).is_input
                || (!self.options.copies_unread_inputs && !self.read_inputs.contains(&leaf))
            {
                continue;
            }
            let backend = self.assigned[leaf as usize] as u8;
            let mut copies = vec![leaf];
            copies.extend((1..self.options.copies).map(|_| self.copy_once(leaf)));
            self.graph.get_mut(leaf).is_output = true;
            self.copies.insert((leaf, backend), copies);
            inputs.push(leaf);
        }
        inputs
    }

    fn assemble(mut self, splits: &[Split]) -> Plan {
        let graph_inputs = self.copy_graph_inputs();
        let mut order = std::mem::take(&mut self.graph.nodes);
        let mut kept = fusion::Kept::new();
        for split in splits {
            if !self.backends[split.backend as usize].is_host() {
                fusion::keep_alive(
                    &self.graph.tensors,
                    &mut order[split.start..split.end],
                    self.options.fusions,
                    &mut kept,
                );
            }
        }

        let mut nodes = Vec::with_capacity(order.len() + 64);
        let mut leaves = Vec::with_capacity(self.graph.leaves.len() + 64);
        for split in splits {
            for &input in &split.inputs {
                let hold = self.hold(&[input]);
                nodes.push((hold, self.assigned[input as usize] as u8));
                nodes.push((self.copies[&(input, split.backend)][0], split.backend));
            }
            for &id in &order[split.start..split.end] {
                nodes.push((id, self.assigned[id as usize] as u8));
                if let Some(tensors) = kept.get(&id) {
                    for part in tensors.chunks(MAX_SOURCES) {
                        let hold = self.hold(part);
                        nodes.push((hold, split.backend));
                    }
                }
            }
        }
        if self.options.copies > 1 {
            for &input in &graph_inputs {
                let backend = self.assigned[input as usize] as u8;
                leaves.extend(self.copies[&(input, backend)].iter().map(|copy| (*copy, backend)));
            }
            for split in splits {
                for input in &split.inputs {
                    leaves.extend(self.copies[&(*input, split.backend)].iter().map(|copy| (*copy, split.backend)));
                }
            }
        }
        for &leaf in &self.graph.leaves {
            leaves.push((leaf, self.assigned[leaf as usize].max(0) as u8));
        }
        let kept_copies =
            if self.options.copies > 1 { self.copies.keys().map(|(source, _)| *source).collect() } else { Vec::new() };
        Plan { tensors: self.graph.tensors, nodes, leaves, assigned: self.assigned, kept_copies }
    }

    /// A node that computes nothing and keeps `tensors` alive up to here.
    fn hold(&mut self, tensors: &[Id]) -> Id {
        let of = *self.graph.get(tensors[0]);
        let hold = self.graph.push(of.kind, Op::None, of.ne, tensors);
        let view_of = if of.is_view() { of.view_of } else { tensors[0] };
        let tensor = self.graph.get_mut(hold);
        tensor.nb = of.nb;
        tensor.view_of = view_of;
        hold
    }
}

/// The rows that decide whether an op over a host weight is worth a GPU (`ggml-cuda.cu:5739`).
fn offload_rows(tensor: &Tensor) -> u64 {
    match tensor.op {
        Op::GetRows => 0,
        Op::MulMat => tensor.ne[1],
        Op::MulMatId | Op::Rope => tensor.ne[2],
        _ => tensor.rows(),
    }
}
