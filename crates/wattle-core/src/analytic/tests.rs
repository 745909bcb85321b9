//! Tests of the analytic model: its shape, its limits and what it says about itself. None compares
//! it with a result that it was fitted to; `published_figures_beside_modelled_ones` prints some.

use proptest::prelude::*;

use super::*;
use crate::device_spec;

fn model(device: &str, network: &str, grid: &Grid) -> Profile {
    let spec = device_spec::bundled(device).unwrap();
    profile(&spec, &networks::bundled(network).unwrap(), grid).unwrap()
}

fn grid(batch_sizes: &[u32], instances: &[u32]) -> Grid {
    Grid { batch_sizes: batch_sizes.to_vec(), instances: instances.to_vec(), ..Grid::default() }
}

fn clocks(device: &str) -> Vec<Megahertz> {
    device_spec::bundled(device).unwrap().core_clocks_mhz.unwrap().value
}

fn rps(row: &ProfileRow) -> f64 {
    row.throughput_rps.unwrap()
}

fn watts(row: &ProfileRow) -> f64 {
    row.power_watts_mean.unwrap().get()
}

#[test]
fn every_network_is_modelled_on_every_device() {
    for (device, _) in device_spec::BUNDLED {
        for network in networks::parse(networks::BUNDLED, "networks.toml").unwrap() {
            let modelled = model(device, &network.name, &grid(&[1, 16], &[1, 2]));
            for row in &modelled.rows {
                assert!(rps(row) > 0.0 && rps(row).is_finite(), "{device} {}", network.name);
                assert!(row.latency_ms_mean.unwrap() > 0.0);
            }
        }
    }
}

#[test]
fn a_modelled_profile_says_so_and_lists_what_it_rests_on() {
    let modelled = model("nvidia-p40", "resnet50", &grid(&[1, 8], &[1]));
    for row in &modelled.rows {
        assert_eq!((row.basis, row.power_basis, row.samples), (Basis::Modelled, Basis::Modelled, 0));
    }
    let notes = modelled.head.notes.clone().unwrap();
    for assumption in assumptions::ALL {
        assert!(notes.contains(assumption.name) && notes.contains(assumption.source));
    }
    assert!(notes.contains("max_power_watts: assumed, Tesla P40 datasheet"));
    assert!(notes.contains("static_power_watts: unknown"));
    assert_eq!(Profile::parse(&modelled.to_text(), "p.csv").unwrap(), modelled);
}

#[test]
fn energy_per_row_is_least_between_the_lowest_and_the_highest_clock() {
    for device in ["nvidia-p40", "nvidia-v100", "nvidia-rtx-3090"] {
        let grid = Grid { clocks: clocks(device), ..grid(&[64], &[2]) };
        let modelled = model(device, "resnet152", &grid);
        let energy = |row: &ProfileRow| row.energy_joules_per_row.unwrap().get();
        let least = modelled.rows.iter().map(energy).fold(f64::INFINITY, f64::min);
        assert!(least < energy(modelled.rows.first().unwrap()), "{device}: not at the lowest");
        assert!(least < energy(modelled.rows.last().unwrap()), "{device}: not at the highest");
    }
}

#[test]
fn what_does_not_fit_the_memory_is_left_out() {
    // 24 GB, 1.56 GB for a process and 16.9 MB of weights: 15 instances.
    let many: Vec<u32> = (1..=24).collect();
    let modelled = model("nvidia-rtx-3090", "mobilenet_v1", &grid(&[1], &many));
    assert_eq!(modelled.rows.len(), 15);
    assert!(modelled.rows.iter().all(|row| row.memory_bytes.unwrap() <= 24_000_000_000));
    assert!(model("amd-mi50", "gpt_j_6b", &grid(&[64], &[1])).rows.is_empty());
}

#[test]
fn instances_overlap_until_the_device_is_busy() {
    let modelled = model("nvidia-rtx-3090", "mobilenet_v1", &grid(&[1, 128], &[1, 2, 4, 8]));
    let at = |batch_size, instances| {
        let point = OperatingPoint::of_batch_and_instances(batch_size, instances);
        rps(modelled.row_at(&point).unwrap())
    };
    assert!((at(1, 2) / at(1, 1) - 2.0).abs() < 1e-9, "small batches leave room");
    assert!(at(128, 8) < 1.01 * at(128, 4), "large ones fill the device");
    assert!(at(128, 2) > at(128, 1), "and still gain from a second instance");
}

#[test]
fn a_small_network_does_not_miss_the_units_that_a_large_one_needs() {
    let grid = Grid { units: vec![15, 60], ..grid(&[1], &[1]) };
    let kept = |network| {
        let modelled = model("amd-mi50", network, &grid);
        rps(&modelled.rows[0]) / rps(&modelled.rows[1])
    };
    assert!(kept("shufflenet_v2") > 0.9, "{}", kept("shufflenet_v2"));
    assert!(kept("vgg19") < 0.6, "{}", kept("vgg19"));
}

#[test]
fn a_board_over_its_limit_lowers_its_clock_and_says_so() {
    let mut spec = device_spec::bundled("nvidia-p40").unwrap();
    let network = networks::bundled("resnet152").unwrap();
    let free = profile(&spec, &network, &grid(&[256], &[1])).unwrap();
    // A hungrier memory takes the room that the compute units had.
    spec.memory_energy_picojoules_per_bit.as_mut().unwrap().value = 60.0;
    let held = profile(&spec, &network, &grid(&[256], &[1])).unwrap();
    assert!(rps(&held.rows[0]) < rps(&free.rows[0]));
    let power = held.rows[0].power_watts_max.unwrap().get();
    assert!((power - 250.0).abs() < 0.01, "{power}");
    assert!(held.head.notes.unwrap().contains("Of 1 rows, 1 are held back by the board's limit"));
}

#[test]
fn convolutions_run_in_tf32_where_the_device_has_it() {
    let spec = device_spec::bundled("nvidia-a100-40gb").unwrap();
    let network = networks::bundled("vgg19").unwrap();
    let with = profile(&spec, &network, &grid(&[32], &[1])).unwrap();
    let spec = DeviceSpec { peak_flops_tf32: None, ..spec };
    let without = profile(&spec, &network, &grid(&[32], &[1])).unwrap();
    assert!(rps(&with.rows[0]) > 2.0 * rps(&without.rows[0]));
}

#[test]
fn power_is_unknown_where_the_device_does_not_tell_enough() {
    let modelled = model("nvidia-h100", "resnet50", &grid(&[8], &[1]));
    assert_eq!(modelled.rows[0].power_watts_mean, None);
    assert_eq!(modelled.rows[0].energy_joules_per_row, None);
    assert_eq!(modelled.head.idle_power_watts, None);
}

#[test]
fn a_wrong_grid_is_told_what_is_expected() {
    let spec = device_spec::bundled("amd-mi50").unwrap();
    let network = networks::bundled("resnet50").unwrap();
    let good = grid(&[1], &[1]);
    for (grid, told) in [
        (grid(&[], &[1]), "batch_sizes of the grid: found [], expected numbers of at least 1"),
        (grid(&[1], &[0]), "instances of the grid: found [0]"),
        (
            Grid { clocks: vec![Megahertz::new(1800.0)], ..good.clone() },
            "clocks of the grid: found 1800.0 MHz, expected 925.0 MHz to 1725.0 MHz",
        ),
        (Grid { units: vec![61], ..good.clone() }, "units of the grid: found 61, expected 1 to 60"),
    ] {
        let error = profile(&spec, &network, &grid).unwrap_err().to_string();
        assert!(error.starts_with(told), "{error}");
    }
    let mut spec = spec;
    spec.peak_flops_fp32 = None;
    let error = profile(&spec, &network, &good).unwrap_err().to_string();
    assert!(error.contains("amd-mi50: peak_flops_fp32 is unknown"), "{error}");
}

#[test]
fn most_caps_of_batch_sizer_lie_within_the_modelled_power_range() {
    // Table 2: the caps of the two jobs of each network.
    let jobs = [
        ("inception_v1", [191.0, 125.0]),
        ("inception_v2", [123.0, 192.0]),
        ("inception_v3", [228.0, 165.0]),
        ("mobilenet_v1", [195.0, 98.0]),
        ("mobilenet_v2", [84.0, 208.0]),
        ("nasnet_mobile", [159.0, 135.0]),
        ("pnasnet_mobile", [246.0, 136.0]),
        ("resnet_v2_50", [143.0, 198.0]),
        ("resnet_v2_101", [167.0, 236.0]),
        ("resnet_v2_152", [218.0, 188.0]),
    ];
    let sizes: Vec<u32> = (0..9).map(|power| 1 << power).collect();
    let mut within = 0;
    for (network, caps) in jobs {
        let modelled = model("nvidia-p40", network, &grid(&sizes, &[1]));
        let powers = modelled.rows.iter().filter_map(|row| row.power_watts_max).map(Watts::get);
        let (low, high) =
            powers.fold((f64::MAX, 0.0_f64), |(low, high), power| (low.min(power), high.max(power)));
        println!("{network}: {low:.0} to {high:.0} W, caps {caps:?}");
        within += caps.iter().filter(|cap| (low..=high).contains(*cap)).count();
    }
    println!("{within} of 20 caps within the range");
    assert!(within > 10, "{within} of 20");
}

/// `cargo test -p wattle-core published_figures -- --nocapture` prints the table.
#[test]
fn published_figures_beside_modelled_ones() {
    let best = |batch_sizes: &[u32], instances: &[u32]| {
        let modelled = model("nvidia-rtx-3090", "mobilenet_v1", &grid(batch_sizes, instances));
        let row = modelled.best_within(Watts::new(350.0), crate::profile::PowerFigure::Max, |_| true);
        let row = row.unwrap().clone();
        (rps(&row), watts(&row), row.point.batch_size, row.point.instances)
    };
    let sizes: Vec<u32> = (1..=128).collect();
    let few: Vec<u32> = (1..=5).collect();
    println!("MobileNet V1 on an RTX 3090 at 350 W, images per second");
    let modelled = [best(&[1], &few), best(&sizes, &[1]), best(&sizes, &few)];
    let published = [("multi-tenant", 1241.0), ("batching", 9948.0), ("combination", 13431.0)];
    for ((rps, watts, b, m), (approach, published)) in modelled.into_iter().zip(published) {
        println!("{approach}: published {published}, modelled {rps:.0} at {watts:.0} W, b {b}, m {m}");
    }
    let order = [modelled[0].0, modelled[1].0, modelled[2].0];
    assert!(order.is_sorted(), "multi-tenant, batching, combination: the paper's order");

    println!("V100, millijoules per inference, batch 1 and 32 (published: Carbon-adaptive, Table 1)");
    for (network, published) in [
        ("resnet34", 359.9),
        ("resnet50", 420.6),
        ("resnet101", 803.1),
        ("resnet152", 1238.1),
        ("vgg16", 669.0),
        ("vgg19", 803.9),
        ("alexnet", 125.0),
    ] {
        let modelled = model("nvidia-v100", network, &grid(&[1, 32], &[1]));
        let energy: Vec<f64> =
            modelled.rows.iter().map(|row| row.energy_joules_per_row.unwrap().get() * 1e3).collect();
        println!("{network}: published {published}, modelled {:.0} and {:.0}", energy[0], energy[1]);
    }
}

/// A device and a network, by their place in the built-in lists.
fn any_pair() -> impl Strategy<Value = (String, String)> {
    let devices: Vec<String> = device_spec::BUNDLED.iter().map(|(name, _)| (*name).to_owned()).collect();
    let networks = networks::parse(networks::BUNDLED, "networks.toml").unwrap();
    let networks: Vec<String> = networks.into_iter().map(|network| network.name).collect();
    (prop::sample::select(devices), prop::sample::select(networks))
}

proptest! {
    #[test]
    fn a_higher_clock_is_no_slower_and_draws_no_less(
        (device, network) in any_pair(), batch in 1_u32..130, instances in 1_u32..4,
    ) {
        let clocks = clocks(&device);
        let modelled = model(&device, &network, &Grid { clocks, ..grid(&[batch], &[instances]) });
        for pair in modelled.rows.windows(2) {
            prop_assert!(rps(&pair[1]) >= rps(&pair[0]) * (1.0 - 1e-9));
            if let (Some(low), Some(high)) = (pair[0].power_watts_mean, pair[1].power_watts_mean) {
                prop_assert!(high.get() >= low.get() * (1.0 - 1e-6), "{low} then {high}");
            }
        }
    }

    #[test]
    fn more_units_are_no_slower(
        (device, network) in any_pair(), batch in 1_u32..130, instances in 1_u32..4,
    ) {
        let all = device_spec::bundled(&device).unwrap().compute_units.unwrap().value;
        let modelled =
            model(&device, &network, &Grid { units: (1..=all).collect(), ..grid(&[batch], &[instances]) });
        for pair in modelled.rows.windows(2) {
            prop_assert!(rps(&pair[1]) >= rps(&pair[0]) * (1.0 - 1e-6));
        }
    }

    #[test]
    fn a_larger_batch_or_one_more_instance_answers_no_less(
        (device, network) in any_pair(), batch in 1_u32..130, instances in 1_u32..4,
    ) {
        let modelled = model(&device, &network, &grid(&[batch, batch + 1], &[instances, instances + 1]));
        let at = |b, m| modelled.row_at(&OperatingPoint::of_batch_and_instances(b, m)).map(rps);
        if let (Some(less), Some(more)) = (at(batch, instances), at(batch + 1, instances)) {
            prop_assert!(more >= less * (1.0 - 1e-6), "batch");
        }
        if let (Some(less), Some(more)) = (at(batch, instances), at(batch, instances + 1)) {
            prop_assert!(more >= less * (1.0 - 1e-6), "instances");
        }
    }

    #[test]
    fn power_stays_between_idle_and_the_limit(
        (device, network) in any_pair(), batch in 1_u32..130, instances in 1_u32..4,
    ) {
        let spec = device_spec::bundled(&device).unwrap();
        let limit = spec.max_power_watts.unwrap().value;
        for row in model(&device, &network, &grid(&[batch], &[instances])).rows {
            if let (Some(mean), Some(max)) = (row.power_watts_mean, row.power_watts_max) {
                prop_assert!(mean <= max && max.get() <= limit.get() * (1.0 + 1e-9));
            }
        }
    }
}
