//! Which model is picked, and what its intervals are worth.

use proptest::prelude::*;

use super::super::{FURTHEST_AHEAD, back_test};
use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const FIRST: UnixTime = UnixTime::from_secs(1_577_836_800);

fn history(hours: usize, value: impl Fn(usize) -> f64) -> History {
    History::new(FIRST, HOUR, (0..hours).map(|hour| Some(value(hour))).collect()).unwrap()
}

fn daily(hour: usize) -> f64 {
    [100.0, 120.0, 90.0, 40.0, 60.0, 150.0][hour % 24 / 4]
}

#[test]
fn a_constant_is_forecast_exactly_and_surely_by_persistence() {
    let history = history(24 * 30, |_| 250.0);
    let picked = pick(&history, DAY).unwrap();
    assert_eq!(picked.model(), Model::Persistence);
    assert_eq!(picked.score().unwrap().mean_absolute_error, 0.0);
    for point in picked.forecast(&history).unwrap().points {
        let interval = point.interval.unwrap();
        assert_eq!(point.value, 250.0);
        assert!(interval.high - interval.low < 1e-9);
    }
}

#[test]
fn a_day_that_repeats_is_forecast_exactly_by_the_day_before() {
    let history = history(24 * 40 + 7, daily);
    let picked = pick(&history, DAY * 2).unwrap();
    assert_eq!(picked.model(), Model::SeasonalNaiveDay);
    let made = picked.forecast(&history).unwrap();
    assert_eq!(made.points.len(), 48);
    for (lead, point) in made.points.iter().enumerate() {
        assert_eq!(point.value, daily(24 * 40 + 7 + lead));
        assert_eq!(point.at, history.end() + HOUR * lead as u32);
    }
}

#[test]
fn a_week_that_repeats_is_forecast_exactly_by_the_week_before() {
    let history = history(24 * 40, |hour| daily(hour) * if hour / 24 % 7 < 2 { 0.5 } else { 1.0 });
    let picked = pick(&history, DAY).unwrap();
    assert_eq!(picked.model(), Model::SeasonalNaiveWeek);
    assert_eq!(picked.score().unwrap().mean_absolute_percentage_error, Some(0.0));
}

#[test]
fn with_less_than_three_weeks_it_is_persistence_and_no_interval() {
    let history = history(24 * 20, daily);
    let picked = pick(&history, DAY).unwrap();
    assert_eq!((picked.model(), picked.scores()), (Model::Persistence, &[][..]));
    let made = picked.forecast(&history).unwrap();
    assert!(made.points.iter().all(|point| point.value == 150.0 && point.interval.is_none()));
    assert_eq!(pick(&History::new(FIRST, HOUR, vec![None; 50]).unwrap(), DAY), None);
}

#[test]
fn models_that_need_more_history_are_not_compared() {
    let models = |days: usize| -> Vec<Model> {
        let history = history(24 * days, daily);
        pick(&history, DAY).unwrap().scores().iter().map(|score| score.model).collect()
    };
    assert_eq!(models(40), Model::ALL[..3]);
    assert_eq!(models(66), Model::ALL);
}

#[test]
fn five_minute_steps_are_forecast_for_four_days_and_no_further() {
    let step = Duration::from_secs(300);
    let values = (0..288 * 22).map(|index| Some(daily(index / 12))).collect();
    let history = History::new(FIRST, step, values).unwrap();
    let made = pick(&history, FURTHEST_AHEAD * 3).unwrap().forecast(&history).unwrap();
    assert_eq!(made.points.len(), 96 * 12);
    assert_eq!(made.points.last().unwrap().at, history.end() + FURTHEST_AHEAD - step);
}

#[test]
fn a_percentage_of_nothing_is_not_told() {
    let history = history(24 * 30, |hour| if hour % 24 < 12 { 0.0 } else { 50.0 });
    let picked = pick(&history, DAY).unwrap();
    assert_eq!(picked.score().unwrap().mean_absolute_percentage_error, None);
    assert_eq!(picked.score().unwrap().mean_absolute_error, 0.0);
}

#[test]
fn a_back_test_from_every_hour_has_as_many_forecasts_for_every_model() {
    let history = history(24 * 60, |hour| daily(hour) + (hour * 7919 % 31) as f64);
    let origins = Origins { first: history.end() - DAY * 3, until: history.end() - DAY, every: HOUR * 5 };
    for model in Model::ALL {
        let score = back_test(&history, model, origins, HOUR * 6).unwrap().score;
        assert_eq!((score.forecasts, score.values), (10, 60), "{model}");
    }
}

#[test]
fn of_errors_without_order_an_interval_leaves_out_a_tenth_at_each_end() {
    let errors: Vec<Vec<f64>> = vec![(1..=99).map(|rank| f64::from(rank * 37 % 100)).collect()];
    assert_eq!(spread(&errors, 1), [Some((10.0, 90.0))]);
    assert_eq!(spread(&[vec![1.0; 8]], 1), [None], "too few");
    assert_eq!(spread(&[vec![2.0, 1.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]], 0), [Some((1.0, 9.0))]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn gaps_and_zeros_are_no_trouble_and_an_interval_holds_its_value(
        values in prop::collection::vec(
            prop_oneof![8 => (0.0..900.0_f64).prop_map(Some), 1 => Just(Some(0.0)), 2 => Just(None)],
            0..70 * 24
        ),
        ahead_hours in 0_u32..60,
    ) {
        let history = History::new(FIRST, HOUR, values).unwrap();
        let Some(picked) = pick(&history, HOUR * ahead_hours) else { return Ok(()) };
        let made = picked.forecast(&history).unwrap();
        prop_assert_eq!(made.points.len(), ahead_hours as usize);
        for point in made.points {
            prop_assert!(point.value.is_finite() && point.value >= 0.0);
            if let Some(Interval { low, high }) = point.interval {
                prop_assert!(0.0 <= low && low <= point.value && point.value <= high && high.is_finite());
            }
        }
    }
}
