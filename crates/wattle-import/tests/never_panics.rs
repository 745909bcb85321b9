//! No bytes make an import panic, and all it makes is read back by the core.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

#[path = "samples/mod.rs"]
mod samples;

use proptest::prelude::*;
use wattle_core::profile::Profile;
use wattle_core::signal::{AfterEnd, Trace};
use wattle_import::{Format, Gaps, Input, Options, import};

/// A change of a file: bytes at a place (of 1) are replaced, cut out, put in or written again.
#[derive(Debug, Clone)]
enum Change {
    Replace(f64, Vec<u8>),
    Cut(f64, usize),
    Insert(f64, Vec<u8>),
    Again(f64, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let place = 0.0..1.0f64;
    let words = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..4),
        proptest::sample::select(vec![
            "-1",
            "1e308",
            "0",
            "NaN",
            "inf",
            ",",
            "\n",
            "\"",
            "9999-12-31 23:59:59",
            "{}",
            "[]",
            "null",
            "18446744073709551615",
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
    ];
    prop_oneof![
        (place.clone(), words.clone()).prop_map(|(at, bytes)| Change::Replace(at, bytes)),
        (place.clone(), 1..60usize).prop_map(|(at, length)| Change::Cut(at, length)),
        (place.clone(), words).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (place, 1..120usize).prop_map(|(at, length)| Change::Again(at, length)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let index = |at: &f64| ((bytes.len() as f64 * at) as usize).min(bytes.len());
    match change {
        Change::Replace(at, with) => {
            let start = index(at);
            let end = (start + with.len()).min(bytes.len());
            bytes.splice(start..end, with.iter().copied());
        }
        Change::Cut(at, length) => {
            let start = index(at);
            let end = (start + length).min(bytes.len());
            bytes.drain(start..end);
        }
        Change::Insert(at, with) => {
            let start = index(at);
            bytes.splice(start..start, with.iter().copied());
        }
        Change::Again(at, length) => {
            let start = index(at);
            let again = bytes[start..(start + length).min(bytes.len())].to_vec();
            bytes.splice(start..start, again);
        }
    }
}

fn check(format: Format, inputs: &[Input], options: &Options) -> Result<(), TestCaseError> {
    let Ok(imported) = import(format, inputs, options) else { return Ok(()) };
    for one in &imported.profiles {
        let read = Profile::parse(&one.profile.to_text(), "made");
        prop_assert_eq!(read.map_err(|error| error.to_string()), Ok(one.profile.clone()));
    }
    for one in &imported.signals {
        let read = Trace::parse(&one.to_text(), "made", one.column, AfterEnd::Hold);
        prop_assert!(read.is_ok(), "{:?}", read);
    }
    Ok(())
}

/// The names of the columns of a format's table.
const HEADERS: [(Format, &str); 7] = [
    (
        Format::EnerTune,
        "model,batch_size,mig_slices,frequency,avg_power_draw,dynamic_power_draw,throughput,latency",
    ),
    (Format::ParvaGpu, "Mig instance,Batch size,Workload Number,Throughput,Latency"),
    (
        Format::BatchDvfs,
        "time stamp,Througput (image/sec),power,batch size,minBS,maxBS,BestBS,power cap,DVFS",
    ),
    (Format::Dacf, "UTC time,coal,nat_gas,solar"),
    (Format::ElectricityMaps, "datetime,carbon_intensity_avg,power_production_solar_avg"),
    (Format::Uk, "Time,forecast,actual"),
    (Format::Clover, "CISO_March"),
];

/// A cell that most columns take, and now and then one that they don't.
fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        60 => (1..8u32).prop_map(|count| count.to_string()),
        20 => proptest::sample::select(vec!["0.5", "210", "1e308", "1e-300", "4294967295"]).prop_map(str::to_owned),
        1 => proptest::sample::select(vec!["", "0", "-1", "NaN", "x"]).prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn changed_samples_are_imported_or_refused(
        which in 0..samples::all().len(),
        file in 0..4usize,
        changes in proptest::collection::vec(change(), 1..5),
        gaps in proptest::sample::select(vec![None, Some(Gaps::Hold), Some(Gaps::Interpolate)]),
    ) {
        let (format, files) = samples::all().swap_remove(which);
        let mut inputs = samples::inputs(&files);
        let count = inputs.len();
        for change in &changes {
            apply(&mut inputs[file % count].bytes, change);
        }
        let signals = matches!(format, Format::Dacf | Format::ElectricityMaps | Format::Uk);
        check(format, &inputs, &Options { gaps: gaps.filter(|_| signals), ..Options::default() })?;
    }

    #[test]
    fn tables_of_any_numbers_are_imported_or_refused(
        which in 0..HEADERS.len(),
        cells in proptest::collection::vec(proptest::collection::vec(cell(), 9), 1..60),
        times in proptest::collection::vec((2020..2023u32, 1..3u32, 0..24u32), 60),
        gaps in proptest::sample::select(vec![Gaps::Hold, Gaps::Interpolate]),
    ) {
        let (format, header) = HEADERS[which];
        let timed = matches!(format, Format::Dacf | Format::ElectricityMaps | Format::Uk);
        let width = header.split(',').count();
        let mut text = format!("{header}\n");
        for (row, (year, day, hour)) in cells.iter().zip(times) {
            let mut row = row[..width].to_vec();
            if timed {
                row[0] = format!("{year}-01-{day:02} {hour:02}:00:00");
            }
            text += &(row.join(",") + "\n");
        }
        let inputs = [Input { name: "f.csv".into(), bytes: text.into_bytes() }];
        check(format, &inputs, &Options { gaps: Some(gaps).filter(|_| timed), ..Options::default() })?;
    }

    #[test]
    fn any_bytes_are_imported_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), zip in any::<bool>()) {
        let mut bytes = bytes;
        if zip {
            bytes.splice(0..0, *b"PK\x03\x04");
        }
        for format in Format::ALL {
            check(format, &[Input { name: "f".into(), bytes: bytes.clone() }], &Options::default())?;
        }
    }
}
