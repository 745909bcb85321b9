//! The plots of one profile: surfaces over two knobs, lines over one, the front, and how well it predicts.

use wattle_core::operating_point::ProfileRow;
use wattle_core::profile::{KnobValue, LeaveOneOut, PointKnob, PowerFigure, Predictor, Profile};
use wattle_core::units::{Joules, Watts};

use super::number::watts;
use super::page::Plot;
use super::profile_slice::{ProfileView, Slice, in_words, round_levels, spread};
use crate::plot::{
    Axis, Contours, Frontier, Grid, HeatMap, Line, LineKind, LinePlot, Scatter, ScatterSeries, Size,
};

/// Values along an axis of a surface, at most.
const MOST_LEVELS: usize = 48;
/// Lines and colours of one plot, at most: as many as the palette has.
const MOST_SERIES: usize = 7;
/// Lines of one quantity on a surface, about.
const CONTOURS: u32 = 6;
/// Errors in percent that are drawn as this are this or less.
const LEAST_ERROR: f64 = 0.0625;
/// Of the widest plots.
const LARGE: Size = Size { width: 560, height: 330 };

/// A plot with the name of its file.
pub(super) struct Named {
    pub(super) name: &'static str,
    pub(super) plot: Plot,
}

/// A figure that is drawn.
pub(super) struct Drawn {
    title: &'static str,
    unit: &'static str,
    of: fn(&ProfileRow, PowerFigure) -> Option<f64>,
}

const THROUGHPUT: Drawn = Drawn { title: "throughput", unit: "rows/s", of: |row, _| row.throughput_rps };
const POWER: Drawn = Drawn { title: "power", unit: "W", of: |row, figure| figure.of(row).map(Watts::get) };
const ENERGY: Drawn =
    Drawn { title: "energy per row", unit: "J", of: |row, _| row.energy_per_row().map(Joules::get) };
const LATENCY_P99: Drawn =
    Drawn { title: "latency of a batch, p99", unit: "ms", of: |row, _| row.latency_ms_p99 };
const LATENCY_MEAN: Drawn =
    Drawn { title: "latency of a batch, mean", unit: "ms", of: |row, _| row.latency_ms_mean };

/// The 99th percentile of the latency where some row tells it, else the mean.
fn latency_of(profile: &Profile) -> Drawn {
    if profile.rows.iter().any(|row| row.latency_ms_p99.is_some()) { LATENCY_P99 } else { LATENCY_MEAN }
}

/// A figure over two knobs as shades, with lines of itself or of another.
pub(super) fn surfaces(profile: &Profile, view: &ProfileView, x: PointKnob, y: PointKnob) -> Vec<Named> {
    let slice = view.slice(profile, &[x, y]);
    let predictor = profile.predictor();
    let latency = latency_of(profile);
    let pairs: [(&Drawn, &Drawn); 4] =
        [(&THROUGHPUT, &POWER), (&POWER, &THROUGHPUT), (&ENERGY, &ENERGY), (&latency, &latency)];
    let names = ["throughput-surface", "power-surface", "energy-surface", "latency-surface"];
    let Some(surface) = Surface::new(profile, &slice, &predictor, x, y) else { return Vec::new() };
    let made = pairs.iter().zip(names).filter_map(|((shaded, lined), name)| {
        let grid_of = |drawn: &Drawn| surface.grid(|row| (drawn.of)(row, view.power));
        let grid = grid_of(shaded);
        grid.values.iter().flatten().next()?;
        // Lines of the figure itself where the other is unknown.
        let lined = if grid_of(lined).values.iter().flatten().next().is_some() { *lined } else { *shaded };
        let lines = grid_of(lined);
        let (low, high) = bounds(&lines);
        let contours = Contours {
            name: format!("{}, {}", lined.title, lined.unit),
            grid: lines,
            levels: round_levels(low, high, CONTOURS),
        };
        let map = HeatMap {
            title: title(profile, &slice),
            x: surface.x_axis(),
            y: surface.y_axis(),
            shaded: Axis::free(shaded.title, shaded.unit),
            grid,
            contours: if contours.levels.is_empty() { Vec::new() } else { vec![contours] },
            marks: Some(("a row of the file".into(), surface.marks.clone())),
            size: LARGE,
        };
        let with = if shaded.title == lined.title {
            String::new()
        } else {
            format!(" with lines of {}", lined.title)
        };
        let caption = format!("{}{with} over {} and {}{}.", shaded.title, x.words(), y.words(), at(&slice));
        Some(Named { name, plot: plot(map.svg(), caption) })
    });
    made.collect()
}

/// The model and where the knobs stand that are not drawn.
fn title(profile: &Profile, slice: &Slice<'_>) -> String {
    let model = profile.head.model.as_str();
    if slice.words.is_empty() { model.to_owned() } else { format!("{model}, {}", slice.words) }
}

/// Where the knobs stand that are not drawn, at the end of a sentence.
fn at(slice: &Slice<'_>) -> String {
    if slice.words.is_empty() { String::new() } else { format!(", at {}", slice.words) }
}

fn plot(svg: String, caption: String) -> Plot {
    let mut letters = caption.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let caption = first + letters.as_str();
    Plot { svg, alternative: caption.clone(), caption }
}

/// The levels of two knobs, and the row at each pair of them: of the file, or predicted.
struct Surface {
    x: PointKnob,
    y: PointKnob,
    x_names: Vec<String>,
    y_names: Vec<String>,
    rows: Vec<Option<ProfileRow>>,
    /// Where the file has a row.
    marks: Vec<(f64, f64)>,
}

impl Surface {
    /// `None` where the slice has no row.
    fn new(
        profile: &Profile,
        slice: &Slice<'_>,
        predictor: &Predictor,
        x: PointKnob,
        y: PointKnob,
    ) -> Option<Self> {
        let base = slice.rows.first()?;
        // All levels of the profile: where few rows are in the slice itself, others tell of it.
        let all: Vec<&ProfileRow> = profile.rows.iter().collect();
        let (along, up) = (levels(&all, x), levels(&all, y));
        let mut rows = Vec::new();
        let mut marks = Vec::new();
        for (row_index, up) in up.iter().enumerate() {
            for (column, along) in along.iter().enumerate() {
                let mut point = base.point.clone();
                x.copy(&along.point, &mut point);
                y.copy(&up.point, &mut point);
                let found = predictor.predict(&point);
                let is_own = found.as_ref().is_some_and(|found| found.between.is_empty());
                marks.extend(is_own.then_some((column as f64, row_index as f64)));
                rows.push(found.map(|found| found.row));
            }
        }
        let names = |knob: PointKnob, levels: &[&ProfileRow]| {
            levels.iter().map(|row| value_text(knob.of(&row.point).as_ref())).collect::<Vec<_>>()
        };
        Some(Self { x, y, x_names: names(x, &along), y_names: names(y, &up), rows, marks })
    }

    fn grid(&self, of: impl Fn(&ProfileRow) -> Option<f64>) -> Grid {
        let places = |names: &[String]| (0..names.len()).map(|index| index as f64).collect();
        let values = self.rows.iter().map(|row| row.as_ref().and_then(&of)).collect();
        Grid { x: places(&self.x_names), y: places(&self.y_names), values }
    }

    fn x_axis(&self) -> Axis {
        named_axis(self.x, self.x_names.clone())
    }

    fn y_axis(&self) -> Axis {
        named_axis(self.y, self.y_names.clone())
    }
}

fn named_axis(knob: PointKnob, names: Vec<String>) -> Axis {
    Axis { unit: knob.unit().into(), ..Axis::named(knob.words(), names) }
}

fn value_text(value: Option<&KnobValue>) -> String {
    value.map_or_else(|| "default".to_owned(), ToString::to_string)
}

/// One row for each value of `knob`, ascending.
fn levels<'a>(rows: &[&'a ProfileRow], knob: PointKnob) -> Vec<&'a ProfileRow> {
    let mut levels: Vec<&ProfileRow> = rows.to_vec();
    levels.sort_by(|a, b| match (knob.of(&a.point), knob.of(&b.point)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    });
    levels.dedup_by(|a, b| knob.of(&a.point) == knob.of(&b.point));
    spread(levels, MOST_LEVELS)
}

fn bounds(grid: &Grid) -> (f64, f64) {
    let finite = grid.values.iter().flatten().filter(|value| value.is_finite());
    finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), one| (low.min(*one), high.max(*one)))
}

/// Throughput, power, latency and energy over one knob, a line for each value of another.
pub(super) fn lines(
    profile: &Profile,
    view: &ProfileView,
    x: PointKnob,
    series: Option<PointKnob>,
) -> Vec<Named> {
    let free: Vec<PointKnob> = std::iter::once(x).chain(series).collect();
    let slice = view.slice(profile, &free);
    let along = levels(&slice.rows, x);
    if along.len() < 2 {
        return Vec::new();
    }
    let is_named = along.iter().any(|row| !matches!(x.of(&row.point), Some(KnobValue::Number(_))));
    let x_of = |row: &ProfileRow| match x.of(&row.point) {
        Some(KnobValue::Number(number)) if !is_named => number,
        value => along.iter().position(|level| x.of(&level.point) == value).unwrap_or_default() as f64,
    };
    let axis = if is_named {
        named_axis(x, along.iter().map(|row| value_text(x.of(&row.point).as_ref())).collect())
    } else {
        let (low, high) =
            (along.first().map_or(1.0, |row| x_of(row)), along.last().map_or(1.0, |row| x_of(row)));
        let is_wide = low > 0.0 && (x == PointKnob::BatchSize || high / low >= 8.0);
        // Batch sizes and other wide ranges go by doublings.
        let axis = if is_wide { Axis::doubling } else { Axis::free };
        axis(x.words(), x.unit())
    };
    let of_series = |row: &ProfileRow| series.and_then(|knob| knob.of(&row.point));
    let every = match series {
        Some(knob) => levels(&slice.rows, knob),
        None => along.first().copied().into_iter().collect(),
    };
    let all_series = every.len();
    let shown = spread(every, MOST_SERIES);
    let latency = latency_of(profile);
    let made = [
        (&THROUGHPUT, "throughput-lines"),
        (&POWER, "power-lines"),
        (&latency, "latency-lines"),
        (&ENERGY, "energy-lines"),
    ];
    let made = made.into_iter().filter_map(|(drawn, name)| {
        let line = |level: &&ProfileRow| {
            let value = of_series(level);
            let rows = slice.rows.iter().filter(|row| of_series(row) == value);
            let mut points: Vec<_> = rows.map(|row| (x_of(row), (drawn.of)(row, view.power))).collect();
            // Rows may stand in the file in the order in which they were measured.
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let name = series.map_or_else(String::new, |knob| in_words(knob, value.as_ref()));
            Line { name, kind: LineKind::Dotted, points }
        };
        let lines: Vec<Line> = shown.iter().map(line).collect();
        if !lines.iter().flat_map(|line| &line.points).any(|(_, y)| y.is_some()) {
            return None;
        }
        let size = Size { height: 280, ..LARGE };
        let y = Axis::from_zero(drawn.title, drawn.unit);
        let svg = LinePlot { size, ..LinePlot::over(&title(profile, &slice), axis.clone(), y, lines) }.svg();
        let left_out = if all_series > shown.len() {
            format!(" {} of {all_series} values are shown.", shown.len())
        } else {
            String::new()
        };
        let caption = format!("{} over {}{}.{left_out}", drawn.title, x.words(), at(&slice));
        Some(Named { name, plot: plot(svg, caption) })
    });
    made.collect()
}

/// Caps where nothing else is asked: a few round ones among the powers of the profile.
pub(super) fn round_caps(profile: &Profile, figure: PowerFigure) -> Vec<Watts> {
    let powers = || profile.rows.iter().filter_map(|row| figure.of(row).map(Watts::get));
    let (low, high) = (powers().fold(f64::INFINITY, f64::min), powers().fold(f64::NEG_INFINITY, f64::max));
    round_levels(low, high, 5).into_iter().map(Watts::new).collect()
}

/// Throughput against power, and energy against throughput: all points of all of `groups`, with the best.
pub(super) fn fronts(
    title: &str,
    groups: &[(String, Vec<&ProfileRow>)],
    caps: &[Watts],
    figure: PowerFigure,
) -> Vec<Named> {
    let with_caps = caps.iter().map(|cap| (watts(cap.get()), cap.get())).collect();
    let front = scatter(title, groups, (&POWER, &THROUGHPUT), figure, with_caps);
    let energy = scatter(title, groups, (&THROUGHPUT, &ENERGY), figure, Vec::new());
    let named = |name, caption: &str, scatter: Option<Scatter>| {
        let plot = plot(scatter?.svg(), format!("{caption}: every row; the line joins the best."));
        Some(Named { name, plot })
    };
    let made = [
        named("front", "Throughput against power", front),
        named("energy-front", "Energy per row against throughput", energy),
    ];
    made.into_iter().flatten().collect()
}

/// One figure against another; `None` where no row tells both.
fn scatter(
    title: &str,
    groups: &[(String, Vec<&ProfileRow>)],
    (x, y): (&Drawn, &Drawn),
    figure: PowerFigure,
    bounds: Vec<(String, f64)>,
) -> Option<Scatter> {
    let point = |row: &&ProfileRow| Some(((x.of)(row, figure)?, (y.of)(row, figure)?));
    let series = groups
        .iter()
        .map(|(name, rows)| ScatterSeries {
            name: name.clone(),
            points: rows.iter().filter_map(point).collect(),
        })
        .filter(|series| !series.points.is_empty());
    let series: Vec<ScatterSeries> = series.collect();
    let is_power = x.title == POWER.title;
    (!series.is_empty()).then(|| Scatter {
        title: title.into(),
        x: Axis::free(x.title, x.unit),
        y: Axis::from_zero(y.title, y.unit),
        series,
        frontier: Some(Frontier { less_x: is_power, less_y: !is_power }),
        bounds,
        size: LARGE,
    })
}

/// The rows by the knob that tells them apart best: a name first, then one of few values.
pub(super) fn coloured(profile: &Profile) -> Vec<(String, Vec<&ProfileRow>)> {
    let order = [
        PointKnob::Variant,
        PointKnob::Partition,
        PointKnob::Instances,
        PointKnob::CoresPerInstance,
        PointKnob::ComputeUnits,
        PointKnob::DutyCycle,
        PointKnob::BatchSize,
        PointKnob::CoreClockMhz,
    ];
    let few = order.into_iter().find(|knob| (2..=MOST_SERIES).contains(&profile.values_of(*knob).len()));
    let Some(knob) = few else { return vec![("a row".into(), profile.rows.iter().collect())] };
    let values = profile.values_of(knob).into_iter();
    let of =
        |value: &Option<KnobValue>| profile.rows.iter().filter(|row| knob.of(&row.point) == *value).collect();
    values.map(|value| (in_words(knob, value.as_ref()), of(&value))).collect()
}

/// How large a share of rows is predicted from the others within how much.
pub(super) fn errors(title: &str, found: &LeaveOneOut) -> Option<Plot> {
    // Less than shows has no place on an axis of doublings.
    let percent =
        |errors: &[f64]| errors.iter().map(|error| (error * 100.0).max(LEAST_ERROR)).collect::<Vec<_>>();
    let samples =
        [("throughput", &found.throughput), ("power", &found.power), ("latency, mean", &found.latency)];
    let samples: Vec<(String, Vec<f64>)> = samples
        .into_iter()
        .filter(|(_, errors)| !errors.is_empty())
        .map(|(name, errors)| (name.to_owned(), percent(errors)))
        .collect();
    if samples.is_empty() {
        return None;
    }
    let plot_of = LinePlot::cdf(title, Axis::doubling("off by at most", "%"), &samples);
    let y = Axis::from_zero("share of rows", "").and_covers(1.0);
    let svg = LinePlot { y, size: Size { height: 280, ..LARGE }, ..plot_of }.svg();
    Some(plot(svg, "How far rows are from what the others predict for them: the share of rows that is off by at most so much.".into()))
}
