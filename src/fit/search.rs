//! The largest contexts that fit: one scale for all servers of a plan, found by narrowing a bracket, so padding and steps cannot fool it.

use super::need::{Need, Needs, Server};
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

/// The search for the servers of one plan: what neither contexts nor cache types change is worked out once for all of them.
#[derive(Debug)]
pub struct Search<'a> {
    wishes: Vec<&'a Wish<'a>>,
    budgets: &'a [Budget],
    devices: Vec<Device>,
    build: Build,
    /// With the layers on the GPUs that the flags say.
    servers: Vec<Needs<'a>>,
}

/// What is asked of a [`Search`].
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub types: (CacheType, CacheType),
    /// Whether a largest context may pass what the model was trained on.
    pub beyond_training: bool,
}

impl<'a> Search<'a> {
    pub fn new(wishes: &[&'a Wish<'a>], budgets: &'a [Budget], build: Build) -> Result<Self, FitError> {
        let devices: Vec<Device> = budgets.iter().map(|budget| budget.device.clone()).collect();
        let needs = |wish: &&'a Wish<'a>| wish.server.needs(&wish.server.settings, &devices, build);
        let servers = wishes.iter().map(needs).collect::<Result<_, _>>()?;
        Ok(Self { wishes: wishes.to_vec(), budgets, devices, build, servers })
    }

    /// The configuration with the largest contexts; one that does not fit, at the smallest contexts worth proposing, where none does.
    pub fn largest(&self, asked: Asked) -> Result<Found, FitError> {
        let found = self.climb(&self.servers, asked)?;
        if found.fits {
            return Ok(found);
        }
        match self.with_fewer_layers(asked)? {
            Some(servers) => self.climb(&servers, asked),
            None => Ok(found),
        }
    }

    /// The configuration at one step of the scale: for those who want to see that the next one does not fit.
    pub fn at_step(&self, step: u64, asked: Asked) -> Result<Found, FitError> {
        self.at(&self.servers, step, asked)
    }

    /// Steps of the scale up to where every context is at its longest.
    pub fn steps(&self, asked: Asked) -> u64 {
        let open = self.wishes.iter().filter(|wish| wish.context.is_none());
        open.map(|wish| {
            let span = f64::from(longest(wish, asked).saturating_sub(shortest(wish, asked)));
            (span / (f64::from(CELL_PADDING) * wish.weight)).ceil() as u64
        })
        .max()
        .unwrap_or(0)
    }

    /// The last step that fits, or the first one where none does. Each step that decides is a real prediction.
    fn climb(&self, servers: &[Needs<'_>], asked: Asked) -> Result<Found, FitError> {
        let steps = self.steps(asked);
        let slope = self.slope(servers, steps, asked)?;
        let mut low: Option<(u64, Found)> = None;
        let mut high: Option<(u64, Found)> = None;
        let mut next = self.first_guess(servers, steps, asked)?;
        let mut tries = 0;
        loop {
            let found = self.at(servers, next, asked)?;
            let end = if found.fits { steps } else { 0 };
            if next == end {
                return Ok(found);
            }
            if found.fits {
                low = Some((next, found));
            } else {
                high = Some((next, found));
            }
            tries += 1;
            next = match (&low, &high) {
                (Some((fits, found)), Some((fails, _))) if fails - fits == 1 => return Ok(found.clone()),
                (Some(low), Some(high)) => between((low.0, &low.1), (high.0, &high.1), tries),
                // Only the cache grows for sure: what else grows makes the next step up too long, and the one down long enough.
                (Some((step, found)), None) => step.saturating_add(moves(found, &slope).max(1)).min(steps),
                (None, Some((step, found))) => step.saturating_sub((moves(found, &slope) + 1) << (tries - 1).min(16)),
                (None, None) => return Err(FitError::Overflow { what: "the search" }),
            };
        }
    }

    /// Bytes of cache that one more step costs each device, where contexts are long.
    fn slope(&self, servers: &[Needs<'_>], steps: u64, asked: Asked) -> Result<Vec<f64>, FitError> {
        if steps == 0 {
            return Ok(vec![0.0; self.devices.len()]);
        }
        let middle = steps / 2;
        let (near, far) = (self.cache_bytes(servers, middle, asked)?, self.cache_bytes(servers, steps, asked)?);
        let width = (steps - middle) as f64;
        Ok(near.iter().zip(far).map(|(near, far)| (far as f64 - *near as f64) / width).collect())
    }

    /// Where the cache alone would fill what the weights leave: replaying starts there, so it is never far from the answer.
    fn first_guess(&self, servers: &[Needs<'_>], steps: u64, asked: Asked) -> Result<u64, FitError> {
        let rooms = |step: u64| self.room(servers, step, asked);
        let (mut low, mut high) = (0, steps);
        let (mut room_low, mut room_high) = (rooms(low)?, rooms(high)?);
        if room_high >= 0 {
            return Ok(steps);
        }
        if room_low < 0 {
            return Ok(0);
        }
        // Caches grow in straight lines but for windows that fill up: a few steps are near enough.
        for _ in 0..4 {
            let part = room_low as f64 / (room_low - room_high) as f64;
            let guess = (low + ((high - low) as f64 * part) as u64).clamp(low, high);
            let room = rooms(guess)?;
            if room >= 0 {
                (low, room_low) = (guess, room);
            } else {
                (high, room_high) = (guess, room);
            }
        }
        Ok(low)
    }

    /// What weights and caches alone leave of the fullest device, bytes: more than there will be, and quickly said.
    fn room(&self, servers: &[Needs<'_>], step: u64, asked: Asked) -> Result<i64, FitError> {
        let cache = self.cache_bytes(servers, step, asked)?;
        let room = self.budgets.iter().zip(cache).enumerate().map(|(index, (budget, cache))| {
            let weights: u64 = servers.iter().map(|server| server.weights_on(index)).sum();
            budget.usable as i64 - weights as i64 - cache as i64
        });
        Ok(room.min().unwrap_or(0))
    }

    fn cache_bytes(&self, servers: &[Needs<'_>], step: u64, asked: Asked) -> Result<Vec<u64>, FitError> {
        let mut sum = vec![0; self.devices.len()];
        for (wish, server) in self.wishes.iter().zip(servers) {
            let (context, _) = context_at(wish, step, asked);
            sum.iter_mut().zip(server.cache_bytes(context, asked.types)?).for_each(|(sum, more)| *sum += more);
        }
        Ok(sum)
    }

    /// Every server at `step` times the padding for each unit of its weight.
    fn at(&self, servers: &[Needs<'_>], step: u64, asked: Asked) -> Result<Found, FitError> {
        let mut left: Vec<i64> = self.budgets.iter().map(|budget| budget.usable as i64).collect();
        let mut found = Vec::with_capacity(self.wishes.len());
        for (wish, server) in self.wishes.iter().zip(servers) {
            let (context, limited_by) = context_at(wish, step, asked);
            let need = server.at(context, asked.types)?;
            for (left, need) in left.iter_mut().zip(&need.devices) {
                *left -= need.total() as i64;
            }
            found.push(FoundServer { need, limited_by });
        }
        Ok(Found { servers: found, fits: left.iter().all(|left| *left >= 0), headroom: left })
    }

    /// Moves experts, then layers, of the servers that allow it into host memory: as few as make the smallest contexts fit.
    fn with_fewer_layers(&self, asked: Asked) -> Result<Option<Vec<Needs<'a>>>, FitError> {
        let mut layers = vec![Layers::default(); self.wishes.len()];
        for index in 0..layers.len() {
            let wish = self.wishes[index];
            let all = wish.server.model.layers_all;
            if wish.choose_cpu_moe && has_experts(&wish.server) {
                let least = self.fewest(all, asked, |count| {
                    layers[index].cpu_moe = Some(count);
                    self.servers_with(&layers)
                })?;
                if let Some(servers) = least {
                    return Ok(Some(servers));
                }
                layers[index].cpu_moe = Some(all);
            }
            if wish.choose_layers {
                let least = self.fewest(all + 1, asked, |count| {
                    layers[index].gpu = Some(all + 1 - count);
                    self.servers_with(&layers)
                })?;
                if let Some(servers) = least {
                    return Ok(Some(servers));
                }
                layers[index].gpu = Some(0);
            }
        }
        Ok(None)
    }

    /// The smallest count up to `most` whose servers fit at the smallest contexts, with these servers; what fits at one count fits
    /// at every larger. Weights and caches alone say where to begin: what else is needed is a few layers' worth.
    fn fewest(
        &self,
        most: u32,
        asked: Asked,
        mut servers: impl FnMut(u32) -> Result<Vec<Needs<'a>>, FitError>,
    ) -> Result<Option<Vec<Needs<'a>>>, FitError> {
        let (mut low, mut high) = (0, most);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.room(&servers(middle)?, 0, asked)? >= 0 { high = middle } else { low = middle + 1 }
        }
        let mut fitting = |count: u32| -> Result<Option<Vec<Needs<'a>>>, FitError> {
            let servers = servers(count)?;
            Ok(self.at(&servers, 0, asked)?.fits.then_some(servers))
        };
        let (mut count, mut width) = (low, 1);
        let mut found = loop {
            if let Some(servers) = fitting(count)? {
                break servers;
            }
            if count == most {
                return Ok(None);
            }
            low = count + 1;
            count = (count + width).min(most);
            width *= 2;
        };
        while low < count {
            let middle = low + (count - low) / 2;
            match fitting(middle)? {
                Some(servers) => (found, count) = (servers, middle),
                None => low = middle + 1,
            }
        }
        Ok(Some(found))
    }

    fn servers_with(&self, layers: &[Layers]) -> Result<Vec<Needs<'a>>, FitError> {
        let pairs = self.wishes.iter().zip(layers);
        pairs
            .map(|(wish, layers)| wish.server.needs(&layers.apply(&wish.server.settings), &self.devices, self.build))
            .collect()
    }
}

/// Steps that the tightest device's room, or lack of it, is worth.
fn moves(found: &Found, slope: &[f64]) -> u64 {
    let is_short = !found.fits;
    let on_device = |(room, slope): (&i64, &f64)| (room.unsigned_abs() as f64 / slope.max(1.0)) as u64;
    let devices = found.headroom.iter().zip(slope);
    if is_short {
        devices.filter(|(room, _)| **room < 0).map(on_device).max().unwrap_or(0)
    } else {
        devices.map(on_device).min().unwrap_or(0)
    }
}

/// A step between one that fits and one that does not: where straight lines between them would fill the first device.
/// Every third is the middle, which bounds the worst case.
fn between(low: (u64, &Found), high: (u64, &Found), tries: u32) -> u64 {
    let width = high.0 - low.0;
    let filled = low.1.headroom.iter().zip(&high.1.headroom).filter(|(_, short)| **short < 0);
    let part = filled.map(|(room, short)| *room as f64 / (*room - *short) as f64).fold(1.0, f64::min);
    let part = if tries.is_multiple_of(6) { 0.5 } else { part };
    (low.0 + (width as f64 * part) as u64).clamp(low.0 + 1, high.0 - 1)
}

/// The longest context worth proposing: what the model was trained on, for each slot that has its own part.
fn longest(wish: &Wish<'_>, asked: Asked) -> u32 {
    // An encoder has no positions beyond, and is never asked to go on.
    if asked.beyond_training && !wish.server.settings.embeddings {
        return LONGEST;
    }
    wish.server.model.train_context.saturating_mul(wish.parts()).clamp(1, LONGEST)
}

fn shortest(wish: &Wish<'_>, asked: Asked) -> u32 {
    wish.min_context.max(wish.step().min(longest(wish, asked)))
}

fn context_at(wish: &Wish<'_>, step: u64, asked: Asked) -> (u32, LimitedBy) {
    if let Some(context) = wish.context {
        return (context, LimitedBy::Requested);
    }
    let (shortest, longest) = (shortest(wish, asked), longest(wish, asked));
    let wanted = f64::from(shortest) + step as f64 * f64::from(CELL_PADDING) * wish.weight;
    if wanted >= f64::from(longest) {
        return (longest.max(shortest), LimitedBy::TrainContext);
    }
    let wanted = wanted as u32;
    ((wanted - wanted % wish.step()).max(shortest), LimitedBy::Vram)
}

fn has_experts(server: &Server<'_>) -> bool {
    server.model.whole("expert_count").is_some_and(|count| count > 0)
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
