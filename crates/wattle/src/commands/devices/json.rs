//! The devices as JSON. Its keys are documented and stay as they are.
//!
//! Whatever may be out of reach is `{"status": "here", "value": …}`, or `absent`, `denied` or `failed`
//! with `because`, and with `fix` where it is denied.

use serde_json::{Value, json};
use wattle_core::provenance::Provenance;
use wattle_core::units::Watts;
use wattle_device::device::{Access, KnobView, SensorView};
use wattle_device::recover::{KnobPutBack, Recovered, Recovery};

use super::view::{Missing, Seen, SeenDevice, TurnedBy};

/// Everything that is seen.
pub(super) fn of_machine(seen: &Seen) -> Value {
    json!({
        "devices": seen.devices.iter().map(of_device).collect::<Vec<_>>(),
        "not_here": seen.missing.iter().map(of_missing).collect::<Vec<_>>(),
    })
}

fn of_device(device: &SeenDevice) -> Value {
    let info = &device.info;
    let inspection = &device.inspection;
    json!({
        "id": info.id,
        "driver": device.driver,
        "description": info.description,
        "power_watts": access(&device.power, |watts| json!(watts.get())),
        "power_provenance": info.power_provenance,
        "idle_power_watts": figure(info.idle_power.as_ref()),
        "full_power_watts": figure(info.full_power.as_ref()),
        "utilization": device.utilization,
        "turned_by": device.turned_by.as_ref().map(|TurnedBy { pid, lives }| {
            json!({ "pid": pid, "lives": lives })
        }),
        "sensors": inspection.sensors.iter().map(of_sensor).collect::<Vec<_>>(),
        "knobs": inspection.knobs.iter().map(of_knob).collect::<Vec<_>>(),
        "facts": inspection.facts.iter().map(|(name, fact)| {
            with(access(fact, |fact| json!(fact)), "name", json!(name))
        }).collect::<Vec<_>>(),
    })
}

fn figure(figure: Option<&(Watts, Provenance)>) -> Value {
    figure
        .map_or(Value::Null, |(watts, provenance)| json!({ "value": watts.get(), "provenance": provenance }))
}

fn of_sensor(sensor: &SensorView) -> Value {
    let SensorView { name, unit, source, reading } = sensor;
    let reading = access(reading, |value| json!(value));
    json!({ "name": name, "unit": unit, "source": source, "reading": reading })
}

fn of_knob(knob: &KnobView) -> Value {
    json!({
        "name": knob.knob.name(),
        "unit": knob.unit,
        "source": knob.source,
        "min": knob.range.as_ref().map(|range| range.min),
        "max": knob.range.as_ref().map(|range| range.max),
        "steps": knob.range.as_ref().map(|range| &range.steps),
        "stands": access(&knob.stands, |value| json!(value)),
        "turnable": access(&knob.turnable, |()| json!(true)),
    })
}

fn of_missing(missing: &Missing) -> Value {
    with(access(&missing.why, |()| Value::Null), "driver", json!(missing.driver))
}

fn access<T>(access: &Access<T>, here: impl Fn(&T) -> Value) -> Value {
    match access {
        Access::Here(value) => json!({ "status": "here", "value": here(value) }),
        Access::Absent { because } => json!({ "status": "absent", "because": because }),
        Access::Denied { because, fix } => json!({ "status": "denied", "because": because, "fix": fix }),
        Access::Failed { because } => json!({ "status": "failed", "because": because }),
    }
}

fn with(mut object: Value, key: &str, value: Value) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
    object
}

/// What became of each lease.
pub(super) fn of_recoveries(recoveries: &[Recovery]) -> Value {
    let each = recoveries.iter().map(|Recovery { file, outcome }| {
        let told = match outcome {
            Ok(Recovered::PutBack { device, pid, knobs }) => json!({
                "status": "put_back", "device": device, "pid": pid,
                "knobs": knobs.iter().map(|KnobPutBack { knob, from, to }| {
                    json!({ "name": knob.name(), "from": from, "to": to })
                }).collect::<Vec<_>>(),
            }),
            Ok(Recovered::OfEarlierBoot { device }) => {
                json!({ "status": "of_earlier_boot", "device": device })
            }
            Ok(Recovered::InUse { device, pid }) => {
                json!({ "status": "in_use", "device": device, "pid": pid })
            }
            Err(error) => json!({ "status": "failed", "because": error.to_string() }),
        };
        with(told, "file", json!(file))
    });
    json!({ "leases": each.collect::<Vec<_>>() })
}
