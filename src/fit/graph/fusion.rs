//! Which tensors CUDA keeps alive longer so that it can fuse the nodes of an expert layer (llama.cpp b11434 `ggml-cuda.cu:4604`).

use std::collections::HashMap;

use super::tensor::{Home, Id, NONE, Op, Tensor};
use crate::gguf::TensorType;

/// By node, the tensors that stay until it is computed.
pub(crate) type Kept = HashMap<Id, Vec<Id>>;

/// What a build fuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// `GGML_CUDA` sums weighted experts in one kernel.
    pub(crate) weighted_reduction: bool,
    /// Routed and shared experts in one kernel.
    pub(crate) shared_expert: bool,
    /// The router's softmax, sort and gather in one kernel.
    pub(crate) router: bool,
    /// Experts that one weighted reduction may sum.
    pub(crate) reduction_experts: u64,
}

struct Split<'a> {
    tensors: &'a [Tensor],
    nodes: &'a mut [Id],
}

/// Collects into `kept` what the fusions of one split keep alive; reorders the split as CUDA does.
pub(crate) fn keep_alive(tensors: &[Tensor], nodes: &mut [Id], rules: Rules, kept: &mut Kept) {
    let mut split = Split { tensors, nodes };
    if rules.shared_expert {
        split.shared_experts(kept);
    }
    let mut at = 0;
    while at < split.nodes.len() {
        if rules.weighted_reduction
            && let Some((length, keep)) = split.weighted_reduction(at, rules.reduction_experts)
        {
            let last = split.nodes[at + length - 1];
            for id in keep {
                hold(kept, last, id);
            }
            // The reduction's last node is looked at once more for a router that starts there.
            at += length - 1;
        }
        if rules.router
            && let Some(length) = split.router(at)
        {
            if let Some(&until) = split.nodes.get(at + length) {
                for id in at..at + length {
                    let node = split.nodes[id];
                    hold(kept, until, node);
                    split.tensor(node).sources().for_each(|source| hold(kept, until, source));
                }
            }
            at += length - 1;
        }
        at += 1;
    }
}

fn hold(kept: &mut Kept, until: Id, id: Id) {
    let list = kept.entry(until).or_default();
    if !list.contains(&id) {
        list.push(id);
    }
}

impl Split<'_> {
    fn tensor(&self, id: Id) -> &Tensor {
        &self.tensors[id as usize]
    }

    fn node(&self, at: usize) -> Option<&Tensor> {
        self.nodes.get(at).map(|id| self.tensor(*id))
    }

    fn op(&self, at: usize) -> Op {
        self.node(at).map_or(Op::None, |node| node.op)
    }

    fn source(&self, at: usize, slot: usize) -> Id {
        self.node(at).map_or(NONE, |node| node.sources[slot])
    }

    fn id(&self, at: usize) -> Id {
        self.nodes.get(at).copied().unwrap_or(NONE)
    }

    /// All nodes at `at` but the outputs are computed, and used by later nodes of the set alone (`ggml_can_fuse_subgraph_ext`).
    fn is_closed(&self, at: &[usize], outputs: &[usize]) -> bool {
        at.iter().enumerate().all(|(position, &index)| {
            let Some(node) = self.node(index) else { return false };
            if !node.is_computed {
                return false;
            }
            if outputs.contains(&index) {
                return true;
            }
            let id = self.id(index);
            let inside: usize = at[position + 1..]
                .iter()
                .map(|later| self.node(*later).map_or(0, |node| node.sources().filter(|source| *source == id).count()))
                .sum();
            let views_inside = node.view_of == NONE
                || at.iter().any(|other| self.id(*other) == node.view_of)
                || matches!(self.tensor(node.view_of).home, Home::Weight(_));
            !node.is_output && inside == node.uses as usize && views_inside
        })
    }

    /// Expert outputs times router weights, summed expert by expert.
    fn weighted_reduction(&self, at: usize, most_experts: u64) -> Option<(usize, Vec<Id>)> {
        let first = self.node(at)?;
        if first.op != Op::Mul || first.kind != TensorType::F32 || !first.is_contiguous() {
            return None;
        }
        let split = |mul: &Tensor| -> Option<(Id, Id)> {
            let is_full = |id: Id| {
                let tensor = self.tensor(id);
                tensor.kind == TensorType::F32 && tensor.is_contiguous() && tensor.ne == mul.ne
            };
            let is_weights = |id: Id| {
                let tensor = self.tensor(id);
                tensor.kind == TensorType::F32
                    && tensor.is_contiguous()
                    && tensor.ne[0] == 1
                    && tensor.ne[1..] == mul.ne[1..]
            };
            let [a, b] = [mul.sources[0], mul.sources[1]];
            if is_full(a) && is_weights(b) {
                Some((a, b))
            } else if is_full(b) && is_weights(a) {
                Some((b, a))
            } else {
                None
            }
        };
        let (mut weighted, mut weighted_id, mut muls) = (first, self.id(at), 1);
        let mut keep = Vec::new();
        if let Some(second) = self.node(at + 1).filter(|node| node.op == Op::Mul && node.is_contiguous())
            && let (Some((scaled, route)), Some((raw, scale))) = (split(second), split(first))
            && scaled == weighted_id
        {
            (weighted, weighted_id, muls) = (second, self.id(at + 1), 2);
            keep = vec![raw, route, scale];
        }
        if keep.is_empty() {
            let (experts, weights) = split(first)?;
            keep = vec![experts, weights];
        }
        let experts = weighted.ne[1];
        let tokens = weighted.ne[2] * weighted.ne[3];
        if !(2..=most_experts).contains(&experts) {
            return None;
        }
        let length = 2 * experts as usize + muls - 1;
        if at + length > self.nodes.len() {
            return None;
        }
        let (mut views, mut previous, mut adds) = (Vec::new(), NONE, 0);
        for index in at + muls..at + length {
            let node = self.node(index)?;
            if node.op == Op::View {
                let expert = views.len() as u64;
                let fits = expert < experts
                    && node.sources[0] == weighted_id
                    && node.view_of == weighted_id
                    && node.ne == [weighted.ne[0], tokens, 1, 1]
                    && node.nb[1] == weighted.nb[2]
                    && node.view_offset == expert * weighted.nb[1];
                if !fits {
                    return None;
                }
                views.push(self.id(index));
                continue;
            }
            if node.op != Op::Add || views.len() < 2 || adds + 1 >= views.len() {
                return None;
            }
            let left = if adds == 0 { views[0] } else { previous };
            if node.sources[0] != left || node.sources[1] != views[adds + 1] {
                return None;
            }
            previous = self.id(index);
            adds += 1;
        }
        if views.len() as u64 != experts || adds as u64 != experts - 1 {
            return None;
        }
        let all: Vec<usize> = (at..at + length).collect();
        self.is_closed(&all, &[at + length - 1]).then_some((length, keep))
    }

    /// Router: probabilities, sort, gather, and what follows. The number of nodes that fuse.
    fn router(&self, start: usize) -> Option<usize> {
        let mut at = start;
        match self.op(at) {
            Op::SoftMax | Op::Sigmoid => {}
            Op::Softplus if self.op(at + 1) == Op::Sqrt && self.source(at + 1, 0) == self.id(at) => at += 1,
            _ => return None,
        }
        let gate = at;
        let follows = |at: usize, op: Op| self.op(at) == op && self.source(at, 0) == self.id(at - 1);
        at += 1;
        if !follows(at, Op::Reshape) {
            return None;
        }
        let reshaped = self.id(at);
        at += 1;
        let biased = self.op(at) == Op::Add && self.source(at, 0) == self.id(gate);
        if biased {
            at += 1;
        }
        let sorted = if biased { self.id(at - 1) } else { self.id(gate) };
        if self.op(at) != Op::Argsort || self.source(at, 0) != sorted {
            return None;
        }
        at += 1;
        if !follows(at, Op::View) {
            return None;
        }
        let ids = at;
        at += 1;
        if self.op(at) != Op::GetRows || self.source(at, 0) != reshaped || self.source(at, 1) != self.id(ids) {
            return None;
        }
        at += 1;
        let normed = follows(at, Op::Reshape)
            && follows(at + 1, Op::SumRows)
            && follows(at + 2, Op::Clamp)
            && self.op(at + 3) == Op::Div
            && self.source(at + 3, 1) == self.id(at + 2)
            && self.source(at + 3, 0) == self.id(at)
            && follows(at + 4, Op::Reshape);
        if normed {
            at += 5;
        }
        if follows(at, Op::Scale) {
            at += 1;
        }
        let length = at - start;
        let last = start + length - 1;
        let all: Vec<usize> = (start..=last).collect();
        let experts = self.tensor(self.id(ids));
        let count = experts.nb[1] / experts.nb[0].max(1);
        let has_kernel = (count.is_power_of_two() && count <= 512) || count == 288 || count == 576;
        let gate_node = self.node(gate)?;
        let plain_softmax = gate_node.op != Op::SoftMax || gate_node.sources().count() == 1;
        (self.is_closed(&all, &[ids, last]) && has_kernel && plain_softmax && self.node(last)?.is_contiguous())
            .then_some(length)
    }

    /// Moves a shared expert's gate, up and activation next to the routed ones.
    fn shared_experts(&mut self, kept: &mut Kept) {
        let mut at = 0;
        while at + 5 < self.nodes.len() {
            if self.op(at) == Op::MulMatId {
                for other in at + 3..self.nodes.len().saturating_sub(2) {
                    if self.op(other) == Op::MulMatId && self.op(other + 1) == Op::MulMatId {
                        break;
                    }
                    if self.op(other) != Op::MulMat || !self.matches_shared_expert(at, other) {
                        continue;
                    }
                    self.nodes[at + 3..other + 3].rotate_right(3);
                    let up = self.source(at + 2, 1);
                    let until = self.id(at + 5);
                    let sources = self.tensor(up).sources;
                    hold(kept, until, sources[1]);
                    hold(kept, until, sources[2]);
                    at += 5;
                    break;
                }
            }
            at += 1;
        }
    }

    fn matches_shared_expert(&self, routed: usize, shared: usize) -> bool {
        let all = [routed, routed + 1, routed + 2, shared, shared + 1, shared + 2];
        let ops = [Op::MulMatId, Op::MulMatId, Op::Glu, Op::MulMat, Op::MulMat, Op::Glu];
        if !all.iter().zip(ops).all(|(at, op)| self.op(*at) == op) || !self.is_closed(&all, &[routed + 2, shared + 2]) {
            return false;
        }
        let is_pair = |glu: usize, at: usize| {
            let (a, b) = (self.source(glu, 0), self.source(glu, 1));
            (a, b) == (self.id(at), self.id(at + 1)) || (b, a) == (self.id(at), self.id(at + 1))
        };
        if !is_pair(routed + 2, routed) || !is_pair(shared + 2, shared) {
            return false;
        }
        let up = self.tensor(self.source(routed + 2, 1));
        let shared_up = self.tensor(self.source(shared + 2, 1));
        let weight = self.tensor(up.sources[0]);
        let shared_weight = self.tensor(shared_up.sources[0]);
        let input = self.tensor(up.sources[1]);
        let gate = self.tensor(self.source(routed + 2, 0));
        let gate_kind = self.tensor(gate.sources[0]).kind;
        weight.kind.is_quantized()
            && weight.home != Home::Computed
            && gate_kind == weight.kind
            && input.op == Op::Reshape
            && input.sources[0] == shared_up.sources[1]
            && input.ne[1] == 1
            && input.ne[3] == 1
            && weight.kind == shared_weight.kind
            && weight.ne[..2] == shared_weight.ne[..2]
            && weight.nb[1] == shared_weight.nb[1]
            && weight.ne[3] == 1
            && shared_weight.ne[2..] == [1, 1]
    }
}
