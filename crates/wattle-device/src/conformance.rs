//! What every driver must keep to, as a check that the tests of each driver run.
//!
//! Works through the [`Device`](crate::device::Device) seam alone and knows no driver. It turns knobs to both ends of their
//! range, so on real hardware run it only where nothing else runs.

use wattle_core::knob::{DeviceKnob, DeviceSetting, KnobRange};
use wattle_core::time::Timestamp;
use wattle_core::units::{Joules, Megahertz, Watts};

use crate::device::DeviceError;
use crate::held::Held;

/// Readings taken while the counters are watched.
const READINGS: usize = 20;

/// How far, as a share, a knob may stand from what it was set to: drivers round.
const KNOB_TOLERANCE: f64 = 0.01;

/// A driver breaks a rule of the [`Device`](crate::device::Device) seam.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// An operation failed that must not.
    #[error("failed to {action}: {source}")]
    Failed {
        /// What was tried.
        action: String,
        /// What the driver said.
        source: DeviceError,
    },
    /// The energy counter ran backwards, or went from known to unknown.
    #[error("energy went from {before:?} to {after:?}")]
    EnergyRanBackwards {
        /// An earlier reading.
        before: Option<Joules>,
        /// The next one.
        after: Option<Joules>,
    },
    /// A figure of a reading is not a possible one.
    #[error("{figure} reads {found}, expected {expected}")]
    Impossible {
        /// Which figure.
        figure: &'static str,
        /// What it reads.
        found: f64,
        /// What it must be.
        expected: &'static str,
    },
    /// The range of a knob is empty, not of numbers, or does not hold its own steps.
    #[error("the range of a knob makes no sense: {0:?}")]
    Range(KnobRange),
    /// A setting was let through, or refused with the wrong error.
    #[error("{setting:?} gave {found}, expected {expected}")]
    NotRefused {
        /// What was asked.
        setting: DeviceSetting,
        /// What the driver answered.
        found: String,
        /// Which error was due.
        expected: &'static str,
    },
    /// Seen from outside, a knob does not stand where it should.
    #[error("{knob} stands at {found:?} after {after}, expected {expected:?}")]
    Stands {
        /// Which knob.
        knob: DeviceKnob,
        /// What was done last.
        after: &'static str,
        /// Where it stands.
        found: Option<f64>,
        /// Where it should.
        expected: Option<f64>,
    },
}

/// Checks `device` against the rules of the [`Device`](crate::device::Device) seam and leaves its knobs as they were found.
///
/// `now` gives the time of each reading, rising. `seen_outside` tells where a knob stands without
/// asking the driver (the file, the register, the shared state), or `None` where that can't be seen.
///
/// Rules: counters never run backwards and figures are possible; each knob takes the ends of its range
/// and every step, and refuses what is out of it; knobs that are not listed are refused as such;
/// restoring puts every knob back, and doing it twice does no more.
///
/// # Errors
/// The first rule that is broken.
pub fn check(
    device: &mut Held,
    mut now: impl FnMut() -> Timestamp,
    mut seen_outside: impl FnMut(DeviceKnob) -> Option<f64>,
) -> Result<(), Violation> {
    check_readings(device, &mut now)?;
    let knobs = device.info().knobs.clone();
    let as_found: Vec<_> = knobs.iter().map(|range| (range.knob, seen_outside(range.knob))).collect();
    for range in &knobs {
        check_knob(device, range, &mut seen_outside)?;
    }
    for knob in [DeviceKnob::ComputeUnits, DeviceKnob::CoreClock, DeviceKnob::PowerLimit] {
        if device.info().range(knob).is_none() {
            let is_right = |error: &DeviceError| matches!(error, DeviceError::NoSuchKnob { .. });
            check_refused(device, setting(knob, 1.0), "NoSuchKnob", is_right)?;
        }
    }
    check_readings(device, &mut now)?; // knobs turned: the counters must go on
    for after in ["restore", "a second restore"] {
        device.restore().map_err(|source| Violation::Failed { action: after.into(), source })?;
        for &(knob, expected) in &as_found {
            check_stands(knob, after, seen_outside(knob), expected)?;
        }
    }
    check_readings(device, &mut now)
}

fn check_readings(device: &mut Held, now: &mut impl FnMut() -> Timestamp) -> Result<(), Violation> {
    let mut before = None;
    for _ in 0..READINGS {
        let reading =
            device.read(now()).map_err(|source| Violation::Failed { action: "read".into(), source })?;
        let possible = |figure, found: Option<f64>, max, expected| match found {
            Some(found) if !(0.0..=max).contains(&found) => {
                Err(Violation::Impossible { figure, found, expected })
            }
            _ => Ok(()),
        };
        let not_negative = "a number of at least 0";
        possible("energy", reading.energy.map(Joules::get), f64::MAX, not_negative)?;
        possible("power", reading.power.map(Watts::get), f64::MAX, not_negative)?;
        possible("own share", reading.own_share, 1.0, "a share, 0 to 1")?;
        possible("utilization", reading.utilization, 1.0, "a share, 0 to 1")?;
        // `None < Some`, so this also finds a counter that was lost.
        if reading.energy < before {
            return Err(Violation::EnergyRanBackwards { before, after: reading.energy });
        }
        before = reading.energy;
    }
    Ok(())
}

fn check_knob(
    device: &mut Held,
    range: &KnobRange,
    seen_outside: &mut impl FnMut(DeviceKnob) -> Option<f64>,
) -> Result<(), Violation> {
    let KnobRange { knob, min, max, ref steps } = *range;
    let holds = |value: f64| (min..=max).contains(&value) && value.is_finite();
    let is_ascending = steps.windows(2).all(|pair| pair[0] < pair[1]);
    if !holds(min) || !holds(max) || !steps.iter().all(|&step| holds(step)) || !is_ascending {
        return Err(Violation::Range(range.clone()));
    }
    for &value in [max, min].iter().chain(steps) {
        let asked = setting(knob, value);
        device
            .apply(asked)
            .map_err(|source| Violation::Failed { action: format!("apply {asked:?}"), source })?;
        let stands = seen_outside(knob);
        check_stands(knob, "being set", stands, stands.and(Some(value)))?;
    }
    let before = seen_outside(knob);
    // A whole unit, so that it is out of the range of a knob that counts, too.
    for value in [max + 1.0, min - 1.0] {
        let is_right = |error: &DeviceError| matches!(error, DeviceError::OutOfRange { .. });
        if value >= 0.0 {
            check_refused(device, setting(knob, value), "OutOfRange", is_right)?;
            check_stands(knob, "a refused setting", seen_outside(knob), before)?;
        }
    }
    Ok(())
}

fn check_refused(
    device: &mut Held,
    setting: DeviceSetting,
    expected: &'static str,
    is_right: impl Fn(&DeviceError) -> bool,
) -> Result<(), Violation> {
    match device.apply(setting) {
        Err(error) if is_right(&error) => Ok(()),
        Err(error) => Err(Violation::NotRefused { setting, found: format!("{error:?}"), expected }),
        Ok(()) => Err(Violation::NotRefused { setting, found: "no error".into(), expected }),
    }
}

fn check_stands(
    knob: DeviceKnob,
    after: &'static str,
    found: Option<f64>,
    expected: Option<f64>,
) -> Result<(), Violation> {
    let is_near = match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() <= KNOB_TOLERANCE * expected.abs(),
        (found, expected) => found == expected,
    };
    if is_near { Ok(()) } else { Err(Violation::Stands { knob, after, found, expected }) }
}

/// `knob` set to `value`, in the unit of its setting.
fn setting(knob: DeviceKnob, value: f64) -> DeviceSetting {
    match knob {
        DeviceKnob::ComputeUnits => DeviceSetting::ComputeUnits(value.round() as u32),
        DeviceKnob::CoreClock => DeviceSetting::CoreClock(Megahertz::new(value)),
        DeviceKnob::PowerLimit => DeviceSetting::PowerLimit(Watts::new(value)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use wattle_core::provenance::{Basis, Provenance};

    use super::*;
    use crate::device::{Device, DeviceInfo, Inspection, KnobState, Reading};

    /// What a driver does wrong.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Fault {
        None,
        CounterTurnsOver,
        NotANumber,
        DoesNotTurn,
        DoesNotRestore,
    }

    struct Faulty {
        fault: Fault,
        info: DeviceInfo,
        cores: Arc<AtomicU32>,
    }

    impl Device for Faulty {
        fn info(&self) -> &DeviceInfo {
            &self.info
        }

        fn read(&mut self, at: Timestamp) -> Result<Reading, DeviceError> {
            let seconds = at.as_secs_f64();
            let energy = if self.fault == Fault::CounterTurnsOver { seconds % 7.0 } else { seconds };
            let power = if self.fault == Fault::NotANumber { f64::NAN } else { 1.0 };
            let (energy, power) = (Some(Joules::new(energy)), Some(Watts::new(power)));
            Ok(Reading { at, energy, power, own_share: None, utilization: None })
        }

        fn apply(&mut self, setting: DeviceSetting) -> Result<(), DeviceError> {
            if self.fault != Fault::DoesNotTurn {
                self.cores.store(setting.value() as u32, Ordering::Relaxed);
            }
            Ok(())
        }

        fn knob_state(&mut self, _: DeviceKnob) -> Result<KnobState, DeviceError> {
            Ok(KnobState::default())
        }

        fn put_back(&mut self, _: DeviceKnob, _: &KnobState) -> Result<(), DeviceError> {
            if self.fault != Fault::DoesNotRestore {
                self.cores.store(4, Ordering::Relaxed);
            }
            Ok(())
        }

        fn inspect(&mut self, _: Timestamp) -> Inspection {
            Inspection::default()
        }
    }

    fn found(fault: Fault) -> Result<(), String> {
        let cores = Arc::new(AtomicU32::new(4));
        let knob = DeviceKnob::ComputeUnits;
        let info = DeviceInfo {
            id: "faulty".into(),
            description: String::new(),
            knobs: vec![KnobRange { knob, min: 1.0, max: 4.0, steps: Vec::new() }],
            power_provenance: Provenance::new(Basis::Assumed, "the test"),
            idle_power: None,
            full_power: None,
        };
        let mut now = Timestamp::ZERO;
        let clock = || {
            now = now + Duration::from_secs(1);
            now
        };
        let mut device = Held::new(Box::new(Faulty { fault, info, cores: Arc::clone(&cores) }));
        let seen_outside = |_| Some(f64::from(cores.load(Ordering::Relaxed)));
        check(&mut device, clock, seen_outside).map_err(|violation| violation.to_string())
    }

    #[test]
    fn names_the_rule_that_a_driver_breaks() {
        assert_eq!(found(Fault::None), Ok(()));
        for (fault, expected) in [
            (Fault::CounterTurnsOver, "energy went from Some(Joules(6.0)) to Some(Joules(0.0))"),
            (Fault::NotANumber, "power reads NaN, expected a number of at least 0"),
            (Fault::DoesNotTurn, "compute_units stands at Some(4.0) after being set, expected Some(1.0)"),
            (Fault::DoesNotRestore, "compute_units stands at Some(1.0) after restore, expected Some(4.0)"),
        ] {
            assert_eq!(found(fault), Err(expected.into()), "{fault:?}");
        }
    }
}
