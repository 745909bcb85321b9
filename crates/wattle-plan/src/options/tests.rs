//! Options of small fleets.

use super::*;
use crate::fleet::{Fleet, load};

const PROFILE: &str = "# wattle_profile = 1
# model = \"m\"
# device = \"a test\"
# runtime = \"none\"
# power_source = \"none\"
batch_size,instances,core_clock_mhz,partition,throughput_rps,latency_ms_mean,power_watts_mean,basis,power_basis,samples
1,1,1410,3g,100,10,145,measured,measured,10
4,1,1410,3g,200,20,165,measured,measured,10
1,1,1410,,150,7,185,measured,measured,10
1,1,1410,mps-50,80,12,120,measured,measured,10
";

fn made(model: &str, device: &str) -> Options {
    let text = format!(
        r#"
objective = "energy"
grid = {{ source = "gas" }}
[[devices]]
name = "a100"
spec = "nvidia-a100-40gb"
count = 1
idle_power_watts = 45
shared_idle_power_watts = 20
{device}
[[models]]
name = "m"
profiles = {{ a100 = "m.csv" }}
{model}
"#
    );
    let fleet = Fleet::parse(&text, "FLEET.toml").unwrap();
    let loaded = load(fleet, "FLEET.toml", &|_| Ok(PROFILE.to_owned())).unwrap();
    options(&loaded, Restrict::default()).unwrap()
}

fn entry_in(made: &Options, slot: &Slot) -> Option<(Entry, Choice)> {
    let place = made.kinds[0].slots.iter().position(|known| known == slot)?;
    let entry = *made.instance.kinds[0].clocks[0].entries[place].first()?;
    Some((entry, made.choices[entry.tag].clone()))
}

#[test]
fn draw_is_the_rows_power_over_the_floor_for_the_share_of_time_that_is_busy() {
    let made = made("load_rps = 50\nslo_ms = 1000", "");
    let (entry, choice) = entry_in(&made, &Slot::Mig(3)).unwrap();
    assert_eq!((choice.batch_size, entry.busy), (1, 0.5));
    assert!((entry.draw - 0.5 * (145.0 - 45.0 - 20.0)).abs() < 1e-9);
    assert!(entry_in(&made, &Slot::Mig(4)).is_none());
    assert!(entry_in(&made, &Slot::Whole).is_some());
}

#[test]
fn a_load_that_one_at_a_time_can_not_sustain_takes_the_smallest_batch_that_can() {
    let made = made("load_rps = 120\nslo_ms = 1000", "");
    let (entry, choice) = entry_in(&made, &Slot::Mig(3)).unwrap();
    assert_eq!((choice.batch_size, entry.busy, entry.parts), (4, 0.6, 1));
}

#[test]
fn a_latency_objective_that_no_wait_fits_in_leaves_no_option() {
    let made = made("load_rps = 50\nslo_ms = 5", "");
    assert_eq!(
        made.nowhere.get(&0).map(String::as_str),
        Some("a100: a batch takes 7.0 ms at least, the objective is 5.0 ms")
    );
}

#[test]
fn partitions_of_other_kinds_are_offered_where_layouts_name_them() {
    let without = made("load_rps = 10\nslo_ms = 1000", "");
    assert!(entry_in(&without, &Slot::Named("mps-50".to_owned())).is_none());
    assert!(
        without
            .notes
            .iter()
            .any(|note| note.contains("sharing without partitions (MPS, time slices) is not offered"))
    );
    let with = made("load_rps = 10\nslo_ms = 1000", "layouts = [[\"mps-50\", \"mps-50\"]]");
    assert!(entry_in(&with, &Slot::Named("mps-50".to_owned())).is_some());
}

#[test]
fn neighbours_slow_a_model_down_by_what_is_assumed_and_never_overfill_the_device() {
    // Memory must be known to share without partitions, and these rows tell none.
    let sharing = "sharing = { most = 2, slowdown_per_neighbour = 0.25, source = \"a guess\" }";
    let made = made("load_rps = 10\nslo_ms = 1000", sharing);
    assert!(entry_in(&made, &Slot::SharedBy(2)).is_none());
    assert!(made.notes.iter().any(|note| note.contains("assumed: a guess")));
}

#[test]
fn a_share_of_a_device_is_never_busy_for_longer_than_its_share_of_the_time() {
    let row = |batch_size, capacity_rps| Fitted {
        batch_size,
        instances: 1,
        capacity_rps,
        tail_seconds: 0.01,
        watts: 100.0,
        most_busy: 0.5,
        basis: Basis::Assumed,
    };
    // One at a time would keep up, but only with the whole device.
    let (choice, busy, _) = chosen(&[row(1, 100.0), row(8, 400.0)], 80.0, 10.0, 50.0, 0.95).unwrap();
    assert_eq!((choice.batch_size, busy), (8, 0.2));
}

#[test]
fn a_kind_of_which_there_is_none_is_told_as_the_reason() {
    let text = r#"
grid = { source = "gas" }
[[devices]]
name = "a100"
spec = "nvidia-a100-40gb"
count = 0
[[models]]
name = "photos"
network = "resnet50"
load_rps = 10
slo_ms = 100
"#;
    let fleet = Fleet::parse(text, "FLEET.toml").unwrap();
    let loaded = load(fleet, "FLEET.toml", &|_| Err("no files here".to_owned())).unwrap();
    let made = options(&loaded, Restrict::default()).unwrap();
    assert_eq!(made.nowhere.get(&0).map(String::as_str), Some("a100: its count is 0"));
}
