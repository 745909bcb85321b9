//! Metrics in Prometheus' text format, made when they are asked for from what is counted anyway.
//!
//! `nv_*` names are Triton's, where the meaning is the same, so that its dashboards, autoscaling rules,
//! perf_analyzer and Model Analyzer work unchanged; `wattle_*` is what is new. What is not known is
//! left out, never zero.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use wattle_core::id::FamilyName;

use crate::control_loop::{AccountStatus, Control, STATES};
use crate::executor::StatsSnapshot;
use crate::model_repository::family::Family;
use crate::model_repository::{ModelRepository, ServedModel};

/// The content type of [`render`]'s text.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// All metrics as text.
pub fn render(repository: &ModelRepository, control: &Control) -> String {
    let mut families = of_models(repository);
    families.extend(of_families(repository));
    families.extend(of_power(control));
    families.extend(of_signals(control));
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
        tracing::error!(%error, "metrics could not be written");
    }
    String::from_utf8_lossy(&text).into_owned()
}

type Labels<'a> = &'a [(&'a str, &'a str)];

fn labelled(labels: Labels) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    let mut metric = Metric::default();
    metric.set_label(labels.iter().map(pair).collect());
    metric
}

fn counter(labels: Labels, value: f64) -> Metric {
    let mut metric = labelled(labels);
    let mut counter = Counter::default();
    counter.set_value(value);
    metric.set_counter(counter);
    metric
}

fn gauge(labels: Labels, value: f64) -> Metric {
    let mut metric = labelled(labels);
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// A counter or gauge of a model: its name, its help, and where its value is.
type OfModel = (&'static str, &'static str, MetricType, fn(&ServedModel, &StatsSnapshot) -> f64);

const OF_MODELS: [OfModel; 17] = [
    ("nv_inference_request_success", "Requests answered", MetricType::COUNTER, |_, s| s.success_count as f64),
    ("nv_inference_count", "Rows answered", MetricType::COUNTER, |_, s| s.completed_rows as f64),
    ("nv_inference_exec_count", "Batches run", MetricType::COUNTER, |_, s| s.executions as f64),
    ("nv_inference_pending_request_count", "Requests that wait", MetricType::GAUGE, |_, s| {
        s.queued_requests as f64
    }),
    (
        "nv_inference_request_duration_us",
        "Time from arrival to answer, all answered requests together",
        MetricType::COUNTER,
        |_, s| s.success_nanos as f64 / 1e3,
    ),
    (
        "nv_inference_queue_duration_us",
        "Time in the queue, all answered requests together",
        MetricType::COUNTER,
        |_, s| s.queue_nanos as f64 / 1e3,
    ),
    (
        "nv_inference_compute_input_duration_us",
        "Always 0: gathering inputs is part of the runtime's time",
        MetricType::COUNTER,
        |_, _| 0.0,
    ),
    (
        "nv_inference_compute_infer_duration_us",
        "Time in the runtime, all answered requests together",
        MetricType::COUNTER,
        |_, s| s.infer_nanos as f64 / 1e3,
    ),
    (
        "nv_inference_compute_output_duration_us",
        "Time of cutting batches into answers, all answered requests together",
        MetricType::COUNTER,
        |_, s| s.output_nanos as f64 / 1e3,
    ),
    ("wattle_batch_size_limit", "Knob: most rows that run together", MetricType::GAUGE, |m, _| {
        f64::from(m.executor.setting().batch_size)
    }),
    ("wattle_instances", "Knob: instances that run batches side by side", MetricType::GAUGE, |m, _| {
        f64::from(m.executor.setting().instances)
    }),
    ("wattle_cores_per_instance", "Knob: compute threads of one instance", MetricType::GAUGE, |m, _| {
        f64::from(m.executor.setting().cores_per_instance)
    }),
    (
        "wattle_duty_cycle_ratio",
        "Knob: share of time in which instances may compute",
        MetricType::GAUGE,
        |m, _| m.executor.setting().duty_cycle,
    ),
    (
        "wattle_max_queue_delay_seconds",
        "Knob: how long a batch that isn't full waits",
        MetricType::GAUGE,
        |m, _| m.executor.setting().max_queue_delay.as_secs_f64(),
    ),
    ("wattle_max_queue_size", "Knob: most requests that wait", MetricType::GAUGE, |m, _| {
        f64::from(m.executor.setting().max_queue_size)
    }),
    ("wattle_queued_rows", "Rows that wait", MetricType::GAUGE, |_, s| s.queued_rows as f64),
    ("wattle_busy_core_seconds_total", "Core time spent computing", MetricType::COUNTER, |_, s| {
        s.busy_core_nanos as f64 / 1e9
    }),
];

fn of_models(repository: &ModelRepository) -> Vec<MetricFamily> {
    let table = repository.table();
    let served: Vec<_> = table
        .values()
        .flat_map(|entry| entry.versions.values())
        .map(|served| (served, served.version.to_string(), served.executor.stats()))
        .collect();
    if served.is_empty() {
        return Vec::new();
    }
    let mut families: Vec<MetricFamily> = OF_MODELS
        .iter()
        .map(|(name, help, kind, value)| {
            let one = |(model, version, stats): &(&std::sync::Arc<ServedModel>, String, StatsSnapshot)| {
                let labels = [("model", model.name.as_str()), ("version", version)];
                let make = if *kind == MetricType::COUNTER { counter } else { gauge };
                make(&labels, value(model, stats))
            };
            family(name, help, *kind, served.iter().map(one).collect())
        })
        .collect();
    let failures = served.iter().flat_map(|(model, version, stats)| {
        let one = |reason, count: u64| {
            counter(&[("model", model.name.as_str()), ("reason", reason), ("version", version)], count as f64)
        };
        [one("REJECTED", stats.rejected), one("OTHER", stats.fail_count.saturating_sub(stats.rejected))]
    });
    families.push(family(
        "nv_inference_request_failure",
        "Requests not answered",
        MetricType::COUNTER,
        failures.collect(),
    ));
    let durations = served.iter().map(|(model, version, stats)| {
        let mut histogram = Histogram::default();
        histogram.set_sample_count(stats.latency.count());
        histogram.set_sample_sum(stats.latency.sum_seconds);
        let buckets = stats.latency.cumulative().map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        histogram.set_bucket(buckets.collect());
        let mut metric = labelled(&[("model", model.name.as_str()), ("version", version)]);
        metric.set_histogram(histogram);
        metric
    });
    families.push(family(
        "wattle_request_duration_seconds",
        "Time from arrival to answer, without the network",
        MetricType::HISTOGRAM,
        durations.collect(),
    ));
    families
}

fn of_families(repository: &ModelRepository) -> Vec<MetricFamily> {
    let (families, table) = (repository.families(), repository.table());
    if families.is_empty() {
        return Vec::new();
    }
    let active = families.iter().flat_map(|(name, family)| {
        let active = family.active(&table);
        family.variants().iter().map(move |model| {
            let labels = [("family", name.as_str()), ("model", model.as_str())];
            gauge(&labels, f64::from(u8::from(active == Some(model))))
        })
    });
    let count = |value: fn(&Family) -> u64| {
        let one =
            |(name, of): (&FamilyName, &Family)| counter(&[("family", name.as_str())], value(of) as f64);
        families.iter().map(one).collect()
    };
    vec![
        family(
            "wattle_family_active",
            "Whether this variant answers for the family",
            MetricType::GAUGE,
            active.collect(),
        ),
        family(
            "wattle_family_switches_total",
            "How often another variant was chosen",
            MetricType::COUNTER,
            count(Family::switches),
        ),
        family(
            "wattle_family_rows_total",
            "Rows that were asked of the family",
            MetricType::COUNTER,
            count(Family::asked_rows),
        ),
    ]
}

/// What is known of each configured signal, and how its source does.
fn of_signals(control: &Control) -> Vec<MetricFamily> {
    let status = control.status();
    let signals = &status.signals;
    let ages = signals.iter().filter_map(|of| Some(gauge(&[("signal", &of.signal)], of.age_seconds?)));
    let states = signals.iter().flat_map(|of| {
        let is = |state: &&'static str| {
            let labels = [("signal", of.signal.as_str()), ("state", *state)];
            gauge(&labels, f64::from(u8::from(of.state == *state)))
        };
        STATES.iter().map(is).collect::<Vec<_>>()
    });
    let failures = signals
        .iter()
        .filter_map(|of| Some(counter(&[("signal", &of.signal)], of.asking.as_ref()?.failures_total as f64)));
    let families = [
        (
            "wattle_signal_age_seconds",
            "How long ago what the signal says was so",
            MetricType::GAUGE,
            ages.collect::<Vec<_>>(),
        ),
        (
            "wattle_signal_state",
            "Whether the signal is in this state: fresh, stale, unknown, or what stands in for it",
            MetricType::GAUGE,
            states.collect(),
        ),
        (
            "wattle_signal_fetch_failures_total",
            "Times that the signal's source was asked and gave nothing",
            MetricType::COUNTER,
            failures.collect(),
        ),
    ];
    let families = families.into_iter().filter(|(_, _, _, metrics)| !metrics.is_empty());
    families.map(|(name, help, kind, metrics)| family(name, help, kind, metrics)).collect()
}

fn of_power(control: &Control) -> Vec<MetricFamily> {
    let status = control.status();
    let device = control.device();
    let provenance = &device.power_provenance;
    let basis = provenance.basis.to_string();
    // A share of measured energy is not measured.
    let split = status.attribution.basis.map_or_else(|| basis.clone(), |basis| basis.to_string());
    let id = [("device", device.id.as_str())];
    let known =
        [("device", device.id.as_str()), ("basis", basis.as_str()), ("source", provenance.source.as_str())];
    // perf_analyzer and Model Analyzer sort by gpu_uuid; the device takes its place.
    let uuid = [("gpu_uuid", device.id.as_str())];

    let mut families = Vec::new();
    let mut add = |name: &str, help: &str, kind, metric: Option<Metric>| {
        families.extend(metric.map(|metric| family(name, help, kind, vec![metric])));
    };
    add(
        "wattle_control_up",
        "Whether the control loop runs",
        MetricType::GAUGE,
        Some(gauge(&[], f64::from(u8::from(control.is_running())))),
    );
    add(
        "wattle_control_stalls_total",
        "Times the control loop stalled and the device's knobs were put back without it",
        MetricType::COUNTER,
        Some(counter(&[], control.stalls().total() as f64)),
    );
    let power = status.power_watts.map(|power| power.get());
    add(
        "nv_gpu_power_usage",
        "Power of the device over the last tick, in watts",
        MetricType::GAUGE,
        power.map(|power| gauge(&uuid, power)),
    );
    add(
        "nv_gpu_utilization",
        "Share of the device that was busy",
        MetricType::GAUGE,
        status.utilization.map(|utilization| gauge(&uuid, utilization)),
    );
    add(
        "nv_energy_consumption",
        "Energy of the device since the server started, in joules",
        MetricType::COUNTER,
        Some(counter(&uuid, status.power.energy_joules.get())),
    );
    add(
        "wattle_device_power_watts",
        "Power of the device over the last tick",
        MetricType::GAUGE,
        power.map(|power| gauge(&known, power)),
    );
    add(
        "wattle_device_energy_joules_total",
        "Energy of the device since the server started",
        MetricType::COUNTER,
        Some(counter(&known, status.power.energy_joules.get())),
    );
    add(
        "wattle_device_read_errors_total",
        "Device readings that failed",
        MetricType::COUNTER,
        Some(counter(&id, status.device_read_errors as f64)),
    );
    add(
        "wattle_power_cap_watts",
        "The power cap in force",
        MetricType::GAUGE,
        status.power_cap_watts.filter(|cap| cap.get().is_finite()).map(|cap| gauge(&[], cap.get())),
    );
    add(
        "wattle_cap_violation_seconds_total",
        "Time in which power was over the cap",
        MetricType::COUNTER,
        Some(counter(&[], status.power.violation_seconds)),
    );
    add(
        "wattle_cap_violation_joules_total",
        "Energy above the cap",
        MetricType::COUNTER,
        Some(counter(&[], status.power.violation_joules.get())),
    );
    add(
        "wattle_carbon_intensity_grams_per_kwh",
        "Carbon intensity of the electricity, in gCO2e/kWh",
        MetricType::GAUGE,
        status.carbon_intensity_g_per_kwh.map(|intensity| gauge(&[], intensity.get())),
    );
    add(
        "wattle_operational_emissions_grams_total",
        "Emissions of the energy whose carbon intensity was known, in gCO2e",
        MetricType::COUNTER,
        status.ledger.carbon.map(|carbon| counter(&[], carbon.get())),
    );
    add(
        "wattle_idle_energy_joules_total",
        "Energy that no request asked for",
        MetricType::COUNTER,
        Some(counter(&[known[0], ("basis", split.as_str()), known[2]], status.ledger.idle.get())),
    );
    add(
        "wattle_decide_seconds",
        "How long the policy took to decide, last time",
        MetricType::GAUGE,
        status.decide_us.map(|us| gauge(&[("policy", status.policy.as_str())], us / 1e6)),
    );
    add(
        "wattle_decision_errors_total",
        "Decisions that could not be carried out",
        MetricType::COUNTER,
        Some(counter(&[], status.apply_errors as f64)),
    );

    let by_model: Vec<Metric> = status
        .ledger
        .by_model
        .iter()
        .map(|(model, totals)| {
            let labels = [("model", model.as_str()), ("basis", split.as_str())];
            counter(&labels, totals.energy.get())
        })
        .collect();
    let drifts: Vec<Metric> = status
        .profile_drift
        .iter()
        .map(|drift| {
            // Power is the device's, and so of all models.
            let of = match &drift.model {
                Some(model) => ("model", model.as_str()),
                None => ("device", id[0].1),
            };
            gauge(&[of, ("figure", drift.figure.name())], drift.ratio)
        })
        .collect();
    let reasons: Vec<Metric> = control
        .reasons()
        .iter()
        .map(|(reason, count)| counter(&[("reason", reason)], *count as f64))
        .collect();
    if !drifts.is_empty() {
        let help =
            "What is seen over what the profiles say: batch time of a model, power above idle of the device";
        families.push(family("wattle_profile_drift_ratio", help, MetricType::GAUGE, drifts));
    }
    let accounts = |value: fn(&AccountStatus) -> Option<f64>| -> Vec<Metric> {
        let one = |account: &AccountStatus| {
            // No family and no class are empty labels, which Prometheus takes for labels that are not there.
            let labels = [
                ("model", account.model.as_str()),
                ("family", account.family.as_ref().map_or("", |family| family.as_str())),
                ("class", account.class.as_ref().map_or("", |class| class.as_str())),
                ("basis", split.as_str()),
            ];
            Some(counter(&labels, value(account)?))
        };
        status.accounts.iter().filter_map(one).collect()
    };
    let account_energy = accounts(|account| Some(account.totals.energy.get()));
    let account_emissions = accounts(|account| Some(account.totals.carbon?.get()));
    for (name, help, metrics) in [
        ("wattle_account_energy_joules_total", "Energy attributed to the account", account_energy),
        (
            "wattle_account_emissions_grams_total",
            "Emissions of the account's energy whose carbon intensity was known, in gCO2e",
            account_emissions,
        ),
        (
            "wattle_class_overflow_requests_total",
            "Requests booked as class other because theirs was one too many",
            vec![counter(&[], status.classes.overflowed_requests as f64)],
        ),
        ("wattle_model_energy_joules_total", "Energy attributed to the model", by_model),
        ("wattle_decision_reasons_total", "How often the policy gave each reason", reasons),
    ] {
        if !metrics.is_empty() {
            families.push(family(name, help, MetricType::COUNTER, metrics));
        }
    }
    families
}
