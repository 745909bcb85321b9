//! Figures as people read them: four digits or so, with a unit.

/// `value` to about four digits, with thousands set apart.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1e15 || (size > 0.0 && size < 1e-4) {
        return format!("{value:.3e}");
    }
    let decimals = match size {
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        size if size >= 1.0 || size == 0.0 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let rest = rest.trim_end_matches('0');
    let mut apart = String::new();
    let digits = whole.trim_start_matches('-');
    for (index, digit) in digits.chars().enumerate() {
        // A narrow space that doesn't break.
        if index > 0 && (digits.len() - index) % 3 == 0 {
            apart.push('\u{202f}');
        }
        apart.push(digit);
    }
    let is_zero = digits == "0" && rest.is_empty();
    let sign = if whole.starts_with('-') && !is_zero { "-" } else { "" };
    if rest.is_empty() { format!("{sign}{apart}") } else { format!("{sign}{apart}.{rest}") }
}

pub(super) fn watts(value: f64) -> String {
    format!("{} W", number(value))
}

pub(super) fn milliseconds(value: f64) -> String {
    format!("{} ms", number(value))
}

pub(super) fn per_second(value: f64) -> String {
    format!("{} /s", number(value))
}

pub(super) fn joules(value: f64) -> String {
    match value.abs() {
        size if size < 1e4 => format!("{} J", number(value)),
        size if size < 3.6e6 => format!("{} kJ", number(value / 1e3)),
        _ => format!("{} kWh", number(value / 3.6e6)),
    }
}

pub(super) fn grams(value: f64) -> String {
    match value.abs() {
        size if size < 1.0 => format!("{} mg", number(value * 1e3)),
        size if size < 1e4 => format!("{} g", number(value)),
        _ => format!("{} kg", number(value / 1e3)),
    }
}

pub(super) fn seconds(value: f64) -> String {
    match value.abs() {
        size if size < 300.0 => format!("{} s", number(value)),
        size if size < 3.0 * 3600.0 => format!("{} min", number(value / 60.0)),
        size if size < 3.0 * 86_400.0 => format!("{} h", number(value / 3600.0)),
        _ => format!("{} d", number(value / 86_400.0)),
    }
}

/// The change from `base` to `value` in percent; none where `base` is 0.
pub(super) fn change(base: f64, value: f64) -> Option<String> {
    let percent = (value - base) / base.abs() * 100.0;
    // Less than shows is rounding.
    let percent = if percent.abs() < 0.005 { 0.0 } else { percent };
    let is_plus = percent > 0.0;
    percent.is_finite().then(|| format!("{}{} %", if is_plus { "+" } else { "" }, number(percent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_four_digits_or_so() {
        let written = [0.0, 1.0, 12.345, 123.456, 1234.5, 1_234_567.0, 0.01234, -2.5, -0.000_01, 1e300];
        let read = written.map(number).map(|text| text.replace('\u{202f}', " "));
        let expected =
            ["0", "1", "12.35", "123.5", "1 234", "1 234 567", "0.0123", "-2.5", "-1.000e-5", "1.000e300"];
        assert_eq!(read, expected);
    }

    #[test]
    fn a_change_from_zero_is_unknown() {
        assert_eq!(change(200.0, 150.0).as_deref(), Some("-25 %"));
        assert_eq!(change(-4.0, -3.0).as_deref(), Some("+25 %"));
        assert_eq!(change(0.0, 3.0), None);
        assert_eq!(change(0.0, 0.0), None);
    }

    #[test]
    fn a_unit_suits_its_figure() {
        assert_eq!(joules(7.2e6), "2 kWh");
        assert_eq!(seconds(7200.0), "120 min");
        assert_eq!(grams(0.5), "500 mg");
    }
}
