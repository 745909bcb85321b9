//! The search that learns, on a measured table. It is looked for in the folder that `WATTLE_DATA` names,
//! and the test is passed over, with a note, where it is not set. The bench `tables` measures them all.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]
#![allow(clippy::print_stdout, reason = "says what it passed over")]
#![allow(clippy::disallowed_methods, reason = "reads the measured table from a file")]

use wattle_core::profile::PowerFigure;
use wattle_core::units::Watts;
use wattle_import::{Format, Input, Options, import};
use wattle_search::{Constraints, Next, Probe, Question, Space, answer, build};

#[test]
fn five_percent_of_a_measured_table_are_enough_for_90_percent_of_the_best_under_each_cap() {
    let Some(data) = std::env::var_os("WATTLE_DATA") else {
        println!("passed over: WATTLE_DATA names no folder of published files");
        return;
    };
    let name = "profiles/enertune-a100/vgg19-perf-power-profile.csv";
    let bytes = std::fs::read(std::path::Path::new(&data).join(name)).unwrap();
    let inputs = [Input { name: name.to_owned(), bytes }];
    let profile = import(Format::EnerTune, &inputs, &Options::default()).unwrap().profiles.remove(0).profile;
    let space = Space::new(profile.rows.iter().map(|row| row.point.clone()).collect()).unwrap();
    let (mut probes, mut over) = (0, 0);
    for cap in [80.0, 110.0, 150.0, 200.0, 250.0, 300.0].map(Watts::new) {
        let constraints = Constraints { cap: Some(cap), figure: PowerFigure::Mean, ..Constraints::default() };
        let mut search =
            build("sampled", space.clone(), Question::MostThroughput, constraints, 15, 1).unwrap();
        let mut seen: Vec<Probe> = Vec::new();
        while let Next::Probe { point, .. } = search.next(&seen) {
            let row = profile.row_at(&point).unwrap().clone();
            probes += 1;
            over += usize::from(row.power_watts_mean.unwrap().get() > cap.get() * 1.05);
            seen.push(Probe::measured(row));
        }
        let found = answer(&space, &seen, Question::MostThroughput, &constraints).measured.unwrap();
        let best = profile.best_within(cap, PowerFigure::Mean, |_| true).unwrap();
        let share = found.throughput_rps.unwrap() / best.throughput_rps.unwrap();
        assert!(share > 0.9, "{share} of the best under {cap}");
    }
    assert!(over * 20 < probes, "{over} of {probes} probes were over the cap by more than 5 %");
}
