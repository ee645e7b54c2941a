//! The largest contexts that fit: one scale for all servers of a plan, found by narrowing a bracket, so padding and steps cannot fool it.

use super::need::{Need, Server};
use super::plan::LimitedBy;
use super::settings::{CacheType, Device, GpuLayers, Settings};
use super::{Build, FitError};

/// A GPU and what a plan may use of it.
#[derive(Debug, Clone)]
pub struct Budget {
    pub device: Device,
    /// Free less the reserve (and less what the operating system keeps), bytes.
    pub usable: u64,
}

/// What is asked of one server of a plan.
#[derive(Debug, Clone)]
pub struct Wish<'a> {
    pub server: Server<'a>,
    /// `None` = the largest.
    pub context: Option<u32>,
    /// The fewest tokens worth proposing.
    pub min_context: u32,
    /// Its share of what is free, beside the other servers.
    pub weight: f64,
    /// Whether `-ngl` and `-ncmoe` are ours to choose.
    pub choose_layers: bool,
    pub choose_cpu_moe: bool,
}

/// One found configuration of all servers.
#[derive(Debug, Clone)]
pub struct Found {
    pub servers: Vec<FoundServer>,
    pub fits: bool,
    /// What is left of each budget, bytes; negative where it does not fit.
    pub headroom: Vec<i64>,
}

#[derive(Debug, Clone)]
pub struct FoundServer {
    pub need: Need,
    pub limited_by: LimitedBy,
}

/// llama.cpp rounds the context of each slot up to this (b11434 `src/llama-context.cpp:292`).
const CELL_PADDING: u32 = 256;
/// No cache is longer: positions are 32-bit and masks are indexed by them.
const LONGEST: u32 = 1 << 26;

/// The search for one pair of cache types.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    pub wishes: &'a [&'a Wish<'a>],
    pub budgets: &'a [Budget],
    pub build: Build,
    pub types: (CacheType, CacheType),
    /// Whether a largest context may pass what the model was trained on.
    pub beyond_training: bool,
}

impl Search<'_> {
    /// The configuration with the largest contexts; one that does not fit, at the smallest contexts worth proposing, where none does.
    pub fn largest(&self) -> Result<Found, FitError> {
        let mut layers = vec![Layers::default(); self.wishes.len()];
        let mut least = self.at_step(0, &layers)?;
        if !least.fits {
            let Some(chosen) = self.with_fewer_layers(&mut layers)? else { return Ok(least) };
            least = chosen;
        }
        let steps = self.steps();
        if steps == 0 {
            return Ok(least);
        }
        let most = self.at_step(steps, &layers)?;
        if most.fits { Ok(most) } else { self.bracket((0, least), (steps, most), &layers) }
    }

    /// Narrows between a step that fits and one that does not until they are neighbours.
    fn bracket(&self, mut low: (u64, Found), mut high: (u64, Found), layers: &[Layers]) -> Result<Found, FitError> {
        let mut halve = false;
        while high.0 - low.0 > 1 {
            let width = high.0 - low.0;
            // Need grows nearly linearly with context, so the secant lands beside the answer; halving bounds the worst case.
            let (room, short) = (tightest(&low.1) as f64, -(tightest(&high.1) as f64));
            let part = if halve { 0.5 } else { room / (room + short) };
            let guess = (low.0 + (width as f64 * part) as u64).clamp(low.0 + 1, high.0 - 1);
            let found = self.at_step(guess, layers)?;
            let neighbour = if found.fits {
                low = (guess, found);
                guess + 1
            } else {
                high = (guess, found);
                guess - 1
            };
            if low.0 < neighbour && neighbour < high.0 {
                let found = self.at_step(neighbour, layers)?;
                if found.fits {
                    low = (neighbour, found);
                } else {
                    high = (neighbour, found);
                }
            }
            halve = (high.0 - low.0) * 4 > width;
        }
        Ok(low.1)
    }

    /// Steps of the scale up to where every context is at its longest.
    fn steps(&self) -> u64 {
        let open = self.wishes.iter().filter(|wish| wish.context.is_none());
        open.map(|wish| {
            let span = f64::from(self.longest(wish).saturating_sub(self.shortest(wish)));
            (span / (f64::from(CELL_PADDING) * wish.weight)).ceil() as u64
        })
        .max()
        .unwrap_or(0)
    }

    fn at_step(&self, step: u64, layers: &[Layers]) -> Result<Found, FitError> {
        self.at(step as f64 * f64::from(CELL_PADDING), layers)
    }

    /// Every server at `scale` tokens for each unit of its weight.
    fn at(&self, scale: f64, layers: &[Layers]) -> Result<Found, FitError> {
        let devices: Vec<Device> = self.budgets.iter().map(|budget| budget.device.clone()).collect();
        let mut left: Vec<i64> = self.budgets.iter().map(|budget| budget.usable as i64).collect();
        let mut servers = Vec::with_capacity(self.wishes.len());
        for (wish, layers) in self.wishes.iter().zip(layers) {
            let (context, limited_by) = self.context_at(wish, scale);
            let settings = layers.apply(&Settings {
                context,
                cache_type_k: self.types.0,
                cache_type_v: self.types.1,
                ..wish.server.settings.clone()
            });
            let need = wish.server.need(&settings, &devices, self.build)?;
            for (left, need) in left.iter_mut().zip(&need.devices) {
                *left -= need.total() as i64;
            }
            servers.push(FoundServer { need, limited_by });
        }
        Ok(Found { servers, fits: left.iter().all(|left| *left >= 0), headroom: left })
    }

    /// Moves experts, then layers, of the servers that allow it into host memory: as few as make the smallest contexts fit.
    fn with_fewer_layers(&self, layers: &mut [Layers]) -> Result<Option<Found>, FitError> {
        for index in 0..layers.len() {
            let wish = &self.wishes[index];
            let all = wish.server.model.layers_all;
            if wish.choose_cpu_moe && has_experts(&wish.server) {
                layers[index].cpu_moe = Some(all);
                let found = self.at(0.0, layers)?;
                if found.fits || !wish.choose_layers {
                    if !found.fits {
                        continue;
                    }
                    let least = fewest(all, |count| {
                        layers[index].cpu_moe = Some(count);
                        Ok(self.at(0.0, layers)?.fits)
                    })?;
                    layers[index].cpu_moe = Some(least);
                    return Ok(Some(self.at(0.0, layers)?));
                }
            }
            if wish.choose_layers {
                let host = fewest(all + 1, |count| {
                    layers[index].gpu = Some(all + 1 - count);
                    Ok(self.at(0.0, layers)?.fits)
                })?;
                layers[index].gpu = Some(all + 1 - host);
                let found = self.at(0.0, layers)?;
                if found.fits {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// The longest context worth proposing: what the model was trained on, for each slot that has its own part.
    fn longest(&self, wish: &Wish<'_>) -> u32 {
        if self.beyond_training {
            return LONGEST;
        }
        wish.server.model.train_context.saturating_mul(wish.parts()).clamp(1, LONGEST)
    }

    fn shortest(&self, wish: &Wish<'_>) -> u32 {
        wish.min_context.max(wish.step().min(self.longest(wish)))
    }

    fn context_at(&self, wish: &Wish<'_>, scale: f64) -> (u32, LimitedBy) {
        if let Some(context) = wish.context {
            return (context, LimitedBy::Requested);
        }
        let (shortest, longest) = (self.shortest(wish), self.longest(wish));
        let wanted = f64::from(shortest) + scale * wish.weight;
        if wanted >= f64::from(longest) {
            return (longest.max(shortest), LimitedBy::TrainContext);
        }
        let wanted = wanted as u32;
        ((wanted - wanted % wish.step()).max(shortest), LimitedBy::Vram)
    }
}

/// The smallest count up to `most` that passes, or `most`; what passes at one count passes at every larger.
fn fewest(most: u32, mut passes: impl FnMut(u32) -> Result<bool, FitError>) -> Result<u32, FitError> {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low + (high - low) / 2;
        if passes(middle)? { high = middle } else { low = middle + 1 }
    }
    Ok(low)
}

fn has_experts(server: &Server<'_>) -> bool {
    server.model.whole("expert_count").is_some_and(|count| count > 0)
}

/// The least of what is left, bytes.
fn tightest(found: &Found) -> i64 {
    found.headroom.iter().copied().min().unwrap_or(0)
}

/// Layers that the search took over.
#[derive(Debug, Clone, Copy, Default)]
struct Layers {
    gpu: Option<u32>,
    cpu_moe: Option<u32>,
}

impl Layers {
    fn apply(self, settings: &Settings) -> Settings {
        Settings {
            gpu_layers: self.gpu.map_or(settings.gpu_layers, GpuLayers::Count),
            cpu_moe_layers: self.cpu_moe.unwrap_or(settings.cpu_moe_layers),
            ..settings.clone()
        }
    }
}

impl Wish<'_> {
    /// Slots that each have a part of the context to themselves.
    fn parts(&self) -> u32 {
        if self.server.settings.kv_unified { 1 } else { self.server.settings.parallel.max(1) }
    }

    fn step(&self) -> u32 {
        CELL_PADDING.saturating_mul(self.parts())
    }
}
