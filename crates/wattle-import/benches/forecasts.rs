//! Errors of day-ahead forecasts of published carbon intensities, and how long they take:
//! `WATTLE_DATA=… cargo bench -p wattle-import --bench forecasts`. A plain clock, no dependency.
//!
//! Day-ahead: from every hour of the last 365 days (of the last half of a shorter series) the next 24 h, all
//! errors weighing the same; and the same from 00:00 in universal time alone. The seasonal-naive that
//! others are compared with is the better of day and week over these hours. Beside them the share of values
//! inside the intervals of the model picked anew at 00:00 of each day, and the seconds that all forecasts
//! from 00:00 take. "mix seen": with the generation by source up to the origin. "forecasts": with those of
//! weather and generation in the file, taken as DACF gives them.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::unwrap_used, reason = "a benchmark may fail so")]

#[path = "../tests/zones/mod.rs"]
mod zones;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wattle_core::forecast::{History, Model, back_test, pick};
use wattle_core::time::UnixTime;
use zones::{CISO, DAY, ERCO, ISNE, ZONES, Zone, last_year};

const HOUR: Duration = Duration::from_secs(3600);
const SOURCES: [&str; 5] = ["nat_gas", "nuclear", "hydro", "solar", "wind"];

fn main() {
    let Some(data) = std::env::var_os("WATTLE_DATA").map(PathBuf::from).filter(|data| data.is_dir()) else {
        println!("passed over: WATTLE_DATA names no folder of published files");
        return;
    };
    println!("MAPE in %, in parentheses the change against the better seasonal-naive in %");
    println!(
        "{:<32} {:>6} {:>6} {:>6} {:>6} {:>13} {:>13} {:>7} {:>7}",
        "zone", "days", "persis", "day", "week", "regression", "regr. 00:00", "80 %", "seconds"
    );
    for zone in ZONES {
        row(zone.name, &zone.history(&data));
    }
    for zone in [CISO, ISNE, ERCO] {
        row(&format!("{}, mix seen", zone.name), &zone.history_with_mix(&data, &SOURCES));
    }
    for zone in [CISO, ISNE, ERCO] {
        row(&format!("{}, forecasts", zone.name), &with_forecasts(&zone, &data));
    }
}

fn row(name: &str, history: &History) {
    let mape = |model: Model, every: Duration| {
        let test = back_test(history, model, last_year(history, every), DAY).unwrap();
        test.score.mean_absolute_percentage_error.unwrap()
    };
    let [persistence, day, week] = [Model::Persistence, Model::SeasonalNaiveDay, Model::SeasonalNaiveWeek]
        .map(|model| mape(model, HOUR));
    let midnight_naive = mape(Model::SeasonalNaiveDay, DAY).min(mape(Model::SeasonalNaiveWeek, DAY));
    let learned = mape(Model::Regression, HOUR);
    let start = Instant::now();
    let midnight = mape(Model::Regression, DAY);
    let seconds = start.elapsed().as_secs_f64();
    let days = (last_year(history, DAY).until.saturating_since(last_year(history, DAY).first)).as_secs()
        / DAY.as_secs()
        + 1;
    let less = |mape: f64, naive: f64| format!("{mape:.2} ({:+.1})", 100.0 * (mape / naive - 1.0));
    println!(
        "{name:<32} {days:>6} {persistence:>6.2} {day:>6.2} {week:>6.2} {:>13} {:>13} {:>6.1}% {seconds:>7.2}",
        less(learned, day.min(week)),
        less(midnight, midnight_naive),
        100.0 * coverage(history),
    );
}

/// Share of values inside the intervals of the model picked anew at 00:00 of each day of the last year.
fn coverage(whole: &History) -> f64 {
    let origins = last_year(whole, DAY);
    let (mut inside, mut all, mut at) = (0, 0, origins.first);
    while at < origins.until {
        let history = whole.until(at);
        if let Some(made) = pick(&history, DAY).and_then(|picked| picked.forecast(&history)) {
            for (point, came) in made.points.iter().zip(&whole.values()[history.values().len()..]) {
                if let (Some(interval), Some(came)) = (point.interval, came) {
                    inside += usize::from((interval.low..=interval.high).contains(came));
                    all += 1;
                }
            }
        }
        at = at + DAY;
    }
    inside as f64 / f64::from(all)
}

/// The zone with the forecasts of weather and generation that DACF's files hold, known ahead.
fn with_forecasts(zone: &Zone, data: &Path) -> History {
    let bytes = zone.input(data).bytes;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let names = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let history = zone.history(data);
    let first: UnixTime = history.first();
    let columns = names.iter().enumerate().filter(|(_, name)| name.contains("forecast"));
    columns.fold(history, |history, (column, _)| {
        let values: Vec<Option<f64>> = rows.iter().map(|row| row[column].parse().ok()).collect();
        history.with_known_ahead(first, &values).unwrap()
    })
}
