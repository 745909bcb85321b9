//! Rows over time, as points of plots.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Row, params};
use wattle_core::time::UnixTime;
use wattle_core::units::{CarbonIntensity, Watts};

use super::{IntensityRange, SeriesPoint, nanos_between, period};
use crate::source::Source;

/// Every row that starts in the range, in order of time.
pub(super) fn read(
    connection: &Connection,
    sources: &BTreeMap<i64, Arc<Source>>,
    from: Option<UnixTime>,
    to: Option<UnixTime>,
) -> rusqlite::Result<Vec<SeriesPoint>> {
    let query = "
        SELECT level_seconds, start_unix_nanos, covered_nanos, run, source, metered_joules, idle_joules,
            power_max_watts, carbon_intensity_g_per_kwh, carbon_intensity_min_g_per_kwh,
            carbon_intensity_max_g_per_kwh
        FROM entry
        WHERE level_seconds IN (1, 60, 3600, 86400) AND start_unix_nanos >= ? AND start_unix_nanos < ?
        ORDER BY start_unix_nanos, run, source";
    let (from, to) = nanos_between(from, to);
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query(params![from, to])?;
    let mut points = Vec::new();
    while let Some(row) = rows.next()? {
        // A foreign key: there always is one.
        if let Some(source) = sources.get(&row.get(4)?) {
            points.push(point(row, source)?);
        }
    }
    Ok(points)
}

fn point(row: &Row, source: &Arc<Source>) -> rusqlite::Result<SeriesPoint> {
    let covered: i64 = row.get(2)?;
    let covered_time = Duration::from_nanos(covered.max(0).unsigned_abs());
    let power = |joules: f64| (covered > 0).then(|| Watts::new(joules / covered_time.as_secs_f64()));
    let intensity = match (row.get(8)?, row.get(9)?, row.get(10)?) {
        (Some(mean), Some(min), Some(max)) => Some(IntensityRange {
            mean: CarbonIntensity::new(mean),
            min: CarbonIntensity::new(min),
            max: CarbonIntensity::new(max),
        }),
        _ => None,
    };
    Ok(SeriesPoint {
        span: period::of_row(row.get(1)?, row.get(0)?, covered),
        covered: covered_time,
        run: row.get(3)?,
        power: power(row.get(5)?),
        power_max: row.get::<_, Option<f64>>(7)?.map(Watts::new),
        idle_power: power(row.get(6)?),
        intensity,
        source: Arc::clone(source),
    })
}
