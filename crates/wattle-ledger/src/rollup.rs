//! Rolls rows up: seconds to minutes to hours to days, exactly once.
//!
//! A bucket is a UTC minute, hour or day. Its coarse rows come in the transaction in which the fine ones
//! go, so that no joule is ever in both or in neither, whenever the process is killed. What is due is seen
//! from the rows themselves; a row that comes late joins the coarse row that is there.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::retention::Retention;
use crate::schema::Level;

/// Free pages above which some are given back to the file system: 8 MiB.
const FREE_PAGES: i64 = 2048;

/// Rolls up the one bucket that is due first, seen from `now` in Unix nanoseconds. Gives whether any was.
pub(crate) fn roll_up_one(
    connection: &mut Connection,
    retention: &Retention,
    now: i64,
) -> rusqlite::Result<bool> {
    let steps = [
        (Level::Second, Level::Minute, retention.seconds),
        (Level::Minute, Level::Hour, retention.minutes),
        (Level::Hour, Level::Day, retention.hours),
    ];
    for (fine, coarse, kept) in steps {
        let kept = i64::try_from(kept.as_nanos()).unwrap_or(i64::MAX);
        if let Some(start) = due(connection, fine, coarse, now.saturating_sub(kept))? {
            roll_up(connection, fine, coarse, start)?;
            give_back(connection)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// The start of the first bucket of `coarse` that ends by `until` and has rows of `fine`.
fn due(connection: &Connection, fine: Level, coarse: Level, until: i64) -> rusqlite::Result<Option<i64>> {
    let first: Option<i64> = connection
        .prepare_cached("SELECT min(start_unix_nanos) FROM entry WHERE level_seconds = ?")?
        .query_row([fine.seconds()], |row| row.get(0))?;
    let bucket = |at: i64| at.div_euclid(coarse.nanos()) * coarse.nanos();
    let Some(start) = first.map(bucket).filter(|start| start.saturating_add(coarse.nanos()) <= until) else {
        return Ok(None);
    };
    // Minutes that a copy elsewhere has not got yet are kept as such.
    let unsent = fine == Level::Minute
        && connection
            .prepare_cached(
                "SELECT 1 FROM unsent WHERE minute_unix_seconds >= ? AND minute_unix_seconds < ? LIMIT 1",
            )?
            .query_row(
                params![start / crate::schema::NANOS, start / crate::schema::NANOS + coarse.seconds()],
                |_| Ok(()),
            )
            .optional()?
            .is_some();
    Ok((!unsent).then_some(start))
}

/// Replaces the rows of `fine` in the bucket of `coarse` that begins at `start`.
fn roll_up(connection: &mut Connection, fine: Level, coarse: Level, start: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let bucket = params![fine.seconds(), start, start + coarse.nanos()];
    transaction.prepare_cached(INTO_ENTRY)?.execute(params![
        fine.seconds(),
        start,
        start + coarse.nanos(),
        coarse.seconds()
    ])?;
    transaction.prepare_cached(INTO_PART)?.execute(params![
        fine.seconds(),
        start,
        start + coarse.nanos(),
        coarse.seconds()
    ])?;
    transaction
        .prepare_cached(
            "DELETE FROM part WHERE entry IN (SELECT entry FROM entry
                WHERE level_seconds = ?1 AND start_unix_nanos >= ?2 AND start_unix_nanos < ?3)",
        )?
        .execute(bucket)?;
    transaction
        .prepare_cached(
            "DELETE FROM entry WHERE level_seconds = ?1 AND start_unix_nanos >= ?2 AND start_unix_nanos < ?3",
        )?
        .execute(bucket)?;
    transaction.commit()
}

const INTO_ENTRY: &str = "
INSERT INTO entry (level_seconds, start_unix_nanos, run, source, number, covered_nanos, entries, metered_joules,
    idle_joules, location_grams, market_grams, carbon_intensity_g_per_kwh, carbon_intensity_min_g_per_kwh,
    carbon_intensity_max_g_per_kwh, power_max_watts)
SELECT ?4, ?2, run, source, 0, sum(covered_nanos), sum(entries), sum(metered_joules), sum(idle_joules),
    sum(location_grams), sum(market_grams),
    CASE WHEN sum(metered_joules) > 0
        THEN sum(carbon_intensity_g_per_kwh * metered_joules) / sum(metered_joules)
        ELSE avg(carbon_intensity_g_per_kwh) END,
    min(carbon_intensity_min_g_per_kwh), max(carbon_intensity_max_g_per_kwh), max(power_max_watts)
FROM entry
WHERE level_seconds = ?1 AND start_unix_nanos >= ?2 AND start_unix_nanos < ?3
GROUP BY run, source
ON CONFLICT (level_seconds, start_unix_nanos, run, source, number) DO UPDATE SET
    covered_nanos = covered_nanos + excluded.covered_nanos,
    entries = entries + excluded.entries,
    metered_joules = metered_joules + excluded.metered_joules,
    idle_joules = idle_joules + excluded.idle_joules,
    location_grams = location_grams + excluded.location_grams,
    market_grams = market_grams + excluded.market_grams,
    carbon_intensity_g_per_kwh = CASE WHEN metered_joules + excluded.metered_joules > 0
        THEN (carbon_intensity_g_per_kwh * metered_joules
            + excluded.carbon_intensity_g_per_kwh * excluded.metered_joules)
            / (metered_joules + excluded.metered_joules)
        ELSE carbon_intensity_g_per_kwh END,
    carbon_intensity_min_g_per_kwh
        = min(carbon_intensity_min_g_per_kwh, excluded.carbon_intensity_min_g_per_kwh),
    carbon_intensity_max_g_per_kwh
        = max(carbon_intensity_max_g_per_kwh, excluded.carbon_intensity_max_g_per_kwh),
    power_max_watts = coalesce(max(power_max_watts, excluded.power_max_watts), power_max_watts,
        excluded.power_max_watts)";

const INTO_PART: &str = "
INSERT INTO part
SELECT coarse.entry, account, sum(dynamic_joules), sum(shared_joules), sum(part.location_grams),
    sum(part.market_grams), sum(rows), sum(requests), sum(core_seconds)
FROM entry AS fine
JOIN part ON part.entry = fine.entry
JOIN entry AS coarse ON coarse.level_seconds = ?4 AND coarse.start_unix_nanos = ?2 AND coarse.run = fine.run
    AND coarse.source = fine.source AND coarse.number = 0
WHERE fine.level_seconds = ?1 AND fine.start_unix_nanos >= ?2 AND fine.start_unix_nanos < ?3
GROUP BY coarse.entry, account
ON CONFLICT (entry, account) DO UPDATE SET
    dynamic_joules = dynamic_joules + excluded.dynamic_joules,
    shared_joules = shared_joules + excluded.shared_joules,
    location_grams = location_grams + excluded.location_grams,
    market_grams = market_grams + excluded.market_grams,
    rows = rows + excluded.rows,
    requests = requests + excluded.requests,
    core_seconds = core_seconds + excluded.core_seconds";

/// Gives pages that rows left free back to the file system, where there are many.
fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    let free: i64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    if free > FREE_PAGES {
        let mut statement =
            connection.prepare_cached(&format!("PRAGMA incremental_vacuum({})", free - FREE_PAGES / 2))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(())
}

#[cfg(test)]
mod tests;
