//! Profiles of networks on MIG slices: a part of the device that nobody else slows down.
//!
//! A slice of s sevenths has s times the compute units of one, which come in pairs, and whole eighths of the memory
//! with their bandwidth (NVIDIA, Multi-Instance GPU user guide). The link to the host is shared and counted
//! as uncontended. Power is that of the whole board while this slice alone is busy: units outside it
//! are gated, static power and the clocked shared parts are there in full.

use super::networks::Network;
use super::power::Power;
use super::timing::{Speed, known};
use super::{AnalyticError, Grid, Model};
use crate::device_spec::{DeviceSpec, Figure};
use crate::profile::Profile;
use crate::provenance::Basis;

/// Slices that there are, and the eighths of memory that each has.
const MEMORY_EIGHTHS: [(u32, u32); 5] = [(1, 1), (2, 2), (3, 4), (4, 4), (7, 8)];

/// The profile of `network` on a slice of `slices` of the device's sevenths, at every point of
/// `grid` that fits its memory. The rows' partition is such as `3/7`.
///
/// Fails as [`profile`](super::profile) does, and where there is no such slice.
pub fn profile_on_slice(
    spec: &DeviceSpec,
    network: &Network,
    grid: &Grid,
    slices: u32,
) -> Result<Profile, AnalyticError> {
    let of = known(spec, &spec.mig_slices, "mig_slices")?;
    let eighths = MEMORY_EIGHTHS.iter().find(|(size, _)| *size == slices && of == 7);
    let Some((_, eighths)) = eighths else {
        let expected = "1, 2, 3, 4 or 7, on a device of 7 slices".to_owned();
        return Err(AnalyticError::Grid { knob: "slices", found: format!("{slices} of {of}"), expected });
    };
    let memory_share = f64::from(*eighths) / 8.0;
    let whole_units = known(spec, &spec.compute_units, "compute_units")?;
    let units = whole_units / of / 2 * 2 * slices;
    let share = f64::from(units) / f64::from(whole_units);
    let name = format!("{slices}/{of}");
    let mut sliced = spec.clone();
    sliced.title = format!("{}, MIG slice of {name}", spec.title);
    set(&mut sliced.compute_units, |_| units, &name);
    for peak in [&mut sliced.peak_flops_fp32, &mut sliced.peak_flops_tf32, &mut sliced.peak_flops_fp16] {
        set(peak, |whole| whole * share, &name);
    }
    set(&mut sliced.memory_bandwidth_bytes_per_second, |whole| whole * memory_share, &name);
    set(&mut sliced.memory_bytes, |whole| whole / 8 * u64::from(*eighths), &name);
    let mut model = Model::new(&sliced, network)?;
    // A unit uses no more bandwidth than it could elsewhere on the board.
    model.speed.unit_bandwidth = Speed::of(spec, network.precision)?.unit_bandwidth;
    // Of all units of the board, so that those outside the slice draw nothing.
    model.power = Power::of(spec, whole_units, model.speed.boost_clock);
    model.profile(grid, Some(&name))
}

/// The slice's part of a figure of the whole device.
fn set<T: Copy>(figure: &mut Option<Figure<T>>, part: impl Fn(T) -> T, slice: &str) {
    if let Some(figure) = figure {
        figure.value = part(figure.value);
        figure.basis = figure.basis.max(Basis::Modelled);
        figure.source = format!("{}; the part of a MIG slice of {slice}", figure.source);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{networks, profile};
    use super::*;
    use crate::operating_point::ProfileRow;

    fn row(network: &str, slices: Option<u32>) -> ProfileRow {
        let spec = crate::device_spec::bundled("nvidia-a100-40gb").unwrap();
        let network = networks::bundled(network).unwrap();
        let grid = Grid { batch_sizes: vec![1], instances: vec![1], ..Grid::default() };
        let made = match slices {
            Some(slices) => profile_on_slice(&spec, &network, &grid, slices),
            None => profile(&spec, &network, &grid),
        };
        made.unwrap().rows.remove(0)
    }

    #[test]
    fn a_smaller_slice_is_never_faster_and_never_draws_more() {
        for network in ["sdxl", "gpt_j_6b", "whisper_large_v3", "mobilenet_v1"] {
            let rows = [Some(3), Some(4), Some(7), None].map(|slices| row(network, slices));
            for pair in rows.windows(2) {
                assert!(pair[0].latency_ms_mean >= pair[1].latency_ms_mean, "{network}");
                assert!(pair[0].power_watts_mean <= pair[1].power_watts_mean, "{network}");
            }
            assert_eq!(rows[0].point.partition.as_deref(), Some("3/7"));
        }
    }

    #[test]
    fn a_wide_network_loses_in_proportion_and_a_narrow_one_hardly_anything() {
        let slower = |network| {
            let of = |slices| row(network, slices).latency_ms_mean.unwrap();
            of(Some(4)) / of(None)
        };
        assert!(slower("sdxl") > 1.5 && slower("sdxl") < 108.0 / 56.0);
        assert!(slower("mobilenet_v1") < 1.1);
    }

    #[test]
    fn a_network_that_does_not_fit_the_slices_memory_has_no_row_there() {
        let spec = crate::device_spec::bundled("nvidia-a100-40gb").unwrap();
        let network = networks::bundled("gpt_j_6b").unwrap();
        let grid = Grid { batch_sizes: vec![1], instances: vec![1], ..Grid::default() };
        assert!(profile_on_slice(&spec, &network, &grid, 1).unwrap().rows.is_empty());
        assert!(!profile_on_slice(&spec, &network, &grid, 3).unwrap().rows.is_empty());
    }

    #[test]
    fn a_slice_that_there_is_not_is_an_error() {
        let grid = Grid { batch_sizes: vec![1], instances: vec![1], ..Grid::default() };
        let network = networks::bundled("sdxl").unwrap();
        let on = |device, slices| {
            let spec = crate::device_spec::bundled(device).unwrap();
            profile_on_slice(&spec, &network, &grid, slices).unwrap_err().to_string()
        };
        assert_eq!(
            on("nvidia-a100-40gb", 5),
            "slices of the grid: found 5 of 7, expected 1, 2, 3, 4 or 7, on a device of 7 slices"
        );
        assert!(on("nvidia-v100", 3).contains("mig_slices is unknown"));
    }
}
