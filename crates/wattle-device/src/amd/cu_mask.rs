//! How many compute units of an AMD GPU this process uses: fixed when it starts, by `HSA_CU_MASK`.
//!
//! Which units is CoFRIS's "conserved" placement (from KRISP): the fewest shader engines that hold them,
//! spread evenly. Masking gates no power: on an MI50, power falls only below half of the units (CoFRIS,
//! section II-B).
//!
//! A bit of the mask is not a place on the chip: the kernel deals bits out to dies, then to shader
//! engines, then to the units of each (`mqd_symmetrically_map_cu_mask` of amdkfd), so `0-29` would use
//! every engine. A mask that the runtime doesn't like is dropped without a word and every unit runs: on
//! RDNA one that splits a pair of units, on a GPU of several dies one that leaves a die out. Those are
//! refused here, and what the runtime made of a mask is read back from a queue. That is the runtime's
//! account; which units waves run on can be seen by a kernel only.

use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use wattle_core::gating::conserved_placement;

use super::hsa::{Hsa, HsaGpu};

/// The variable by which ROCr learns of the mask, for every queue of the process.
const VARIABLE: &str = "HSA_CU_MASK";
/// The variable by which HIP and OpenCL mask the queues that they make.
const HIP_VARIABLE: &str = "ROC_GLOBAL_CU_MASK";

/// How the compute units of a GPU are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CuTopology {
    /// Compute units.
    pub compute_units: u32,
    /// Shader engines, of all dies together.
    pub shader_engines: u32,
    /// Dies (XCC) that the GPU shows as one: 8 on an MI300X, 1 on most.
    pub xccs: u32,
    /// Whether units work in pairs (WGP), as on RDNA.
    pub works_in_pairs: bool,
}

/// A set of compute units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CuMask {
    bits: BTreeSet<u32>,
    topology: CuTopology,
}

/// Compute units could not be chosen, or not be set.
#[derive(Debug, thiserror::Error)]
pub enum CuMaskError {
    /// The GPU has no such number of units.
    #[error("compute units: found {found}, expected {expected}")]
    Units {
        /// The number asked for.
        found: u32,
        /// What the GPU takes.
        expected: String,
    },
    /// The runtime told an arrangement that can't be.
    #[error("the GPU tells an arrangement of compute units that can't be: {0:?}")]
    Topology(CuTopology),
    /// ROCr is not installed, or doesn't load.
    #[error("compute units are set through ROCr (libhsa-runtime64 of ROCm), which can't be loaded: {0}")]
    NoRuntime(String),
    /// ROCr failed.
    #[error("{call} said: {said}; are /dev/kfd and /dev/dri there, and readable for this user?")]
    Runtime {
        /// What was asked of it.
        call: &'static str,
        /// What it said.
        said: String,
    },
    /// The GPU is not among those that ROCr shows.
    #[error("ROCr shows no GPU at {asked}; it shows {found:?}: is it left out by ROCR_VISIBLE_DEVICES?")]
    NoGpu {
        /// Where the GPU was looked for.
        asked: String,
        /// Where there are some.
        found: Vec<String>,
    },
    /// No GPU was named, and there is not just one.
    #[error("expected the name of one GPU, as ROCr shows these: {found:?}")]
    NotTheOnly {
        /// Where there are some.
        found: Vec<String>,
    },
    /// The user set a mask, too.
    #[error("{variable} is set to {found:?} already; unset it, or leave out the number of compute units")]
    AlreadySet {
        /// Which variable.
        variable: &'static str,
        /// What it is set to.
        found: String,
    },
    /// The program could not be started anew.
    #[error("failed to start this program again with {VARIABLE}={wanted}: {source}")]
    Restart {
        /// The value of the variable.
        wanted: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The runtime made something else of the mask.
    #[error("{VARIABLE} was set to {wanted} but queues use {found}; this GPU can't be given these units")]
    ReadBack {
        /// The units asked for.
        wanted: String,
        /// The units of a queue.
        found: String,
    },
}

impl CuMask {
    /// `units` compute units by the conserved placement.
    ///
    /// # Errors
    /// Where the GPU can't be given exactly that many: none is ever rounded.
    pub fn conserved(topology: CuTopology, units: u32) -> Result<Self, CuMaskError> {
        let CuTopology { compute_units, shader_engines, xccs, works_in_pairs } = topology;
        let pair = if works_in_pairs { 2 } else { 1 };
        let fits = |whole: u32, part: u32| part > 0 && whole >= part && whole.is_multiple_of(part);
        let is_possible = fits(shader_engines, xccs)
            && fits(compute_units, xccs * pair)
            && compute_units / (xccs * pair) >= shader_engines / xccs
            && (xccs == 1 || !works_in_pairs);
        if !is_possible {
            return Err(CuMaskError::Topology(topology));
        }
        let step = xccs * pair;
        if units == 0 || units > compute_units || !units.is_multiple_of(step) {
            let expected = match (works_in_pairs, xccs) {
                (true, _) => format!("an even number, 2 to {compute_units}: units work in pairs"),
                (false, 1) => format!("1 to {compute_units}"),
                (false, _) => {
                    format!("a multiple of {xccs}, {xccs} to {compute_units}: as many on each of its dies")
                }
            };
            return Err(CuMaskError::Units { found: units, expected });
        }
        // From here on for one die, in units or pairs. Engines may differ by one: rows that all have.
        let engines = shader_engines / xccs;
        let rows = compute_units / step / engines;
        let wanted = units / step;
        let places: Vec<u32> = if wanted > rows * engines {
            (0..wanted).collect() // every engine is in use anyway
        } else {
            let placed = conserved_placement(wanted, engines, rows);
            let of_engine = |(engine, units): (u32, u32)| (0..units).map(move |row| row * engines + engine);
            (0..).zip(placed).flat_map(of_engine).collect()
        };
        let bits = places.into_iter().flat_map(|place| place * step..(place + 1) * step).collect();
        Ok(Self { bits, topology })
    }

    /// The units of words of 32 bits, as ROCr tells them. Bits of units that don't exist are left out.
    fn of_words(topology: CuTopology, words: &[u32]) -> Self {
        let is_set =
            |bit: &u32| words.get(*bit as usize / 32).is_some_and(|word| word >> (bit % 32) & 1 == 1);
        Self { bits: (0..topology.compute_units).filter(is_set).collect(), topology }
    }

    /// How many units.
    pub fn units(&self) -> usize {
        self.bits.len()
    }

    /// The value of `HSA_CU_MASK` that gives a process these units on one GPU, by its place among those
    /// that ROCr shows (after `ROCR_VISIBLE_DEVICES`), such as `0:0-1,4-5`.
    pub fn hsa_cu_mask(&self, gpu_index: usize) -> String {
        format!("{gpu_index}:{self}")
    }

    /// The value of `ROC_GLOBAL_CU_MASK` for these units, for programs that take only that: hexadecimal, a
    /// bit a unit, or a pair of units on RDNA. `None` on a GPU of several dies, where each shader engine
    /// takes the mask by itself. Wattle doesn't set it: on gfx90a it was seen to be rounded without a word.
    pub fn roc_global_cu_mask(&self) -> Option<String> {
        if self.topology.xccs > 1 {
            return None;
        }
        let step = if self.topology.works_in_pairs { 2 } else { 1 };
        let has = |bit: u32| self.bits.contains(&(bit * step));
        let digits = self.topology.compute_units.div_ceil(step * 4);
        let digit = |digit: u32| (0..4).map(|bit| u32::from(has(digit * 4 + bit)) << bit).sum::<u32>();
        let text: String = (0..digits).rev().map(|place| format!("{:x}", digit(place))).collect();
        Some(format!("0x{}", text.trim_start_matches('0')))
    }
}

/// The units as the list in `HSA_CU_MASK`, such as `0-1,4-5`.
impl fmt::Display for CuMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bits = self.bits.iter().copied().peekable();
        let mut comma = "";
        while let Some(first) = bits.next() {
            let mut last = first;
            while bits.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        if comma.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

/// Makes this process one that uses `units` compute units of the GPU at `pci_address` (`None`: the only one),
/// and reads that back from a queue. `library` is the ROCr to load; `None` takes the one that ROCm installs.
///
/// ROCr reads its variable once, when it starts. So where it isn't set yet, the program is started anew in
/// place of this one, with the same arguments and the variable set: **this function then does not return**,
/// and in the new one it finds the variable set. Call it before anything is opened or any thread started.
///
/// # Errors
/// Every way in which the process would not run on exactly these units.
pub fn start(library: Option<&Path>, pci_address: Option<&str>, units: u32) -> Result<CuMask, CuMaskError> {
    let hsa = Hsa::start(library)?;
    let gpus = hsa.gpus()?;
    let is_asked =
        |gpu: &&HsaGpu| pci_address.is_none_or(|place| gpu.pci_address.eq_ignore_ascii_case(place));
    let mut asked = gpus.iter().filter(is_asked);
    let (Some(gpu), None) = (asked.next(), asked.next()) else {
        let found = gpus.into_iter().map(|gpu| gpu.pci_address).collect();
        return Err(match pci_address {
            Some(place) => CuMaskError::NoGpu { asked: place.to_owned(), found },
            None => CuMaskError::NotTheOnly { found },
        });
    };
    let mask = CuMask::conserved(gpu.topology, units)?;
    let wanted = mask.hsa_cu_mask(gpu.index);
    // It would take away further units, after the mask that is read back here.
    if let Some(found) = env::var_os(HIP_VARIABLE) {
        let found = found.to_string_lossy().into_owned();
        return Err(CuMaskError::AlreadySet { variable: HIP_VARIABLE, found });
    }
    match env::var_os(VARIABLE) {
        None => {
            drop(hsa);
            Err(restart(wanted))
        }
        Some(found) if found == wanted.as_str() => {
            let found = CuMask::of_words(gpu.topology, &hsa.queue_mask(gpu)?);
            if found == mask {
                return Ok(mask);
            }
            Err(CuMaskError::ReadBack { wanted, found: found.hsa_cu_mask(gpu.index) })
        }
        Some(found) => {
            let found = found.to_string_lossy().into_owned();
            Err(CuMaskError::AlreadySet { variable: VARIABLE, found })
        }
    }
}

/// Starts this program in place of this process, with the variable set. Returns only if that fails.
fn restart(wanted: String) -> CuMaskError {
    let source = match env::current_exe() {
        Ok(program) => Command::new(program).args(env::args_os().skip(1)).env(VARIABLE, &wanted).exec(),
        Err(error) => error,
    };
    CuMaskError::Restart { wanted, source }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MI50: CuTopology =
        CuTopology { compute_units: 60, shader_engines: 4, xccs: 1, works_in_pairs: false };
    const MI300X: CuTopology =
        CuTopology { compute_units: 304, shader_engines: 32, xccs: 8, works_in_pairs: false };
    /// 60 units of 3 shader engines, which work in pairs.
    const GFX1101: CuTopology =
        CuTopology { compute_units: 60, shader_engines: 3, xccs: 1, works_in_pairs: true };

    fn mask(topology: CuTopology, units: u32) -> String {
        CuMask::conserved(topology, units).unwrap().hsa_cu_mask(0)
    }

    fn refused(topology: CuTopology, units: u32) -> String {
        CuMask::conserved(topology, units).unwrap_err().to_string()
    }

    #[test]
    fn fifteen_units_of_an_mi50_are_one_whole_shader_engine_and_thirty_are_two() {
        let engine =
            |engines: &[u32]| -> Vec<u32> { (0..60).filter(|bit| engines.contains(&(bit % 4))).collect() };
        let bits = |units| CuMask::conserved(MI50, units).unwrap().bits.into_iter().collect::<Vec<_>>();
        assert_eq!(bits(15), engine(&[0]));
        assert_eq!(bits(30), engine(&[0, 1]));
        assert_eq!(mask(MI50, 3), "0:0,4,8");
        // 16 take two engines, eight units each.
        assert_eq!(mask(MI50, 16), "0:0-1,4-5,8-9,12-13,16-17,20-21,24-25,28-29");
        assert_eq!(mask(MI50, 60), "0:0-59");
    }

    #[test]
    fn an_mi300x_is_masked_on_each_die_alike_or_not_at_all() {
        assert_eq!(mask(MI300X, 8), "0:0-7");
        // Two units on each die: of one shader engine, whose rows are 32 bits apart.
        assert_eq!(mask(MI300X, 16), "0:0-7,32-39");
        assert_eq!(mask(MI300X, 304), "0:0-303");
        // More than the rows that every engine has: 9 of the 10 on some.
        assert_eq!(mask(MI300X, 296), "0:0-295");
        let expected = "expected a multiple of 8, 8 to 304: as many on each of its dies";
        assert_eq!(refused(MI300X, 4), format!("compute units: found 4, {expected}"));
    }

    #[test]
    fn pairs_of_units_are_never_split() {
        assert_eq!(mask(GFX1101, 2), "0:0-1");
        assert_eq!(mask(GFX1101, 4), "0:0-1,6-7");
        assert_eq!(mask(GFX1101, 60), "0:0-59");
        let expected = "found 15, expected an even number, 2 to 60: units work in pairs";
        assert_eq!(refused(GFX1101, 15), format!("compute units: {expected}"));
    }

    #[test]
    fn numbers_that_the_gpu_does_not_have_are_refused() {
        assert_eq!(refused(MI50, 0), "compute units: found 0, expected 1 to 60");
        assert_eq!(refused(MI50, 61), "compute units: found 61, expected 1 to 60");
        for broken in [
            CuTopology { shader_engines: 0, ..MI50 },
            CuTopology { xccs: 0, ..MI50 },
            CuTopology { compute_units: 3, ..MI50 },
            CuTopology { xccs: 7, ..MI300X },
        ] {
            assert!(matches!(CuMask::conserved(broken, 4), Err(CuMaskError::Topology(_))), "{broken:?}");
        }
    }

    #[test]
    fn the_mask_of_hip_is_hexadecimal_by_unit_or_pair_and_has_no_meaning_on_several_dies() {
        let hip = |topology, units| CuMask::conserved(topology, units).unwrap().roc_global_cu_mask();
        assert_eq!(hip(MI50, 3).as_deref(), Some("0x111"));
        assert_eq!(hip(MI50, 60).as_deref(), Some("0xfffffffffffffff"));
        assert_eq!(hip(GFX1101, 60).as_deref(), Some("0x3fffffff")); // 30 pairs
        assert_eq!(hip(MI300X, 8), None);
    }

    #[test]
    fn what_a_queue_tells_is_read_as_what_was_set() {
        let mask = CuMask::conserved(MI50, 16).unwrap();
        assert_eq!(CuMask::of_words(MI50, &[0x3333_3333, 0]), mask);
        assert_eq!(CuMask::of_words(MI50, &[u32::MAX, u32::MAX]).to_string(), "0-59");
        assert_eq!(CuMask::of_words(MI50, &[]).to_string(), "none");
    }

    fn topologies() -> impl Strategy<Value = CuTopology> {
        let of = |pairs: bool| {
            move |(engines, rows, xccs, uneven): (u32, u32, u32, u32)| {
                let xccs = if pairs { 1 } else { xccs };
                let per_die = (engines * rows + uneven % engines) * if pairs { 2 } else { 1 };
                CuTopology {
                    compute_units: per_die * xccs,
                    shader_engines: engines * xccs,
                    xccs,
                    works_in_pairs: pairs,
                }
            }
        };
        let shape = (1..9_u32, 1..17_u32, prop::sample::select(vec![1, 2, 4, 8]), 0..8_u32);
        prop_oneof![shape.clone().prop_map(of(false)), shape.prop_map(of(true))]
    }

    proptest! {
        #[test]
        fn any_number_is_given_exactly_evenly_and_whole_or_refused(topology in topologies(), units in 0..700_u32) {
            let Ok(mask) = CuMask::conserved(topology, units) else {
                let step = topology.xccs * if topology.works_in_pairs { 2 } else { 1 };
                let none = units == 0 || units > topology.compute_units || units % step != 0;
                prop_assert!(none, "{topology:?} refused {units}");
                return Ok(());
            };
            prop_assert_eq!(mask.units(), units as usize);
            prop_assert!(mask.bits.iter().all(|bit| *bit < topology.compute_units));
            if topology.works_in_pairs {
                prop_assert!(mask.bits.iter().all(|bit| mask.bits.contains(&(bit ^ 1))));
            }
            for die in 0..topology.xccs {
                let here = mask.bits.iter().filter(|bit| *bit % topology.xccs == die).count();
                prop_assert_eq!(here, units as usize / topology.xccs as usize);
            }
        }
    }
}
