//! The demo's two acts on a running server: profile the model, then replay the day; and what came of it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use wattle_core::ledger::Totals;
use wattle_core::policies::best_under_cap::BestUnderCapOptions;
use wattle_core::policies::{PolicyOptions, build};
use wattle_core::profile::Profile;
use wattle_core::time::Timestamp;
use wattle_server::clock::Clock;
use wattle_server::control_loop::CapOverride;
use wattle_server::quick_profile::{QuickProfileTimes, QuickProfiler};
use wattle_server::serve::Server;

use super::client::Client;
use super::day::{Day, PEAK_SHARE, Scale};
use super::emissions::Emissions;
use super::live::Live;
use super::load::{Arrivals, SharedTally, replay, saturate};
use super::summary::{Run, Summary, others_watts};
use super::{DemoArgs, Voice, bundle, points};

/// What decides the knobs while the day is replayed.
const POLICY: &str = "combination";
/// How long a request may wait in the server before it is told that it won't be answered.
const DEADLINE: Duration = Duration::from_millis(500);
/// After the day, so long for answers that are still under way.
const DRAIN: Duration = Duration::from_secs(2);
/// How often it is looked whether the trace's cap changed.
const CAP_POLL: Duration = Duration::from_millis(20);
/// A point that was over the cap is barred for 48 minutes of the day, or its usual time if that is less:
/// made for days of 24 hours, that would be much of a day that is sped up.
const BARS_A_DAY: f64 = 30.0;
/// For the same reason a choice stands for some 14 minutes of the day, or its usual time if that is less.
const DWELLS_A_DAY: f64 = 100.0;
/// Time between the profile and the day.
const PAUSE: Duration = Duration::from_millis(200);

/// What the acts are played with.
pub(super) struct Session<'a> {
    pub(super) args: &'a DemoArgs,
    pub(super) voice: Voice,
    pub(super) server: &'a Server,
    pub(super) clock: Clock,
    pub(super) day: &'a Day,
    /// Where files go.
    pub(super) folder: &'a Path,
    /// Becomes true when the demo is to end.
    pub(super) stopped: watch::Receiver<bool>,
}

/// What the replay leaves for the summary, beside the tally.
struct Replayed {
    seconds: f64,
    emissions: Emissions,
    ledger_before: Totals,
}

impl Session<'_> {
    /// Both acts, and the summary as JSON. Ends early, with what there is, when told to stop.
    pub(super) async fn run(&self) -> Result<Map<String, Value>> {
        let images = bundle::images()?;
        let grpc = self.server.addresses().grpc;
        let client = Client::connect(grpc, &self.args.model, images, DEADLINE).await?;
        let tally = SharedTally::default();
        let profile = tokio::select! {
            profile = self.profile(&client) => Some(profile?),
            () = self.until_stopped() => None,
        };
        let replayed = match &profile {
            Some(profile) => self.replay(&client, profile, &tally).await?,
            None => self.begin(),
        };
        self.conclude(&tally, profile.as_ref(), replayed)
    }

    async fn until_stopped(&self) {
        let mut stopped = self.stopped.clone();
        if stopped.wait_for(|stopped| *stopped).await.is_err() {
            // Nobody can tell any more.
            std::future::pending::<()>().await;
        }
    }

    /// Profiles the model in the time until the day begins, and writes the profile.
    async fn profile(&self, client: &Client) -> Result<Profile> {
        let times = QuickProfileTimes::default();
        let served = self.server.repository().find(&self.args.model, "")?;
        let limits = served.executor.limits();
        let cores = super::available_cores();
        let profiler = QuickProfiler {
            clock: self.clock,
            repository: self.server.repository(),
            control: self.server.control(),
            model: &self.args.model,
            times,
        };
        let idle_power = profiler.idle_power().await;
        let time_left = self.clock.until(self.day.start()).saturating_sub(PAUSE);
        let points = points::candidates(cores, limits.max_batch_size, limits.max_instances);
        let points = points::thinned(points, times.points_within(time_left));

        let bar = ProgressBar::new(points.len() as u64);
        bar.set_style(ProgressStyle::with_template("profiling {bar:40} {pos}/{len} {msg}")?);
        // Two batches for each instance: one runs while the next one waits.
        let under_way = 2 * limits.max_batch_size * cores.min(4);
        let askers = saturate(client, under_way as usize);
        let notes = "a quick profile by wattle demo: fractions of a second a point; the model was saturated \
                     by a gRPC client on the same machine, whose power is included";
        let profile = profiler
            .profile(&points, idle_power, notes, |row| {
                let figure = |value: Option<f64>| value.map_or("?".into(), |value| format!("{value:.0}"));
                bar.set_message(format!(
                    "b={} m={} duty={:.2}: {}/s, {} W",
                    row.point.batch_size,
                    row.point.instances,
                    row.point.duty_cycle.unwrap_or(1.0),
                    figure(row.throughput_rps),
                    row.power_watts_max.map_or("?".into(), |power| format!("{:.1}", power.get())),
                ));
                bar.inc(1);
            })
            .await;
        drop(askers);
        bar.finish_and_clear();
        let profile = profile?;
        let file = self.folder.join("profile.csv");
        std::fs::write(&file, profile.to_text())
            .with_context(|| format!("failed to write {}", file.display()))?;
        Ok(profile)
    }

    /// Begins to count power, energy and emissions.
    fn begin(&self) -> Replayed {
        self.server.control().begin_window();
        Replayed {
            seconds: 0.0,
            emissions: Emissions::since(self.clock.now()),
            ledger_before: self.server.control().status().ledger.clone(),
        }
    }

    /// Replays the day on the server's clock, and waits a little for the last answers.
    async fn replay(&self, client: &Client, profile: &Profile, tally: &SharedTally) -> Result<Replayed> {
        let (control, clock, day) = (self.server.control(), self.clock, self.day);
        let scale = Scale::of(profile, self.args.rate)?;
        self.tell_scale(profile, &scale);
        let options = PolicyOptions {
            profiles: [(self.args.model.as_str().into(), profile.clone())].into(),
            best_under_cap: BestUnderCapOptions {
                dwell_seconds: (day.length.as_secs_f64() / DWELLS_A_DAY).min(1.0),
                bar_seconds: (day.length.as_secs_f64() / BARS_A_DAY).min(2.0),
                ..BestUnderCapOptions::default()
            },
            ..PolicyOptions::default()
        };
        control.set_policy(build(POLICY, &options)?);
        let start = day.start().max(clock.now());
        let end = start + day.length;
        self.set_cap(&scale, start);
        tokio::time::sleep(clock.until(start)).await;

        let mut replayed = self.begin();
        let start = clock.now();
        let mut live = Live::new(control, &self.args.model, day, tally.clone(), start);
        let second = Duration::from_secs(1);
        let mut seconds = tokio::time::interval_at(tokio::time::Instant::now() + second, second);
        let mut polls = interval(CAP_POLL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let arrivals = Arrivals::new(start, self.args.seed);
        let mut asking = std::pin::pin!(replay(client, day, scale.peak_rps, arrivals, (clock, end), tally));
        let mut stopping = std::pin::pin!(self.until_stopped());
        let mut share = day.cap_share(start);
        loop {
            tokio::select! {
                () = &mut asking => break,
                () = &mut stopping => break,
                _ = polls.tick() => {
                    let now = clock.now();
                    if day.cap_share(now) != share {
                        share = day.cap_share(now);
                        self.set_cap(&scale, now);
                    }
                }
                _ = seconds.tick() => {
                    self.voice.say(live.line(clock.now()));
                    replayed.emissions.take_in(&control.power_points(), day.carbon_intensity());
                }
            }
        }
        let drained = clock.now() + DRAIN;
        while tally.lock().in_flight() > 0 && clock.now() < drained {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tally.lock().close();
        replayed.emissions.take_in(&control.power_points(), day.carbon_intensity());
        replayed.seconds = (clock.now() - start).as_secs_f64();
        Ok(replayed)
    }

    fn set_cap(&self, scale: &Scale, now: Timestamp) {
        if let Some(share) = self.day.cap_share(now) {
            self.server.control().set_cap(CapOverride::Watts(scale.cap(share)));
        }
    }

    fn tell_scale(&self, profile: &Profile, scale: &Scale) {
        let asked = match self.args.rate {
            Some(_) => "as asked".to_owned(),
            None => format!("{:.0} % of the best", PEAK_SHARE * 100.0),
        };
        self.voice.say(format!(
            "profile   {} points: at best {:.0} requests/s; {:.1} idle to {:.1} full",
            profile.rows.len(),
            scale.best_rps,
            scale.idle,
            scale.full,
        ));
        self.voice.say(format!(
            "day       24 h in {} s: up to {:.0} requests/s ({asked}), {:.0} on average; each waits {} ms at most",
            self.args.seconds,
            scale.peak_rps,
            scale.peak_rps * self.day.mean_load(),
            DEADLINE.as_millis(),
        ));
        self.voice.say(format!("policy    {POLICY}, under a cap that is never set below {:.1}", scale.least));
        if scale.least >= scale.full {
            self.voice.say(
                "note      other programs keep this machine busy: the cap stays above all that they and the \
                 demo draw\n          and will not bind; run the demo on a quiet machine to see it at work",
            );
        }
        self.voice.say("");
    }

    fn conclude(
        &self,
        tally: &SharedTally,
        profile: Option<&Profile>,
        replayed: Replayed,
    ) -> Result<Map<String, Value>> {
        let control = self.server.control();
        let (tally, status) = (tally.lock(), control.status());
        let run = Run {
            tally: &tally,
            seconds: replayed.seconds,
            power: &control.window(),
            power_provenance: control.device().power_provenance.clone(),
            carbon_grams: replayed.emissions.grams(),
            ledger: (replayed.ledger_before, status.ledger.clone()),
            idle_power: profile.and_then(|profile| profile.head.idle_power_watts),
        };
        let summary = Summary::of(&run);
        let others = others_watts(&run);
        self.voice.say(format!("\nsummary of {:.1} s\n{}", replayed.seconds, summary.table()));
        if let Some(others) = others.filter(|others| *others > 0.25) {
            self.voice.say(format!(
                "  {others:.1} W of it, on average, were other programs'; the cap counts them all the same"
            ));
        }
        if let Some(error) = &tally.last_error {
            self.voice.say(format!("  last error: {error}"));
        }
        let mut object = summary.json();
        let facts: [(&str, Value); 9] = [
            ("seconds", replayed.seconds.into()),
            ("ended_early", (*self.stopped.borrow()).into()),
            ("model", self.args.model.as_str().into()),
            ("policy", POLICY.into()),
            ("runtime", self.server.repository().runtime().describe().into()),
            ("device", control.device().description.as_str().into()),
            ("profile_points", profile.map_or(0, |profile| profile.rows.len()).into()),
            ("seed", self.args.seed.into()),
            ("others_power_watts_mean", others.into()),
        ];
        object.extend(facts.map(|(key, value)| (key.to_owned(), value)));
        Ok(object)
    }
}
