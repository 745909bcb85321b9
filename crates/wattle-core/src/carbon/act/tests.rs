//! ACT on devices whose figures are known: computed by hand from the printed parameters.

use proptest::prelude::*;

use super::*;

fn inputs(area_mm2: f64, node: u32, fab: &str, gigabytes: f64, abatement: f64) -> ActInputs {
    ActInputs {
        die_area_mm2: area_mm2,
        node: Node::of(node).unwrap(),
        fab_grid: FabGrid::named(fab).unwrap(),
        abatement,
        yield_share: YIELD,
        memory: Some((Memory::named("ddr4-10nm").unwrap(), gigabytes)),
        packages: 1,
    }
}

fn kilograms(area_mm2: f64, node: u32, fab: &str, gigabytes: f64, abatement: f64) -> f64 {
    inputs(area_mm2, node, fab, gigabytes, abatement).emissions().unwrap().kilograms()
}

#[test]
fn an_a100_of_40_gb_comes_to_the_published_21_56_kg() {
    let parts = inputs(826.0, 7, "taiwan", 40.0, 0.99).emissions().unwrap();
    assert!((parts.kilograms() - 21.56).abs() < 0.005, "{}", parts.kilograms());
    let logic = parts.logic_energy + parts.logic_gases + parts.logic_materials;
    assert!((logic.get() - 18_441.0).abs() < 1.0, "{logic}");
    assert!((parts.memory.get() - 2_971.4).abs() < 0.1, "{}", parts.memory);
    assert_eq!(parts.packages.get(), 150.0);
}

#[test]
fn devices_come_to_what_the_parameters_give_by_hand() {
    // Area in mm2, node, fab, memory in GB, then kilograms at 99 % and at 97 % abatement. 12 nm and 16 nm
    // stand as 14 nm, and 4 nm as 5 nm.
    let rows = [
        ("A100 80 GB", 826.0, 7, "taiwan", 80.0, 24.53, 25.24),
        ("V100 16 GB", 815.0, 14, "taiwan", 16.0, 13.68, 14.03),
        ("V100 32 GB", 815.0, 14, "taiwan", 32.0, 14.86, 15.21),
        ("T4 16 GB", 545.0, 14, "taiwan", 16.0, 9.59, 9.82),
        ("H100 80 GB", 814.0, 5, "taiwan", 80.0, 27.75, 28.71),
        ("H200 141 GB", 814.0, 5, "taiwan", 141.0, 32.28, 33.24),
        ("MI50 16 GB", 331.0, 7, "taiwan", 16.0, 8.73, 9.01),
        ("MI50 32 GB", 331.0, 7, "taiwan", 32.0, 9.92, 10.20),
        ("RTX 3090 24 GB", 628.0, 8, "korea", 24.0, 11.29, 11.62),
        ("P40 24 GB", 471.0, 14, "taiwan", 24.0, 9.06, 9.26),
        ("L4 24 GB", 294.0, 5, "taiwan", 24.0, 9.77, 10.11),
    ];
    for (name, area, node, fab, gigabytes, at_99, at_97) in rows {
        for (abatement, expected) in [(0.99, at_99), (DEFAULT_ABATEMENT, at_97)] {
            let found: f64 = kilograms(area, node, fab, gigabytes, abatement);
            assert!((found / expected - 1.0).abs() < 0.005, "{name} at {abatement}: {found}, not {expected}");
        }
    }
}

#[test]
fn what_act_has_no_figure_for_is_refused_with_what_it_has() {
    let error = Node::of(12).unwrap_err().to_string();
    assert!(error.starts_with("node_nm is 12") && error.contains("28, 20, 14, 10"), "{error}");
    let error = Memory::named("ddr4").unwrap_err().to_string();
    assert!(error.contains("did you mean \"lpddr4\"?"), "{error}");
    let error = FabGrid::named("Taiwan ").unwrap_err().to_string();
    assert!(error.contains("did you mean \"taiwan\"?"), "{error}");
    let wrong = |change: fn(&mut ActInputs)| {
        let mut inputs = inputs(826.0, 7, "taiwan", 40.0, 0.99);
        change(&mut inputs);
        inputs.emissions().unwrap_err().parameter
    };
    assert_eq!(wrong(|inputs| inputs.abatement = 0.9), "abatement");
    assert_eq!(wrong(|inputs| inputs.abatement = f64::NAN), "abatement");
    assert_eq!(wrong(|inputs| inputs.die_area_mm2 = 0.0), "die_area_mm2");
    assert_eq!(wrong(|inputs| inputs.yield_share = 1.5), "yield_share");
    assert_eq!(
        wrong(|inputs| inputs.memory = inputs.memory.map(|(kind, _)| (kind, -1.0))),
        "memory_gigabytes"
    );
}

proptest! {
    #[test]
    fn more_area_more_memory_and_less_abatement_never_emit_less(
        area in 1.0..2000.0,
        more_area in 0.0..1000.0,
        gigabytes in 1.0..500.0,
        more_gigabytes in 0.0..500.0,
        node in 0..NODES.len(),
        abatement in 0.95..0.99,
    ) {
        let node = NODES[node].nanometres;
        let base: f64 = kilograms(area, node, "taiwan", gigabytes, abatement);
        prop_assert!(base > 0.0);
        prop_assert!(kilograms(area + more_area, node, "taiwan", gigabytes, abatement) >= base);
        prop_assert!(kilograms(area, node, "taiwan", gigabytes + more_gigabytes, abatement) >= base);
        prop_assert!(kilograms(area, node, "taiwan", gigabytes, 0.95) >= base);
        prop_assert!(kilograms(area, node, "iceland", gigabytes, abatement) <= base);
    }
}
