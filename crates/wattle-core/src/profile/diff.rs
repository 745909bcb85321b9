//! What differs between two profiles: in their heads, and at each operating point that both have.

#[cfg(test)]
mod tests;

use serde::Serialize;

use super::format::{COLUMNS, cell_of};
use super::{Profile, nearest_rank};
use crate::operating_point::{OperatingPoint, ProfileRow};
use crate::units::{Joules, Watts};

/// A figure of a row that is held against that of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// See [`ProfileRow::throughput_rps`].
    ThroughputRps,
    /// See [`ProfileRow::latency_ms_mean`].
    LatencyMsMean,
    /// See [`ProfileRow::latency_ms_p99`].
    LatencyMsP99,
    /// See [`ProfileRow::power_watts_mean`].
    PowerWattsMean,
    /// See [`ProfileRow::power_watts_max`].
    PowerWattsMax,
    /// See [`ProfileRow::energy_per_row`].
    EnergyJoulesPerRow,
}

impl Figure {
    /// Every figure, in the order of the columns of a profile file.
    pub const ALL: [Self; 6] = [
        Self::ThroughputRps,
        Self::LatencyMsMean,
        Self::LatencyMsP99,
        Self::PowerWattsMean,
        Self::PowerWattsMax,
        Self::EnergyJoulesPerRow,
    ];

    /// The figure's column in a profile file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ThroughputRps => "throughput_rps",
            Self::LatencyMsMean => "latency_ms_mean",
            Self::LatencyMsP99 => "latency_ms_p99",
            Self::PowerWattsMean => "power_watts_mean",
            Self::PowerWattsMax => "power_watts_max",
            Self::EnergyJoulesPerRow => "energy_joules_per_row",
        }
    }

    /// This figure of `row`.
    pub fn of(self, row: &ProfileRow) -> Option<f64> {
        match self {
            Self::ThroughputRps => row.throughput_rps,
            Self::LatencyMsMean => row.latency_ms_mean,
            Self::LatencyMsP99 => row.latency_ms_p99,
            Self::PowerWattsMean => row.power_watts_mean.map(Watts::get),
            Self::PowerWattsMax => row.power_watts_max.map(Watts::get),
            Self::EnergyJoulesPerRow => row.energy_per_row().map(Joules::get),
        }
    }

    /// Half the width of its 95 % confidence interval. That of the energy follows from those of power
    /// and throughput, whose ratio it is: relative errors that are independent add up in squares.
    fn half_width(self, row: &ProfileRow) -> Option<f64> {
        match self {
            Self::ThroughputRps => row.confidence.throughput_rps_ci95,
            Self::PowerWattsMean => row.confidence.power_watts_ci95.map(Watts::get),
            Self::EnergyJoulesPerRow => {
                let share = |figure: Self| Some(figure.half_width(row)? / figure.of(row)?);
                let both = share(Self::ThroughputRps)?.hypot(share(Self::PowerWattsMean)?);
                Some(self.of(row)? * both).filter(|half_width| half_width.is_finite())
            }
            Self::LatencyMsMean | Self::LatencyMsP99 | Self::PowerWattsMax => None,
        }
    }

    /// How much worse a `ratio` of this figure is, as a share: 0.1 for a tenth less throughput or a
    /// tenth more of anything else. Below 0: better.
    pub fn worsening(self, ratio: f64) -> f64 {
        if self == Self::ThroughputRps { 1.0 - ratio } else { ratio - 1.0 }
    }
}

/// A key of the head that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeadDifference {
    /// The key.
    pub key: &'static str,
    /// Its value in the first, if it is known.
    pub a: Option<String>,
    /// Its value in the second, if it is known.
    pub b: Option<String>,
}

/// One figure of one point in both.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FigureDifference {
    /// Which.
    pub figure: Figure,
    /// In the first.
    pub a: f64,
    /// In the second.
    pub b: f64,
    /// The second over the first.
    pub ratio: f64,
    /// Whether the two are farther apart than the confidence intervals of their difference explain;
    /// `None` where not both tell one.
    pub beyond_ci95: Option<bool>,
}

/// One point that both have, with the figures that both tell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PointDifference {
    /// The point.
    pub point: OperatingPoint,
    /// Its figures.
    pub figures: Vec<FigureDifference>,
    /// Other columns that differ: what only one tells, what changed from 0, how figures are known.
    pub others: Vec<&'static str>,
}

/// One figure over all points.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FigureSummary {
    /// Which.
    pub figure: Figure,
    /// Points where both tell it.
    pub compared: usize,
    /// The median of the ratios.
    pub median_ratio: f64,
    /// The ratio that is worst: the least throughput, the most of anything else.
    pub worst_ratio: f64,
    /// Where it was seen.
    pub worst_at: OperatingPoint,
    /// Points where both tell a confidence interval.
    pub with_ci95: usize,
    /// Those of them where the difference is beyond it.
    pub beyond_ci95: usize,
}

/// What differs between two profiles.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// Keys of the heads that differ.
    pub head: Vec<HeadDifference>,
    /// Points that both have, in the order of the first.
    pub points: Vec<PointDifference>,
    /// Points that only the first has.
    pub only_in_a: Vec<OperatingPoint>,
    /// Points that only the second has.
    pub only_in_b: Vec<OperatingPoint>,
    /// Each figure that some point tells in both.
    pub summary: Vec<FigureSummary>,
}

impl Diff {
    /// What differs from `a` to `b`.
    pub fn of(a: &Profile, b: &Profile) -> Self {
        let mut diff = Self {
            head: head_differences(a, b),
            points: Vec::new(),
            only_in_a: Vec::new(),
            only_in_b: missing_from(b, a),
            summary: Vec::new(),
        };
        for row in &a.rows {
            match b.row_at(&row.point) {
                Some(other) => {
                    let figures: Vec<_> =
                        Figure::ALL.iter().filter_map(|figure| difference(*figure, row, other)).collect();
                    let others = other_columns(row, other, &figures);
                    diff.points.push(PointDifference { point: row.point.clone(), figures, others });
                }
                None => diff.only_in_a.push(row.point.clone()),
            }
        }
        diff.summary = Figure::ALL.iter().filter_map(|figure| summary(*figure, &diff.points)).collect();
        diff
    }

    /// Whether the two tell the same of the same points.
    pub fn is_empty(&self) -> bool {
        let is_same = |point: &PointDifference| {
            point.others.is_empty() && point.figures.iter().all(|figure| figure.a == figure.b)
        };
        self.head.is_empty()
            && self.only_in_a.is_empty()
            && self.only_in_b.is_empty()
            && self.points.iter().all(is_same)
    }

    /// The figures that are worse in the second by more than `share` (0.1 for a tenth), the worst first.
    /// A difference that the confidence intervals explain is none.
    pub fn worse_by(&self, share: f64) -> Vec<(&OperatingPoint, FigureDifference)> {
        let all = self.points.iter().flat_map(|at| at.figures.iter().map(move |one| (&at.point, *one)));
        let worsening = |one: &FigureDifference| one.figure.worsening(one.ratio);
        let mut worse: Vec<_> =
            all.filter(|(_, one)| worsening(one) > share && one.beyond_ci95 != Some(false)).collect();
        worse.sort_by(|(_, a), (_, b)| worsening(b).total_cmp(&worsening(a)));
        worse
    }
}

fn missing_from(there: &Profile, missing_in: &Profile) -> Vec<OperatingPoint> {
    let missing = there.rows.iter().filter(|row| missing_in.row_at(&row.point).is_none());
    missing.map(|row| row.point.clone()).collect()
}

fn head_differences(a: &Profile, b: &Profile) -> Vec<HeadDifference> {
    let text = |text: &str| Some(text.to_owned());
    let number = |number: Option<f64>| number.map(|number| number.to_string());
    let keys = |profile: &Profile| {
        let head = profile.head.clone();
        [
            ("model", text(head.model.as_str())),
            ("device", Some(head.device)),
            ("runtime", Some(head.runtime)),
            ("driver", head.conditions.driver),
            ("model_sha256", head.conditions.model_sha256),
            ("idle_power_watts", number(head.idle_power_watts.map(Watts::get))),
            ("request_overhead_ms", number(head.request_overhead_ms)),
            ("quality", number(head.quality)),
            ("power_source", Some(head.power_source)),
            ("sensors", head.conditions.sensors),
            ("ambient", head.conditions.ambient),
            ("created", head.created),
            ("notes", head.notes),
        ]
    };
    let both = keys(a).into_iter().zip(keys(b));
    both.filter(|((_, a), (_, b))| a != b).map(|((key, a), (_, b))| HeadDifference { key, a, b }).collect()
}

/// The columns of two rows of one point that differ, but for those of `figures`.
fn other_columns(row: &ProfileRow, other: &ProfileRow, figures: &[FigureDifference]) -> Vec<&'static str> {
    // One and the same point may be written in two ways: without a duty cycle, or with one of 1.
    let other = ProfileRow { point: row.point.clone(), ..other.clone() };
    let is_told = |column: &str| figures.iter().any(|one| one.figure.name() == column);
    let differs = |column: &&str| cell_of(row, column) != cell_of(&other, column) && !is_told(column);
    COLUMNS.into_iter().filter(differs).collect()
}

/// One figure of two rows; `None` where not both tell it, or where no ratio can be told.
fn difference(figure: Figure, row: &ProfileRow, other: &ProfileRow) -> Option<FigureDifference> {
    let (a, b) = (figure.of(row)?, figure.of(other)?);
    // Both 0 is no change; a change from 0 has no ratio.
    let ratio = if a == b { 1.0 } else { b / a };
    let half_widths = figure.half_width(row).zip(figure.half_width(other));
    // The variances of two independent means add up to that of their difference.
    let beyond_ci95 = half_widths.map(|(of_a, of_b)| (a - b).abs() > of_a.hypot(of_b));
    ratio.is_finite().then_some(FigureDifference { figure, a, b, ratio, beyond_ci95 })
}

fn summary(figure: Figure, points: &[PointDifference]) -> Option<FigureSummary> {
    let mut seen: Vec<(&OperatingPoint, FigureDifference)> = Vec::new();
    for at in points {
        seen.extend(at.figures.iter().filter(|one| one.figure == figure).map(|one| (&at.point, *one)));
    }
    seen.sort_by(|(_, a), (_, b)| a.ratio.total_cmp(&b.ratio));
    let ratios: Vec<f64> = seen.iter().map(|(_, one)| one.ratio).collect();
    let by_worsening = |one: &FigureDifference| figure.worsening(one.ratio);
    // Of equally bad ones the first, as `max_by` takes the last.
    let (worst_at, worst) =
        seen.iter().rev().max_by(|(_, a), (_, b)| by_worsening(a).total_cmp(&by_worsening(b)))?;
    Some(FigureSummary {
        figure,
        compared: seen.len(),
        median_ratio: nearest_rank(&ratios, 0.5)?,
        worst_ratio: worst.ratio,
        worst_at: (*worst_at).clone(),
        with_ci95: seen.iter().filter(|(_, one)| one.beyond_ci95.is_some()).count(),
        beyond_ci95: seen.iter().filter(|(_, one)| one.beyond_ci95 == Some(true)).count(),
    })
}
