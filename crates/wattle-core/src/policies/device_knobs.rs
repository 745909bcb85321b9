//! What a device takes at one of its knobs.

use std::collections::BTreeMap;

use super::candidates::DevicePoint;
use crate::id::DeviceId;
use crate::knob::{DeviceKnob, DeviceSetting, KnobRange};
use crate::observation::DeviceObservation;
use crate::units::{Megahertz, Watts};

/// Steps closer than this are the same: clocks are whole megahertz, compute units whole.
const SAME_STEP: f64 = 0.5;

/// How far the knob of `device` turns, if it has it and its range makes sense.
pub(super) fn range_of(device: &DeviceObservation, knob: DeviceKnob) -> Option<&KnobRange> {
    device.knobs.iter().find(|range| {
        range.knob == knob && range.min.is_finite() && range.max.is_finite() && range.min <= range.max
    })
}

/// Whether the knob takes `value`.
pub(super) fn takes(range: &KnobRange, value: f64) -> bool {
    (range.min - SAME_STEP..=range.max + SAME_STEP).contains(&value)
        && (range.steps.is_empty() || range.steps.iter().any(|step| (step - value).abs() < SAME_STEP))
}

/// The values to choose from, ascending: the knob's steps, or `count` even ones between its ends. At
/// least one.
pub(super) fn levels(range: &KnobRange, count: usize) -> Vec<f64> {
    let within = |step: &f64| (range.min..=range.max).contains(step);
    let mut levels: Vec<f64> = range.steps.iter().copied().filter(within).collect();
    if levels.is_empty() {
        let width = range.max - range.min;
        let last = count.max(2) - 1;
        levels = (0..=last).map(|index| range.min + width * index as f64 / last as f64).collect();
    }
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    levels
}

/// The highest value the knob takes that is at most `value`, or its lowest.
pub(super) fn at_most(range: &KnobRange, value: f64) -> f64 {
    let clamped = value.clamp(range.min, range.max);
    let lower = range.steps.iter().copied().filter(|step| *step <= clamped + SAME_STEP);
    let lowest = range.steps.iter().copied().reduce(f64::min);
    lower.reduce(f64::max).or(lowest).unwrap_or(clamped)
}

/// Turns a device's knobs to profiled points, and remembers where they stand: an observation does not
/// tell.
#[derive(Debug, Clone, Default)]
pub(super) struct KnobHand {
    /// Where each knob that was turned stands; `None`: not known, the device failed.
    turned: BTreeMap<DeviceKnob, Option<f64>>,
}

impl KnobHand {
    /// Whether any knob was turned ever.
    pub(super) fn has_turned(&self) -> bool {
        !self.turned.is_empty()
    }

    /// What it takes to have `device` at `point`. A knob that the point leaves at its default and that
    /// was turned before is opened fully again.
    pub(super) fn turn(
        &mut self,
        device: &DeviceObservation,
        point: DevicePoint,
    ) -> Option<(DeviceId, Vec<DeviceSetting>)> {
        if device.settings_failed {
            self.turned.values_mut().for_each(|value| *value = None);
        }
        let mut settings = Vec::new();
        for knob in [DeviceKnob::CoreClock, DeviceKnob::ComputeUnits] {
            let Some(range) = range_of(device, knob) else { continue };
            let before = self.turned.get(&knob).copied();
            let Some(value) = point.value(knob).or(before.map(|_| range.max)) else { continue };
            let value = at_most(range, value);
            if before.flatten() != Some(value) {
                self.turned.insert(knob, Some(value));
                settings.push(setting(knob, value));
            }
        }
        (!settings.is_empty()).then(|| (device.id.clone(), settings))
    }
}

/// The setting that turns `knob` to `value`.
pub(super) fn setting(knob: DeviceKnob, value: f64) -> DeviceSetting {
    match knob {
        DeviceKnob::ComputeUnits => DeviceSetting::ComputeUnits(value.round() as u32),
        DeviceKnob::CoreClock => DeviceSetting::CoreClock(Megahertz::new(value)),
        DeviceKnob::PowerLimit => DeviceSetting::PowerLimit(Watts::new(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provenance::{Basis, Provenance};

    fn range(min: f64, max: f64, steps: &[f64]) -> KnobRange {
        KnobRange { knob: DeviceKnob::CoreClock, min, max, steps: steps.to_vec() }
    }

    #[test]
    fn a_knob_with_steps_takes_these_and_one_without_all_between_its_ends() {
        let stepped = range(500.0, 1500.0, &[500.0, 800.0, 1500.0]);
        assert_eq!(levels(&stepped, 10), [500.0, 800.0, 1500.0]);
        assert!(takes(&stepped, 800.0) && !takes(&stepped, 900.0));
        assert_eq!([at_most(&stepped, 1000.0), at_most(&stepped, 9.0)], [800.0, 500.0]);
        let even = range(500.0, 1500.0, &[]);
        assert_eq!(levels(&even, 11).len(), 11);
        assert_eq!(levels(&even, 11)[3], 800.0);
        assert!(takes(&even, 900.0) && !takes(&even, 1600.0));
        assert_eq!([at_most(&even, 1000.0), at_most(&even, 2e9)], [1000.0, 1500.0]);
        assert_eq!(levels(&range(7.0, 7.0, &[]), 10), [7.0]);
    }

    #[test]
    fn what_the_device_failed_to_set_is_set_again_and_a_knob_turned_in_vain_is_still_opened() {
        let mut device = DeviceObservation {
            id: "gpu".into(),
            power_samples: Vec::new(),
            power_provenance: Provenance::new(Basis::Modelled, "test"),
            knobs: vec![range(500.0, 1500.0, &[])],
            settings_failed: false,
        };
        let point = |mhz: Option<f64>| DevicePoint {
            core_clock_mhz: mhz.map(Megahertz::new),
            ..DevicePoint::default()
        };
        let clock = |mhz| Some(("gpu".into(), vec![DeviceSetting::CoreClock(Megahertz::new(mhz))]));
        let mut hand = KnobHand::default();
        assert_eq!(hand.turn(&device, point(Some(800.0))), clock(800.0));
        assert_eq!(hand.turn(&device, point(Some(800.0))), None);
        device.settings_failed = true;
        assert_eq!(hand.turn(&device, point(Some(800.0))), clock(800.0));
        assert_eq!(hand.turn(&device, point(None)), clock(1500.0));
        device.settings_failed = false;
        assert_eq!(hand.turn(&device, point(None)), None);
        device.settings_failed = true;
        assert_eq!(KnobHand::default().turn(&device, point(None)), None, "never turned");
    }
}
