//! Reports by hand and as properties: every joule and every gram of making a device is in a row, once.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use wattle_core::carbon::{CarbonAccounting, Embodied, EmbodiedFigure};
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::signal::{EmissionScope, Freshness, IntensityKind, PointStatus, Quantity, SignalHead};
use wattle_core::time::UnixTime;
use wattle_core::units::{CarbonIntensity, GramsCo2e, Joules};

use super::*;
use crate::query::{AccountRow, Answer, DeviceRow, Group, KnownGrams, Run};
use crate::{CarbonSource, Source};

const HOUR: i64 = 3600;

fn hour(number: i64) -> Span {
    let from = 1_793_491_200 + number * HOUR;
    Span { from: UnixTime::from_secs(from), to: UnixTime::from_secs(from + HOUR) }
}

fn source() -> Arc<Source> {
    let head = SignalHead {
        quantity: Quantity::CarbonIntensity,
        zone: Some("DE".into()),
        kind: IntensityKind::Average,
        scope: EmissionScope::LifeCycle,
        source: "Electricity Maps v3".into(),
    };
    Arc::new(Source {
        power: Provenance::new(Basis::Measured, "RAPL"),
        carbon: Some(CarbonSource { head, status: PointStatus::Actual, freshness: Freshness::Fresh }),
    })
}

fn figure(kilograms: f64) -> EmbodiedFigure {
    EmbodiedFigure { kilograms, provenance: Provenance::new(Basis::Modelled, "a table") }
}

/// PUE 1.2, a contract of 20 g/kWh, and a device of 21.56 to 181 kg over 5 years.
fn accounting() -> CarbonAccounting {
    CarbonAccounting {
        pue: 1.2,
        pue_source: Some("the operator".into()),
        market: Some((CarbonIntensity::new(20.0), "a contract".into())),
        embodied: Some(Embodied {
            low: figure(21.56),
            high: Some(figure(181.0)),
            lifetime_years: 5.0,
            lifetime_source: "a paper".into(),
            device_share: 1.0,
        }),
    }
}

fn run(number: i64, cores: Option<u32>, accounting: Option<CarbonAccounting>) -> Run {
    Run {
        run: number,
        uid: number.to_string(),
        started: UnixTime::from_secs(0),
        version: "0".into(),
        host: String::new(),
        device: "a100".into(),
        cores,
        accounting,
        accounting_json: None,
        entries: 1,
    }
}

fn group(period: Option<Span>, run: i64, model: Option<&str>) -> Group {
    Group {
        period,
        model: model.map(str::to_owned),
        family: None,
        class: None,
        device: None,
        run: Some(run),
        source: None,
    }
}

/// Emissions of `joules` at `intensity` with a PUE of 1.2, known for `share` of them.
fn known(joules: f64, intensity: f64, share: f64) -> Option<KnownGrams> {
    let energy = Joules::new(joules * share);
    (share > 0.0).then(|| KnownGrams { grams: energy * 1.2 * CarbonIntensity::new(intensity), energy })
}

fn account(period: Option<Span>, run: i64, model: &str, joules: f64, busy: f64, share: f64) -> AccountRow {
    AccountRow {
        group: group(period, run, Some(model)),
        dynamic: Joules::new(joules * 0.75),
        shared: Joules::new(joules * 0.25),
        location: known(joules, 300.0, share),
        market: known(joules, 20.0, 1.0),
        rows: 2000,
        requests: 1000,
        core_seconds: busy,
        basis: Basis::Measured,
        sources: vec![source()],
    }
}

fn device(period: Option<Span>, run: i64, metered: f64, idle: f64, share: f64) -> DeviceRow {
    DeviceRow {
        group: group(period, run, None),
        metered: Joules::new(metered),
        idle: Joules::new(idle),
        location: known(metered, 300.0, share),
        market: known(metered, 20.0, 1.0),
        idle_location: known(idle, 300.0, share),
        idle_market: known(idle, 20.0, 1.0),
        core_seconds: 0.0,
        covered: Duration::from_secs(3600),
        entries: 3600,
        intensity: None,
        power_max: None,
        basis: Basis::Measured,
        sources: vec![source()],
    }
}

/// An hour of one device with two cores: 180 kJ idle; `a` is busy for 1.5 of its 2 core hours and draws
/// 270 kJ, `b` for 0.5 and draws 90 kJ.
fn busy_hour(share: f64) -> Answer {
    let period = Some(hour(0));
    Answer {
        accounts: vec![
            account(period, 1, "a", 270e3, 1.5 * 1800.0, share),
            account(period, 1, "b", 90e3, 0.5 * 1800.0, share),
        ],
        devices: vec![device(period, 1, 540e3, 180e3, share)],
        counted: Some(hour(0)),
        edges: Vec::new(),
    }
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found}, not {expected}");
}

#[test]
fn an_hour_by_hand_in_both_views() {
    let report = assemble(&busy_hour(1.0), &[run(1, Some(1), Some(accounting()))], By::Model);
    let [a, b, idle] = report.rows.as_slice() else { panic!("{:?}", report.rows) };
    assert_eq!((&a.of, &b.of, &idle.of), (&Of::Named("a".into()), &Of::Named("b".into()), &Of::Idle));
    // By busy time of one core: a 2700 of 3600 s, b 900 s, nothing is left.
    near(a.busy.energy.get(), 270e3);
    near(a.busy.site_energy.get(), 324e3);
    near(a.busy.location.unwrap().grams.get(), 0.09 * 300.0);
    near(a.busy.market.unwrap().grams.get(), 0.09 * 20.0);
    // An hour of 43 830 in five years: 0.4919 g; three quarters of it.
    near(a.busy.embodied.unwrap().low.get(), 0.75 * 21_560.0 / 43_830.0);
    near(a.busy.embodied.unwrap().high.unwrap().get(), 0.75 * 181_000.0 / 43_830.0);
    // By reserved time, with three quarters of the idle 180 kJ: 405 kJ, 486 kJ at the site, 0.135 kWh.
    near(a.reserved.energy.get(), 405e3);
    near(a.reserved.location.unwrap().grams.get(), 0.135 * 300.0);
    near(idle.reserved.energy.get(), 0.0);
    near(idle.busy.energy.get(), 180e3);
    let sci = a.sci_per_request().unwrap();
    near(sci.low.get(), (40.5 + 0.75 * 21_560.0 / 43_830.0) / 1000.0);
    near(a.sci_per_1000_rows().unwrap().low.get(), (40.5 + 0.75 * 21_560.0 / 43_830.0) / 2.0);
    near(report.total.busy.energy.get(), 540e3);
    near(report.total.reserved.energy.get(), 540e3);
    near(b.reserved.energy.get(), 135e3);
}

#[test]
fn with_more_cores_than_were_busy_the_rest_of_the_device_is_nobodys_by_busy_time() {
    let report = assemble(&busy_hour(1.0), &[run(1, Some(2), Some(accounting()))], By::Model);
    let low = |row: &Row| row.busy.embodied.unwrap().low.get();
    let whole = 21_560.0 / 43_830.0;
    near(low(&report.rows[0]), whole * 0.375);
    near(low(&report.rows[2]), whole * 0.5);
    near(report.rows[0].reserved.embodied.unwrap().low.get(), whole * 0.75);
    near(low(&report.total), whole);
}

#[test]
fn a_row_names_every_source() {
    let report = assemble(&busy_hour(1.0), &[run(1, Some(1), Some(accounting()))], By::Model);
    for line in report.lines().iter().chain([&report.total_line()]) {
        assert_eq!(line.power_basis.as_deref(), Some("measured"));
        assert_eq!(line.power_source, "measured: RAPL");
        assert_eq!(line.intensity_source, "Electricity Maps v3, zone DE, average, life-cycle, actual");
        assert_eq!(line.pue_source, "PUE 1.2 (the operator)");
        assert_eq!(line.market_source, "a contract (20 gCO2e/kWh)");
        assert!(line.embodied_source.contains("21.6 kg (modelled: a table) to 181.0 kg"), "{line:?}");
        assert!(line.embodied_source.contains("over 5 years (a paper)"), "{line:?}");
    }
}

#[test]
fn what_is_unknown_stays_empty_and_has_no_score() {
    let report = assemble(&busy_hour(0.0), &[run(1, None, None)], By::Model);
    let line = report.total_line();
    assert_eq!((line.location_grams, line.sci_low_grams_per_request), (None, None));
    assert_eq!((line.embodied_busy_low_grams, line.embodied_reserved_low_grams), (None, None));
    assert_eq!(line.carbon_known_share, Some(0.0));
    // Site energy is not known to be more than the device's own, which its source says.
    assert!(line.pue_source.starts_with("PUE not recorded"), "{}", line.pue_source);
    near(line.energy_joules, 540e3);
    // Cores that nobody recorded leave the busy part of the device open, not the reserved one.
    let report = assemble(&busy_hour(1.0), &[run(1, None, Some(accounting()))], By::Model);
    assert!(report.rows[0].busy.embodied.is_none() && report.rows[0].reserved.embodied.is_some());
}

#[test]
fn a_sum_tells_for_what_share_carbon_is_known_and_a_score_needs_most_of_it() {
    let at = |share| {
        let report = assemble(&busy_hour(share), &[run(1, Some(1), Some(accounting()))], By::Model);
        (report.rows[0].clone(), report.total_line().carbon_known_share.unwrap())
    };
    let (whole, share) = at(1.0);
    near(share, 1.0);
    let (most, share) = at(0.95);
    near(share, 0.95);
    near(most.busy.location.unwrap().grams.get(), 27.0 * 0.95);
    // The mean intensity of what is known stands for the rest.
    near(most.sci_per_request().unwrap().low.get(), whole.sci_per_request().unwrap().low.get());
    assert!(at(0.85).0.sci_per_request().is_none());
}

#[test]
fn energy_of_which_all_carbon_is_known_is_known_whole_whatever_sums_round_to() {
    let view = |energy: f64, known: f64| View {
        energy: Joules::new(energy),
        location: Some(KnownGrams { grams: GramsCo2e::new(1.0), energy: Joules::new(known) }),
        ..View::default()
    };
    assert_eq!(view(0.1 + 0.2, 0.3).known_share(), Some(1.0));
    assert_eq!(view(0.3, 0.1 + 0.2).known_share(), Some(1.0));
    assert_eq!(view(1.0, 0.999_999).known_share(), Some(0.999_999));
}

#[test]
fn market_based_grams_tell_of_which_energy_they_are() {
    let mut answer = busy_hour(1.0);
    let mut without = device(Some(hour(0)), 2, 540e3, 540e3, 1.0);
    (without.market, without.idle_market) = (None, None);
    answer.devices.push(without);
    let runs = [run(1, Some(1), Some(accounting())), run(2, Some(1), Some(CarbonAccounting::default()))];
    let line = assemble(&answer, &runs, By::Model).total_line();
    assert_eq!((line.carbon_known_share, line.market_known_share), (Some(1.0), Some(0.5)));
}

#[test]
fn runs_are_counted_each_by_its_own_accounting() {
    let mut answer = busy_hour(1.0);
    answer.accounts.push(account(Some(hour(0)), 2, "a", 100e3, 100.0, 1.0));
    answer.devices.push(device(Some(hour(0)), 2, 150e3, 50e3, 1.0));
    let runs = [run(1, Some(1), Some(accounting())), run(2, Some(1), Some(CarbonAccounting::default()))];
    let report = assemble(&answer, &runs, By::Model);
    // The second has no PUE, and nothing is known of how its device was made: neither is the sum.
    near(report.rows[0].busy.site_energy.get(), 270e3 * 1.2 + 100e3);
    assert!(report.rows[0].reserved.embodied.is_none());
    assert!(report.rows[1].reserved.embodied.is_some());
    assert_eq!(report.devices.len(), 2);
    assert!(report.total_line().pue_source.contains("PUE 1 (none is configured"));
}

#[test]
fn a_baseline_goes_to_the_row_of_its_time_and_name() {
    let mut report = assemble(&busy_hour(1.0), &[run(1, Some(1), Some(accounting()))], By::Model);
    report.baseline = Some(Ok(BaselineTold {
        policy: "fixed".into(),
        provenance: Provenance::new(Basis::Assumed, "a profile"),
    }));
    let figures =
        BaselineFigures { energy: Joules::new(300e3), location: known(300e3, 300.0, 1.0), refused_rows: 2.0 };
    let a = Of::Named("a".into());
    assert!(report.add_baseline(hour(0).from, &a, &figures));
    assert!(!report.add_baseline(hour(1).from, &a, &figures));
    assert!(!report.add_baseline(hour(0).from, &Of::Unnamed, &figures));
    let lines = report.lines();
    assert_eq!((lines[0].baseline_energy_joules, lines[1].baseline_energy_joules), (Some(300e3), None));
    assert_eq!(lines[0].baseline_source.as_deref(), Some("assumed: a profile"));
    assert_eq!(report.total_line().baseline_refused_rows, Some(2.0));
}

#[test]
fn csv_has_the_names_of_its_columns_and_leaves_the_unknown_empty() {
    let report = assemble(&busy_hour(0.0), &[run(1, None, None)], By::Model);
    let mut csv = Vec::new();
    write_csv(&report.lines(), &mut csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with(
        "period_start,period_end,by,name,row_kind,requests,rows,energy_joules,site_energy_joules,"
    ));
    assert_eq!(
        lines[1],
        "2026-11-01T00:00:00Z,2026-11-01T01:00:00Z,model,a,account,1000,2000,270000.0,270000.0,405000.0,\
         405000.0,,,1.7999999999999998,2.6999999999999997,0.0,0.0,1.0,,,,,,,,,,,,,,,measured,measured: RAPL,\
         \"Electricity Maps v3, zone DE, average, life-cycle, actual\",,PUE not recorded (a run of another version of Wattle): its site energy \
         is that of the device alone,"
    );
}

#[test]
fn crossovers_are_told_for_both_ends() {
    let told = crossovers(&accounting().embodied.unwrap(), &[("wind".into(), CarbonIntensity::new(11.0))]);
    assert_eq!(told[0].electricity, "wind (11 g/kWh)");
    assert!((told[0].low.unwrap().get() - 44.7).abs() < 0.1);
    assert!((told[0].high.unwrap().get() - 375.4).abs() < 0.5);
}

proptest! {
    #[test]
    fn rows_add_up_to_the_devices_in_both_views(
        hours in prop::collection::vec(
            (0.0..1e6f64, prop::collection::vec((0.0..1e6f64, 0.0..4000.0f64), 0..5), 0.0..=1.0f64),
            1..5,
        ),
        cores in 1u32..8,
    ) {
        let (mut answer, mut number) = (Answer::default(), 0);
        let (mut metered, mut grams) = (0.0, 0.0);
        for (idle, accounts, share) in &hours {
            let period = Some(hour(number));
            let own: f64 = accounts.iter().map(|(joules, _)| joules).sum();
            for (index, (joules, busy)) in accounts.iter().enumerate() {
                answer.accounts.push(account(period, 1, &format!("m{index}"), *joules, *busy, *share));
            }
            answer.devices.push(device(period, 1, idle + own, *idle, *share));
            metered += idle + own;
            grams += known(idle + own, 300.0, *share).map_or(0.0, |known| known.grams.get());
            number += 1;
        }
        let report = assemble(&answer, &[run(1, Some(cores), Some(accounting()))], By::Model);
        let close = |found: f64, expected: f64| (found - expected).abs() <= 1e-6 * expected.abs().max(1.0);
        let made = f64::from(u32::try_from(number).unwrap()) * 21_560.0 / 43_830.0;
        for view in [|row: &Row| row.busy, |row: &Row| row.reserved] {
            let sum = |of: &dyn Fn(&View) -> f64| report.rows.iter().map(|row| of(&view(row))).sum::<f64>();
            prop_assert!(close(sum(&|view| view.energy.get()), metered));
            prop_assert!(close(view(&report.total).energy.get(), metered));
            prop_assert!(close(sum(&|view| view.location.map_or(0.0, |of| of.grams.get())), grams));
            prop_assert!(close(sum(&|view| view.embodied.unwrap().low.get()), made));
        }
        for row in report.rows.iter().filter(|row| row.of != Of::Idle) {
            prop_assert!(row.busy.embodied.unwrap().low <= row.reserved.embodied.unwrap().low + GramsCo2e::new(1e-9));
            prop_assert!(row.busy.energy <= row.reserved.energy);
        }
    }
}
