//! From what a query found to rows: each device once, its idle time shared out.

use std::collections::BTreeMap;
use std::time::Duration;

use wattle_core::carbon::{CarbonAccounting, Embodied, EmbodiedGrams, TimeShare, time_shares};
use wattle_core::units::{CarbonIntensity, Joules, Watts};

use super::row::{Of, Row, Sources, View, add_known, part};
use super::{By, DeviceTold, Report};
use crate::Source;
use crate::query::{AccountRow, Answer, DeviceRow, Run, Span};

/// Makes the report of `answer`, which is of [`By::query`]. `runs` are the ledger's, with how each counted.
pub fn assemble(answer: &Answer, runs: &[Run], by: By) -> Report {
    let mut rows: BTreeMap<(Option<Span>, Of), Row> = BTreeMap::new();
    let mut total = Row::new(None, Of::Named("all".into()));
    let mut book = |period: Option<Span>, of: Of, more: Row| {
        total.add(&more);
        rows.entry((period, of.clone())).or_insert_with(|| Row::new(period, of)).add(&more);
    };
    let mut accounts_of: BTreeMap<(Option<Span>, Option<i64>), Vec<&AccountRow>> = BTreeMap::new();
    for account in &answer.accounts {
        accounts_of.entry((account.group.period, account.group.run)).or_default().push(account);
    }
    for device in &answer.devices {
        let run = runs.iter().find(|run| Some(run.run) == device.group.run);
        let of_device = OfDevice { device, run };
        let accounts = accounts_of.remove(&(device.group.period, device.group.run)).unwrap_or_default();
        let busy: Vec<f64> = accounts.iter().map(|account| account.core_seconds).collect();
        let shares = time_shares(&busy, of_device.core_seconds());
        let mut left = TimeShare { busy: 1.0, reserved: 1.0 };
        for (account, share) in accounts.into_iter().zip(shares) {
            left = TimeShare { busy: left.busy - share.busy, reserved: left.reserved - share.reserved };
            book(device.group.period, by.of(&account.group), of_device.account(account, share));
        }
        // What is left by rounding is nothing.
        let rest = |share: f64| if share > 1e-9 { share } else { 0.0 };
        let left = TimeShare { busy: rest(left.busy), reserved: rest(left.reserved) };
        book(device.group.period, Of::Idle, of_device.idle(left));
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    let ends = |row: &Row| row.period.map(|period| (period.from, period.to));
    rows.sort_by(|one, other| ends(one).cmp(&ends(other)).then_with(|| one.of.cmp(&other.of)));
    Report {
        by,
        counted: answer.counted,
        rows,
        total,
        intensity: intensity(answer),
        devices: devices(answer, runs),
        edges: answer.edges.clone(),
        baseline: None,
    }
}

/// What is told of the PUE of a run whose accounting can't be read.
const PUE_NOT_RECORDED: &str =
    "PUE not recorded (a run of another version of Wattle): its site energy is that of the device alone";

/// A device over a period, and the run that it is of.
struct OfDevice<'a> {
    device: &'a DeviceRow,
    run: Option<&'a Run>,
}

impl OfDevice<'_> {
    fn accounting(&self) -> Option<&CarbonAccounting> {
        self.run?.accounting.as_ref()
    }

    fn embodied(&self) -> Option<&Embodied> {
        self.accounting()?.embodied.as_ref()
    }

    /// All core time that there was; 0 where nobody recorded how many cores.
    fn core_seconds(&self) -> f64 {
        let cores = self.run.and_then(|run| run.cores).map_or(0.0, f64::from);
        cores * self.device.covered.as_secs_f64()
    }

    /// With what the site adds.
    fn at_site(&self, energy: Joules) -> Joules {
        energy * self.accounting().map_or(1.0, |accounting| accounting.pue)
    }

    /// Its part of making the device.
    fn made(&self, share: f64, covered: Duration) -> Option<EmbodiedGrams> {
        Some(self.embodied()?.of(covered).times(share))
    }

    fn sources(&self, of: &[std::sync::Arc<Source>]) -> Sources {
        let mut sources = Sources::default();
        for source in of {
            sources.power.insert(source.power.to_string());
            sources.intensity.extend(source.carbon.as_ref().map(ToString::to_string));
        }
        let Some(accounting) = self.accounting() else {
            sources.pue.insert(PUE_NOT_RECORDED.into());
            return sources;
        };
        sources.pue.insert(accounting.pue_told());
        sources
            .market
            .extend(accounting.market.iter().map(|(intensity, source)| format!("{source} ({intensity:.0})")));
        sources.embodied.extend(accounting.embodied.as_ref().map(embodied_told));
        sources
    }

    fn account(&self, account: &AccountRow, share: TimeShare) -> Row {
        let mut row = Row::new(None, Of::Unnamed);
        let energy = account.energy();
        // Busy time is a share of the device only where it is known how much device there was.
        let is_busy_known = self.run.is_some_and(|run| run.cores.is_some());
        row.busy = View {
            energy,
            site_energy: self.at_site(energy),
            location: account.location,
            market: account.market,
            embodied: self.made(share.busy, self.device.covered).filter(|_| is_busy_known),
        };
        let idle = self.device.idle * share.reserved;
        row.reserved = View {
            energy: energy + idle,
            site_energy: self.at_site(energy + idle),
            embodied: self.made(share.reserved, self.device.covered),
            ..row.busy
        };
        add_known(&mut row.reserved.location, part(self.device.idle_location, share.reserved));
        add_known(&mut row.reserved.market, part(self.device.idle_market, share.reserved));
        (row.requests, row.rows) = (account.requests, account.rows);
        row.basis = Some(account.basis);
        row.sources = self.sources(&account.sources);
        row
    }

    /// What nobody asked for: by busy time all idle energy, by reserved time what nobody was there to share.
    fn idle(&self, left: TimeShare) -> Row {
        let mut row = Row::new(None, Of::Idle);
        let is_busy_known = self.run.is_some_and(|run| run.cores.is_some());
        let device = self.device;
        let view = |share: f64| View {
            energy: device.idle * share,
            site_energy: self.at_site(device.idle * share),
            location: part(device.idle_location, share),
            market: part(device.idle_market, share),
            embodied: None,
        };
        row.busy =
            View { embodied: self.made(left.busy, device.covered).filter(|_| is_busy_known), ..view(1.0) };
        row.reserved = View { embodied: self.made(left.reserved, device.covered), ..view(left.reserved) };
        if left.reserved <= 0.0 {
            // Nothing of it is left over, and so nothing of it is known or unknown.
            (row.reserved.location, row.reserved.market) = (None, None);
        }
        row.basis = Some(device.basis);
        row.sources = self.sources(&device.sources);
        row
    }
}

/// A range with its sources, for people.
fn embodied_told(embodied: &Embodied) -> String {
    let mut told = format!("{:.1} kg ({})", embodied.low.kilograms, embodied.low.provenance);
    if let Some(high) = &embodied.high {
        told += &format!(" to {:.1} kg ({})", high.kilograms, high.provenance);
    }
    told += &format!(", over {} years ({})", embodied.lifetime_years, embodied.lifetime_source);
    if embodied.device_share < 1.0 {
        told += &format!(", {:.1} % of the device", embodied.device_share * 100.0);
    }
    told
}

/// The mean carbon intensity, weighted by the energy of which it is known.
fn intensity(answer: &Answer) -> Option<CarbonIntensity> {
    let known = answer.devices.iter().filter_map(|row| Some((row.intensity?.mean, row.location?.energy)));
    let (grams, energy) = known.fold((0.0, 0.0), |(grams, energy), (mean, known)| {
        (grams + mean.get() * known.get(), energy + known.get())
    });
    (energy > 0.0).then(|| CarbonIntensity::new(grams / energy))
}

/// Each device with each way in which it was counted, once.
fn devices(answer: &Answer, runs: &[Run]) -> Vec<DeviceTold> {
    let mut found: Vec<(DeviceTold, Joules, Duration)> = Vec::new();
    for row in &answer.devices {
        let Some(run) = runs.iter().find(|run| Some(run.run) == row.group.run) else { continue };
        let told = DeviceTold {
            device: run.device.clone(),
            accounting: run.accounting.clone(),
            cores: run.cores,
            power: None,
        };
        match found.iter_mut().find(|(known, ..)| *known == told) {
            Some((_, energy, covered)) => {
                *energy += row.metered;
                *covered += row.covered;
            }
            None => found.push((told, row.metered, row.covered)),
        }
    }
    let mean = |(told, energy, covered): (DeviceTold, Joules, Duration)| {
        let power: Option<Watts> = (!covered.is_zero()).then(|| energy / covered);
        DeviceTold { power, ..told }
    };
    found.into_iter().map(mean).collect()
}
