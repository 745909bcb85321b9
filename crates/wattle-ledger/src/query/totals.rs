//! Sums rows of every level up, by what the query asks for.
//!
//! Two passes: rows of `entry` tell periods, devices and idle energy, rows of `part` whose the rest was.
//! Sums are made here and not by SQL: periods are calendar months too, and it is twice as fast.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, params};
use wattle_core::provenance::Basis;
use wattle_core::time::UnixTime;
use wattle_core::units::{CarbonIntensity, GramsCo2e, Joules, Watts};

use super::{
    AccountRow, Answer, DeviceRow, Group, GroupBy, IntensityRange, KnownGrams, Query, Span, nanos_between,
    period,
};
use crate::schema::{Level, NANOS};
use crate::source::Source;

type Sources = BTreeMap<i64, Arc<Source>>;

/// What tells rows of devices apart, in the order of the answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct DeviceKey {
    period: Option<Span>,
    device: Option<Arc<str>>,
    run: Option<i64>,
    source: Option<i64>,
}

/// What tells accounts apart: model, family, class. Empty: none.
type AccountKey = (Option<String>, Option<String>, Option<String>);

#[derive(Debug, Default)]
struct DeviceSum {
    metered: f64,
    idle: f64,
    location: Option<KnownGrams>,
    market: Option<KnownGrams>,
    /// Energy and grams of accounts whose intensity is known: what is not idle of `location`, `market`.
    attributed: [KnownGrams; 2],
    core_seconds: f64,
    covered_nanos: i64,
    entries: i64,
    intensity: Option<IntensitySum>,
    power_max: Option<f64>,
    sources: BTreeSet<i64>,
}

/// Sums for a mean by energy, or by time where no energy was drawn.
#[derive(Debug, Clone, Copy)]
struct IntensitySum {
    by_energy: f64,
    energy: f64,
    by_time: f64,
    time: f64,
    min: f64,
    max: f64,
}

#[derive(Debug, Default)]
struct AccountSum {
    dynamic: f64,
    shared: f64,
    location: Option<KnownGrams>,
    market: Option<KnownGrams>,
    rows: i64,
    requests: i64,
    core_seconds: f64,
    sources: BTreeSet<i64>,
}

/// Where a row of `entry` is summed up.
struct Place {
    device: usize,
    source: i64,
}

/// Answers `query` from one state of the file: `connection` is within a transaction.
pub(super) fn answer(connection: &Connection, sources: &Sources, query: &Query) -> rusqlite::Result<Answer> {
    let mut devices: BTreeMap<DeviceKey, usize> = BTreeMap::new();
    let mut device_sums: Vec<DeviceSum> = Vec::new();
    let (places, counted) = sum_entries(connection, query, &mut devices, &mut device_sums)?;

    let (account_groups, group_of) = account_groups(connection, query)?;
    let mut accounts: BTreeMap<(usize, usize), AccountSum> = BTreeMap::new();
    sum_parts(connection, query, &places, &group_of, &mut accounts, &mut device_sums)?;

    let mut keys: Vec<Option<DeviceKey>> = vec![None; device_sums.len()];
    for (key, index) in &devices {
        if let Some(place) = keys.get_mut(*index) {
            *place = Some(key.clone());
        }
    }
    let known =
        |ids: &BTreeSet<i64>| ids.iter().filter_map(|id| sources.get(id).cloned()).collect::<Vec<_>>();
    let group = |key: &DeviceKey, account: AccountKey| Group {
        period: key.period,
        model: account.0,
        family: account.1,
        class: account.2,
        device: key.device.as_deref().map(str::to_owned),
        run: key.run,
        source: key.source.and_then(|id| sources.get(&id).cloned()),
    };
    let mut account_rows: Vec<(DeviceKey, usize, AccountRow)> = Vec::new();
    for ((device, account), sum) in accounts {
        let (Some(Some(key)), Some(names)) = (keys.get(device), account_groups.get(account)) else {
            continue;
        };
        let sources = known(&sum.sources);
        let row = AccountRow {
            group: group(key, names.clone()),
            dynamic: Joules::new(sum.dynamic),
            shared: Joules::new(sum.shared),
            location: sum.location,
            market: sum.market,
            rows: sum.rows.max(0).unsigned_abs(),
            requests: sum.requests.max(0).unsigned_abs(),
            core_seconds: sum.core_seconds,
            basis: worst(&sources),
            sources,
        };
        account_rows.push((key.clone(), account, row));
    }
    account_rows.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let device_rows = devices.iter().filter_map(|(key, index)| {
        let sum = device_sums.get(*index)?;
        Some(device_row(group(key, AccountKey::default()), sum, known(&sum.sources)))
    });
    Ok(Answer {
        devices: device_rows.collect(),
        accounts: account_rows.into_iter().map(|(_, _, row)| row).collect(),
        counted,
        edges: edges(connection, query)?,
    })
}

/// First pass: rows of `entry`. Gives where each is summed up, and the span of all.
fn sum_entries(
    connection: &Connection,
    query: &Query,
    devices: &mut BTreeMap<DeviceKey, usize>,
    sums: &mut Vec<DeviceSum>,
) -> rusqlite::Result<(HashMap<i64, Place>, Option<Span>)> {
    let device_of: BTreeMap<i64, Arc<str>> = connection
        .prepare("SELECT run, device FROM run")?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?.into())))?
        .collect::<Result<_, _>>()?;
    let mut statement = connection.prepare(
        "SELECT entry, level_seconds, start_unix_nanos, run, source, covered_nanos, entries, metered_joules,
            idle_joules, location_grams, market_grams, carbon_intensity_g_per_kwh,
            carbon_intensity_min_g_per_kwh, carbon_intensity_max_g_per_kwh, power_max_watts
        FROM entry
        WHERE level_seconds IN (1, 60, 3600, 86400) AND start_unix_nanos >= ? AND start_unix_nanos < ?",
    )?;
    let (from, to) = nanos_between(query.from, query.to);
    let mut found = statement.query(params![from, to])?;
    let mut places = HashMap::new();
    let mut counted: Option<Span> = None;
    let by = |group| query.group_by.contains(&group);
    while let Some(row) = found.next()? {
        let (level, start, run, source, covered): (i64, i64, i64, i64, i64) =
            (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
        let span = period::of_row(start, level, covered);
        counted = Some(match counted {
            None => span,
            Some(so_far) => Span { from: so_far.from.min(span.from), to: so_far.to.max(span.to) },
        });
        let key = DeviceKey {
            period: query.period.map(|period| period::holding(period, start, level)),
            device: by(GroupBy::Device).then(|| device_of.get(&run).cloned()).flatten(),
            run: by(GroupBy::Run).then_some(run),
            source: by(GroupBy::Source).then_some(source),
        };
        let device = *devices.entry(key).or_insert_with(|| {
            sums.push(DeviceSum::default());
            sums.len() - 1
        });
        places.insert(row.get(0)?, Place { device, source });
        let Some(sum) = sums.get_mut(device) else { continue };
        let metered: f64 = row.get(7)?;
        sum.metered += metered;
        sum.idle += row.get::<_, f64>(8)?;
        add_grams(&mut sum.location, row.get(9)?, metered);
        add_grams(&mut sum.market, row.get(10)?, metered);
        sum.covered_nanos += covered;
        sum.entries += row.get::<_, i64>(6)?;
        let intensity: (Option<f64>, Option<f64>, Option<f64>) = (row.get(11)?, row.get(12)?, row.get(13)?);
        if let (Some(mean), Some(min), Some(max)) = intensity {
            let time = covered as f64;
            let row = IntensitySum {
                by_energy: mean * metered,
                energy: metered,
                by_time: mean * time,
                time,
                min,
                max,
            };
            sum.intensity = Some(sum.intensity.map_or(row, |so_far| so_far.and(&row)));
        }
        if let Some(power) = row.get::<_, Option<f64>>(14)? {
            sum.power_max = Some(sum.power_max.map_or(power, |so_far| so_far.max(power)));
        }
        sum.sources.insert(source);
    }
    Ok((places, counted))
}

/// Groups of accounts in the order of the answer, and which each account is in.
fn account_groups(
    connection: &Connection,
    query: &Query,
) -> rusqlite::Result<(Vec<AccountKey>, HashMap<i64, usize>)> {
    let by = |group, name: String| (query.group_by.contains(&group) && !name.is_empty()).then_some(name);
    let accounts: Vec<(i64, AccountKey)> = connection
        .prepare("SELECT account, model, family, class FROM account")?
        .query_map([], |row| {
            let names = (
                by(GroupBy::Model, row.get(1)?),
                by(GroupBy::Family, row.get(2)?),
                by(GroupBy::Class, row.get(3)?),
            );
            Ok((row.get(0)?, names))
        })?
        .collect::<Result<_, _>>()?;
    let groups: BTreeSet<&AccountKey> = accounts.iter().map(|(_, key)| key).collect();
    let index: BTreeMap<&AccountKey, usize> = groups.iter().copied().zip(0..).collect();
    let group_of = accounts.iter().filter_map(|(id, key)| Some((*id, *index.get(key)?))).collect();
    Ok((groups.into_iter().cloned().collect(), group_of))
}

/// Second pass: rows of `part`.
fn sum_parts(
    connection: &Connection,
    query: &Query,
    places: &HashMap<i64, Place>,
    group_of: &HashMap<i64, usize>,
    accounts: &mut BTreeMap<(usize, usize), AccountSum>,
    devices: &mut [DeviceSum],
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT part.entry, account, dynamic_joules, shared_joules, part.location_grams, part.market_grams,
            rows, requests, core_seconds
        FROM entry CROSS JOIN part ON part.entry = entry.entry
        WHERE level_seconds IN (1, 60, 3600, 86400) AND start_unix_nanos >= ? AND start_unix_nanos < ?",
    )?;
    let (from, to) = nanos_between(query.from, query.to);
    let mut found = statement.query(params![from, to])?;
    while let Some(row) = found.next()? {
        let (Some(place), Some(group)) = (places.get(&row.get(0)?), group_of.get(&row.get(1)?)) else {
            continue;
        };
        let (dynamic, shared): (f64, f64) = (row.get(2)?, row.get(3)?);
        let (location, market): (Option<f64>, Option<f64>) = (row.get(4)?, row.get(5)?);
        let core_seconds: f64 = row.get(8)?;
        let energy = dynamic + shared;
        let sum = accounts.entry((place.device, *group)).or_default();
        sum.dynamic += dynamic;
        sum.shared += shared;
        add_grams(&mut sum.location, location, energy);
        add_grams(&mut sum.market, market, energy);
        sum.rows += row.get::<_, i64>(6)?;
        sum.requests += row.get::<_, i64>(7)?;
        sum.core_seconds += core_seconds;
        sum.sources.insert(place.source);
        if let Some(device) = devices.get_mut(place.device) {
            device.core_seconds += core_seconds;
            for (known, grams) in device.attributed.iter_mut().zip([location, market]) {
                if let Some(grams) = grams {
                    known.grams += GramsCo2e::new(grams);
                    known.energy += Joules::new(energy);
                }
            }
        }
    }
    Ok(())
}

fn device_row(group: Group, sum: &DeviceSum, sources: Vec<Arc<Source>>) -> DeviceRow {
    let [attributed_location, attributed_market] = sum.attributed;
    let idle = |all: Option<KnownGrams>, attributed: KnownGrams| {
        all.map(|all| KnownGrams {
            grams: all.grams - attributed.grams,
            energy: all.energy - attributed.energy,
        })
    };
    DeviceRow {
        group,
        metered: Joules::new(sum.metered),
        idle: Joules::new(sum.idle),
        location: sum.location,
        market: sum.market,
        idle_location: idle(sum.location, attributed_location),
        idle_market: idle(sum.market, attributed_market),
        core_seconds: sum.core_seconds,
        covered: Duration::from_nanos(sum.covered_nanos.max(0).unsigned_abs()),
        entries: sum.entries.max(0).unsigned_abs(),
        intensity: sum.intensity.map(|of| IntensityRange {
            mean: CarbonIntensity::new(of.mean()),
            min: CarbonIntensity::new(of.min),
            max: CarbonIntensity::new(of.max),
        }),
        power_max: sum.power_max.map(Watts::new),
        basis: worst(&sources),
        sources,
    }
}

impl IntensitySum {
    fn and(&self, other: &Self) -> Self {
        Self {
            by_energy: self.by_energy + other.by_energy,
            energy: self.energy + other.energy,
            by_time: self.by_time + other.by_time,
            time: self.time + other.time,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    fn mean(&self) -> f64 {
        if self.energy > 0.0 {
            self.by_energy / self.energy
        } else if self.time > 0.0 {
            self.by_time / self.time
        } else {
            self.min
        }
    }
}

fn add_grams(sum: &mut Option<KnownGrams>, grams: Option<f64>, energy: f64) {
    if let Some(grams) = grams {
        let sum = sum.get_or_insert_default();
        sum.grams += GramsCo2e::new(grams);
        sum.energy += Joules::new(energy);
    }
}

/// The worst way in which energy of the sources is known.
fn worst(sources: &[Arc<Source>]) -> Basis {
    sources.iter().map(|source| source.power.basis).max().unwrap_or(Basis::Assumed)
}

/// Rolled-up rows that begin before an end of the range and reach over it.
fn edges(connection: &Connection, query: &Query) -> rusqlite::Result<Vec<Span>> {
    let mut statement = connection.prepare(
        "SELECT DISTINCT start_unix_nanos FROM entry
        WHERE level_seconds = ? AND start_unix_nanos > ? AND start_unix_nanos < ?",
    )?;
    let mut edges = BTreeSet::new();
    for end in [query.from, query.to].into_iter().flatten() {
        let nanos = end.as_secs().saturating_mul(NANOS);
        for level in [Level::Minute, Level::Hour, Level::Day] {
            let starts = statement
                .query_map(params![level.seconds(), nanos.saturating_sub(level.nanos()), nanos], |row| {
                    row.get(0)
                })?;
            for start in starts {
                let from = i64::div_euclid(start?, NANOS);
                edges.insert(Span {
                    from: UnixTime::from_secs(from),
                    to: UnixTime::from_secs(from + level.seconds()),
                });
            }
        }
    }
    Ok(edges.into_iter().collect())
}
