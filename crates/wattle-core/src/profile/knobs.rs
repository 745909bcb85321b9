//! The knobs of an operating point as data, for whatever looks at profiles knob by knob.

use std::cmp::Ordering;
use std::fmt;

use serde::Serialize;

use super::Profile;
use super::partition::size;
use crate::operating_point::OperatingPoint;

/// One knob of an [`OperatingPoint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PointKnob {
    /// See [`OperatingPoint::batch_size`].
    BatchSize,
    /// See [`OperatingPoint::instances`].
    Instances,
    /// See [`OperatingPoint::cores_per_instance`].
    CoresPerInstance,
    /// See [`OperatingPoint::duty_cycle`].
    DutyCycle,
    /// See [`OperatingPoint::core_clock_mhz`].
    CoreClockMhz,
    /// See [`OperatingPoint::compute_units`].
    ComputeUnits,
    /// See [`OperatingPoint::partition`].
    Partition,
    /// See [`OperatingPoint::variant`].
    Variant,
}

/// Where a knob stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum KnobValue {
    /// A number, in the unit of the knob.
    Number(f64),
    /// A name, such as that of a partition.
    Name(String),
}

impl PointKnob {
    /// Every knob, in the order of the columns of a profile file.
    pub const ALL: [Self; 8] = [
        Self::BatchSize,
        Self::Instances,
        Self::CoresPerInstance,
        Self::DutyCycle,
        Self::CoreClockMhz,
        Self::ComputeUnits,
        Self::Partition,
        Self::Variant,
    ];

    /// The knob's column in a profile file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BatchSize => "batch_size",
            Self::Instances => "instances",
            Self::CoresPerInstance => "cores_per_instance",
            Self::DutyCycle => "duty_cycle",
            Self::CoreClockMhz => "core_clock_mhz",
            Self::ComputeUnits => "compute_units",
            Self::Partition => "partition",
            Self::Variant => "variant",
        }
    }

    /// The knob in words, without its unit.
    pub const fn words(self) -> &'static str {
        match self {
            Self::BatchSize => "batch size",
            Self::Instances => "instances",
            Self::CoresPerInstance => "cores per instance",
            Self::DutyCycle => "duty cycle",
            Self::CoreClockMhz => "core clock",
            Self::ComputeUnits => "compute units",
            Self::Partition => "partition",
            Self::Variant => "variant",
        }
    }

    /// The unit of the knob's values; empty where it has none.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::CoreClockMhz => "MHz",
            Self::BatchSize => "rows",
            _ => "",
        }
    }

    /// Where the knob stands at `point`; `None`: at its default. A duty cycle that is not given is 1.
    pub fn of(self, point: &OperatingPoint) -> Option<KnobValue> {
        let count = |count: u32| KnobValue::Number(f64::from(count));
        match self {
            Self::BatchSize => Some(count(point.batch_size)),
            Self::Instances => Some(count(point.instances)),
            Self::CoresPerInstance => point.cores_per_instance.map(count),
            Self::DutyCycle => Some(KnobValue::Number(point.duty_cycle.unwrap_or(1.0))),
            Self::CoreClockMhz => point.core_clock_mhz.map(|clock| KnobValue::Number(clock.get())),
            Self::ComputeUnits => point.compute_units.map(count),
            Self::Partition => point.partition.clone().map(KnobValue::Name),
            Self::Variant => point.variant.clone().map(KnobValue::Name),
        }
    }

    /// The value written as `text`; `None` when this knob takes no such value.
    pub fn read(self, text: &str) -> Option<KnobValue> {
        match self {
            Self::Partition | Self::Variant => Some(KnobValue::Name(text.to_owned())),
            _ => text.parse().ok().filter(|value: &f64| value.is_finite()).map(KnobValue::Number),
        }
    }

    /// Sets this knob of `point` as it stands at `other`.
    pub fn copy(self, other: &OperatingPoint, point: &mut OperatingPoint) {
        match self {
            Self::BatchSize => point.batch_size = other.batch_size,
            Self::Instances => point.instances = other.instances,
            Self::CoresPerInstance => point.cores_per_instance = other.cores_per_instance,
            Self::DutyCycle => point.duty_cycle = other.duty_cycle,
            Self::CoreClockMhz => point.core_clock_mhz = other.core_clock_mhz,
            Self::ComputeUnits => point.compute_units = other.compute_units,
            Self::Partition => point.partition.clone_from(&other.partition),
            Self::Variant => point.variant.clone_from(&other.variant),
        }
    }
}

impl fmt::Display for PointKnob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl KnobValue {
    /// Numbers by size, partitions by the size that their name tells, other names by letters.
    pub fn total_cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Name(a), Self::Name(b)) => {
                let rank = |name: &str| size(name).map(|(_, size)| size);
                rank(a).cmp(&rank(b)).then_with(|| a.cmp(b))
            }
            (Self::Number(_), Self::Name(_)) => Ordering::Less,
            (Self::Name(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

impl fmt::Display for KnobValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Profile {
    /// Where `knob` stands in the rows, ascending and each once; `None` first, where some row leaves it
    /// at its default.
    pub fn values_of(&self, knob: PointKnob) -> Vec<Option<KnobValue>> {
        let mut values: Vec<_> = self.rows.iter().map(|row| knob.of(&row.point)).collect();
        values.sort_by(order);
        values.dedup();
        values
    }
}

/// The order of knob values, one at its default first.
pub(super) fn order(a: &Option<KnobValue>, b: &Option<KnobValue>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.total_cmp(b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// The point's knobs as `batch_size=4 instances=2 core_clock_mhz=1410`, those at their default left out.
impl fmt::Display for OperatingPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_told = |knob: &PointKnob| *knob != PointKnob::DutyCycle || self.duty_cycle.is_some();
        let set = PointKnob::ALL.iter().filter(|knob| is_told(knob));
        let told = set.filter_map(|knob| Some(format!("{knob}={}", knob.of(self)?)));
        f.write_str(&told.collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Megahertz;

    #[test]
    fn a_point_tells_the_knobs_that_are_set() {
        let point = OperatingPoint {
            core_clock_mhz: Some(Megahertz::new(1410.0)),
            partition: Some("3g".into()),
            ..OperatingPoint::of_batch_and_instances(4, 2)
        };
        assert_eq!(point.to_string(), "batch_size=4 instances=2 core_clock_mhz=1410 partition=3g");
        let mut copy = OperatingPoint::of_batch_and_instances(1, 1);
        PointKnob::ALL.iter().for_each(|knob| knob.copy(&point, &mut copy));
        assert_eq!(copy, point);
    }

    #[test]
    fn partitions_are_in_the_order_of_their_size() {
        let name = |name: &str| KnobValue::Name(name.into());
        assert_eq!(name("2g").total_cmp(&name("10g")), Ordering::Less);
        assert_eq!(name("big").total_cmp(&name("small")), Ordering::Less);
        assert_eq!(KnobValue::Number(9.0).total_cmp(&KnobValue::Number(10.0)), Ordering::Less);
    }

    #[test]
    fn a_value_that_the_knob_does_not_take_is_none() {
        assert_eq!(PointKnob::BatchSize.read("many"), None);
        assert_eq!(PointKnob::CoreClockMhz.read("NaN"), None);
        assert_eq!(PointKnob::BatchSize.read("8"), Some(KnobValue::Number(8.0)));
        assert_eq!(PointKnob::Partition.read("3g"), Some(KnobValue::Name("3g".into())));
    }
}
