//! Axes: what they show, and a range that can always be drawn, whatever the values are.

use std::ops::Range;

use super::canvas::{NAME, shortened};

/// What an axis shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Axis {
    /// The quantity, such as `power`.
    pub label: String,
    /// Its unit, such as `W`; empty where it has none.
    pub unit: String,
    /// Values that the axis covers beside those drawn: 0 for a quantity that starts there, or the
    /// highest of plots that are to be compared.
    pub covers: Vec<f64>,
    /// Names of 0, 1, 2 and so on, for a quantity that is no number.
    pub names: Vec<String>,
    /// Whether each doubling is as long as the next, for a quantity over 0 such as a batch size.
    pub is_doubling: bool,
}

impl Axis {
    /// An axis of `label` in `unit` that starts at 0.
    pub fn from_zero(label: &str, unit: &str) -> Self {
        Self { covers: vec![0.0], ..Self::free(label, unit) }
    }

    /// An axis of `label` in `unit` over the values there are.
    pub fn free(label: &str, unit: &str) -> Self {
        Self { label: label.into(), unit: unit.into(), ..Self::default() }
    }

    /// An axis of named values: 0 is the first of `names`.
    pub fn named(label: &str, names: Vec<String>) -> Self {
        let covers = vec![-0.4, names.len().max(1) as f64 - 0.6];
        Self { covers, names, ..Self::free(label, "") }
    }

    /// An axis of `label` in `unit` over the values there are, each doubling as long as the next. Values
    /// of 0 and below have no place on it.
    pub fn doubling(label: &str, unit: &str) -> Self {
        Self { is_doubling: true, ..Self::free(label, unit) }
    }

    /// The same axis, which covers `value` too.
    #[must_use]
    pub fn and_covers(mut self, value: f64) -> Self {
        self.covers.push(value);
        self
    }

    /// Label and unit.
    pub(super) fn title(&self) -> String {
        if self.unit.is_empty() { self.label.clone() } else { format!("{}, {}", self.label, self.unit) }
    }

    /// The range of `values` and of what the axis covers.
    pub(super) fn scale(&self, values: impl Iterator<Item = f64>) -> Scale {
        let values = values.chain(self.covers.iter().copied());
        if self.is_doubling {
            return Scale { is_doubling: true, ..Scale::over(values.map(f64::log2)) };
        }
        Scale { names: self.names.clone(), ..Scale::over(values) }
    }
}

/// A range that is finite and not empty, in values divided by a power of ten.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    factor: f64,
    suffix: String,
    names: Vec<String>,
    is_doubling: bool,
}

impl Scale {
    /// Over the finite ones of `values`, with a little room; 0 to 1 where there is none.
    fn over(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let (factor, suffix) = factor(low.abs().max(high.abs()));
        let (mut low, mut high) = (low / factor, high / factor);
        let largest = low.abs().max(high.abs());
        if high - low <= 1e-9 * largest.max(1e-9) {
            let room = if largest > 1e-9 { largest / 10.0 } else { 1.0 };
            let starts_at_zero = low.abs() <= 1e-9 && high.abs() <= 1e-9;
            low -= if starts_at_zero { 0.0 } else { room };
            high += room;
        } else {
            let room = (high - low) * 0.04;
            low -= if low == 0.0 { 0.0 } else { room };
            high += if high == 0.0 { 0.0 } else { room };
        }
        Self { low, high, factor, suffix, names: Vec::new(), is_doubling: false }
    }

    /// What plotters is given.
    pub(super) fn range(&self) -> Range<f64> {
        self.low..self.high
    }

    /// `value` in the numbers of [`range`](Self::range).
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = if self.is_doubling { value.log2() } else { value };
        let scaled = (value / self.factor).clamp(self.low, self.high);
        if scaled.is_nan() { self.low } else { scaled }
    }

    /// The label of a tick at `scaled`, a number of [`range`](Self::range).
    pub(super) fn tick(&self, scaled: f64) -> String {
        if !self.names.is_empty() {
            let is_whole = (scaled - scaled.round()).abs() < 1e-6 && scaled > -0.5;
            let name = self.names.get(scaled.round().max(0.0) as usize).filter(|_| is_whole);
            return name.map_or_else(String::new, |name| shortened(name, NAME));
        }
        if self.is_doubling {
            // Between doublings there is no round number to write.
            let exponent = (scaled * self.factor).round();
            let is_whole = (scaled * self.factor - exponent).abs() < 1e-6;
            return if is_whole { trimmed(exponent.exp2(), 3) } else { String::new() };
        }
        let decimals = (2.0 - (self.high - self.low).log10().floor()).clamp(0.0, 12.0) as usize;
        self.suffixed(trimmed(scaled, decimals))
    }

    fn suffixed(&self, digits: String) -> String {
        if digits == "0" { digits } else { digits + &self.suffix }
    }

    /// `value` with its suffix, to four digits or so.
    pub(super) fn told(&self, value: f64) -> String {
        let scaled = value / self.factor;
        let decimals = (3.0 - scaled.abs().max(1e-3).log10().floor()).clamp(0.0, 6.0) as usize;
        self.suffixed(trimmed(scaled, decimals))
    }
}

/// `value` with up to `decimals`, without zeros at the end.
fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".into() } else { text.into() }
}

/// The power of ten by which values of up to `largest` are divided, and how that is written.
fn factor(largest: f64) -> (f64, String) {
    if largest == 0.0 || (0.01..20_000.0).contains(&largest) {
        return (1.0, String::new());
    }
    let exponent = ((largest.log10() / 3.0).floor() * 3.0).clamp(-300.0, 306.0) as i32;
    let suffix = match exponent {
        -9 => "n".into(),
        -6 => "µ".into(),
        -3 => "m".into(),
        3 => "k".into(),
        6 => "M".into(),
        9 => "G".into(),
        12 => "T".into(),
        _ => format!("e{exponent}"),
    };
    (10f64.powi(exponent), suffix)
}

/// A unit of time that suits `span_seconds`: its length in seconds and its symbol.
pub(super) fn time_unit(span_seconds: f64) -> (f64, &'static str) {
    match span_seconds {
        span if span > 3.0 * 86_400.0 => (86_400.0, "d"),
        span if span > 3.0 * 3600.0 => (3600.0, "h"),
        span if span > 300.0 => (60.0, "min"),
        _ => (1.0, "s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(values: &[f64], at: &[f64]) -> Vec<String> {
        let scale = Scale::over(values.iter().copied());
        at.iter().map(|value| scale.tick(scale.at(*value))).collect()
    }

    #[test]
    fn a_tick_is_written_with_the_digits_that_its_range_needs() {
        assert_eq!(ticks(&[0.0, 250.0], &[0.0, 50.0, 200.0]), ["0", "50", "200"]);
        assert_eq!(ticks(&[0.0, 0.5], &[0.25]), ["0.25"]);
        assert_eq!(ticks(&[0.0, 3_000_000.0], &[0.0, 1_500_000.0]), ["0", "1.5M"]);
        assert_eq!(ticks(&[1e30, 2e30], &[1e30]), ["1e30"]);
    }

    #[test]
    fn on_an_axis_of_doublings_each_is_as_long_as_the_next() {
        let scale = Axis::doubling("batch size", "").scale([1.0, 64.0, 0.0, -1.0].into_iter());
        let places = [1.0, 2.0, 4.0, 64.0].map(|value| scale.at(value));
        assert_eq!(places, [0.0, 1.0, 2.0, 6.0]);
        assert_eq!([0.0, 0.5, 4.0, 6.0].map(|place| scale.tick(place)), ["1", "", "16", "64"]);
        assert!(scale.range().contains(&scale.at(0.0)));
    }

    #[test]
    fn any_values_give_a_range_that_is_finite_and_not_empty() {
        let odd: [&[f64]; 8] = [
            &[],
            &[f64::NAN],
            &[0.0],
            &[f64::MAX, -f64::MAX],
            &[5e-324],
            &[1e16, 1e16 + 2.0],
            &[f64::INFINITY, 3.0],
            &[-7.0, -7.0],
        ];
        for values in odd {
            let range = Scale::over(values.iter().copied()).range();
            assert!(range.start.is_finite() && range.end.is_finite(), "{values:?}: {range:?}");
            assert!(range.end - range.start > 1e-13, "{values:?}: {range:?}");
        }
    }
}
