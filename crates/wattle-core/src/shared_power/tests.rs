//! The fit recovers what made the data, says what it can't tell, and is judged on what it hasn't seen.

use proptest::prelude::*;

use super::*;

const STATIC: f64 = 45.0;
const SHARED_IDLE: f64 = 25.0;

fn tenant(model: &str, slice: &str) -> Tenant {
    Tenant { model: model.into(), slice: slice.into() }
}

fn measured(tenants: &[Tenant], power: f64) -> Measured {
    Measured { tenants: tenants.to_vec(), power: Watts::new(power) }
}

fn alone(tenant: &Tenant, power: f64) -> Measured {
    measured(std::slice::from_ref(tenant), power)
}

/// Who can be on the device, and what each adds to its power.
fn draws() -> Vec<(Tenant, f64)> {
    [
        ("gpt", "4/7", 90.0),
        ("gpt", "3/7", 75.0),
        ("vgg", "4/7", 110.0),
        ("vgg", "3/7", 95.0),
        ("mobilenet", "4/7", 30.0),
        ("mobilenet", "3/7", 22.0),
    ]
    .map(|(model, slice, draw)| (tenant(model, slice), draw))
    .to_vec()
}

/// A device whose shared parts saturate in its own way, not in the way of the fit: each pair of
/// tenants draws `bend` times the geometric mean of its draws less than the sum.
fn device(tenants: &[Tenant], bend: f64) -> f64 {
    let draws: Vec<f64> = tenants
        .iter()
        .map(|tenant| draws().iter().find(|(known, _)| known == tenant).map_or(6.0, |(_, draw)| *draw))
        .collect();
    let mut power = STATIC + SHARED_IDLE + draws.iter().sum::<f64>();
    for (index, a) in draws.iter().enumerate() {
        power -= draws[index + 1..].iter().map(|b| bend * (a * b).sqrt()).sum::<f64>();
    }
    power
}

/// Each tenant alone, and one light model with 1, 2 and 3 instances on equal slices.
fn by_themselves() -> Vec<Measured> {
    let light = tenant("mobilenet", "1/7");
    let mut samples: Vec<_> = (1..=3)
        .map(|count| vec![light.clone(); count])
        .map(|who| measured(&who, device(&who, 0.0)))
        .collect();
    samples.extend(draws().iter().map(|(who, draw)| alone(who, STATIC + SHARED_IDLE + draw)));
    samples
}

/// Every pair of two models, on four and three slices.
fn pairs(bend: f64) -> Vec<Measured> {
    let draws = draws();
    let mut pairs = Vec::new();
    for (a, _) in draws.iter().filter(|(who, _)| who.slice == "4/7") {
        for (b, _) in draws.iter().filter(|(who, _)| who.slice == "3/7" && who.model != a.model) {
            pairs.push(measured(&[a.clone(), b.clone()], device(&[a.clone(), b.clone()], bend)));
        }
    }
    pairs
}

fn fit(samples: &[Measured]) -> SharedPower {
    SharedPower::fit(Watts::new(STATIC), samples).unwrap()
}

fn near(found: Watts, wanted: f64) {
    assert!((found.get() - wanted).abs() < 1e-6, "found {found:.9}, expected {wanted} W");
}

#[test]
fn recovers_what_the_power_of_an_additive_device_is_made_of() {
    let mut samples = by_themselves();
    samples.extend(pairs(0.0));
    let fit = fit(&samples);
    near(fit.shared_idle_power, SHARED_IDLE);
    near(fit.residual, 0.0);
    assert!(fit.overlap_per_watt.unwrap() < 1e-6, "{:?}", fit.overlap_per_watt);
    let three = [tenant("vgg", "3/7"), tenant("gpt", "3/7"), tenant("mobilenet", "1/7")];
    let estimate = fit.estimate(&three).unwrap();
    near(estimate.additive, STATIC + SHARED_IDLE + 95.0 + 75.0 + 6.0);
    near(estimate.naive, STATIC + 3.0 * SHARED_IDLE + 95.0 + 75.0 + 6.0);
}

#[test]
fn recovers_the_overlap_that_made_the_data() {
    let overlap = 0.004;
    let fitted = pairs(0.0).into_iter().map(|pair| {
        let [a, b] = [0, 1].map(|index| device(&pair.tenants[index..=index], 0.0) - STATIC - SHARED_IDLE);
        measured(&pair.tenants, STATIC + SHARED_IDLE + a + b - overlap * a * b)
    });
    let fit = fit(&by_themselves().into_iter().chain(fitted).collect::<Vec<_>>());
    assert!((fit.overlap_per_watt.unwrap() - overlap).abs() < 1e-9, "{:?}", fit.overlap_per_watt);
}

#[test]
fn noise_in_the_instance_counts_is_told_as_residual() {
    let mut samples = by_themselves();
    samples[0].power += Watts::new(1.0);
    samples[1].power += Watts::new(-2.0);
    let fit = fit(&samples);
    assert!((0.5..3.0).contains(&fit.residual.get()), "{}", fit.residual);
    assert_eq!(fit.overlap_per_watt, None, "no pair was measured");
}

#[test]
fn the_overlap_lowers_the_error_on_pairs_that_were_not_fitted() {
    let pairs = pairs(0.25);
    let (fitted, held_out) = pairs.split_at(3);
    let mut samples = by_themselves();
    let plain = fit(&samples);
    assert_eq!(plain.error_report(held_out).unwrap().mean_abs_error_share_corrected, None);
    samples.extend_from_slice(fitted);
    let report = fit(&samples).error_report(held_out).unwrap();
    let corrected = report.mean_abs_error_share_corrected.unwrap();
    println!("{report:?}");
    assert_eq!(report.sets, 3);
    assert!(report.mean_abs_error_share_naive > report.mean_abs_error_share_additive, "{report:?}");
    assert!(corrected < 0.5 * report.mean_abs_error_share_additive, "{report:?}");
}

#[test]
fn an_error_over_what_was_fitted_is_refused() {
    let mut samples = by_themselves();
    samples.extend_from_slice(&pairs(0.25)[..2]);
    let fit = fit(&samples);
    let mut turned_round = pairs(0.25)[1].clone();
    turned_round.tenants.reverse();
    let held_out = [pairs(0.25)[4].clone(), turned_round];
    assert_eq!(fit.error_report(&held_out), Err(SharedPowerError::Fitted { number: 2 }));
    assert_eq!(fit.error_report(&[]), Err(SharedPowerError::NothingHeldOut));
}

#[test]
fn one_tenant_is_as_measured_and_nobody_draws_static_power() {
    let mut samples = by_themselves();
    samples.extend(pairs(0.3));
    let fit = fit(&samples);
    assert!(fit.overlap_per_watt.unwrap() > 0.0);
    for (who, draw) in draws() {
        let estimate = fit.estimate(&[who]).unwrap();
        for power in [estimate.power, estimate.additive, estimate.naive] {
            near(power, STATIC + SHARED_IDLE + draw);
        }
    }
    near(fit.estimate(&[]).unwrap().power, STATIC);
}

#[test]
fn one_instance_count_only_is_refused_and_told() {
    let error = |samples: &[Measured]| SharedPower::fit(Watts::new(STATIC), samples).unwrap_err().to_string();
    let alone = [measured(&[tenant("gpt", "4/7")], 160.0), measured(&[tenant("vgg", "4/7")], 180.0)];
    assert_eq!(
        error(&alone),
        "the idle draw of the shared parts can't be told from what tenants add: found gpt on 4/7 with 1 only, vgg on \
         4/7 with 1 only, expected some model measured with two numbers of instances on equal slices; measure one \
         model with 1, 2 and 3"
    );
    assert!(error(&[]).contains("found no model by itself"));
}

#[test]
fn nonsense_is_refused_by_number() {
    let with = |sample: Measured| {
        let samples: Vec<_> = by_themselves().into_iter().chain([sample]).collect();
        SharedPower::fit(Watts::new(STATIC), &samples).unwrap_err().to_string()
    };
    let gpt = tenant("gpt", "4/7");
    assert!(with(alone(&gpt, 40.0)).starts_with("measurement 10: found 40.0 W, expected a finite"));
    assert!(with(alone(&gpt, f64::NAN)).starts_with("measurement 10: found NaN W"));
    assert!(with(measured(&[], 100.0)).starts_with("measurement 10: found no tenant"));
    let stranger = with(measured(&[gpt, tenant("whisper", "3/7")], 200.0));
    assert!(
        stranger
            .starts_with("found whisper on 3/7, expected a tenant that was measured alone, one of: gpt on")
    );
    let static_power = SharedPower::fit(Watts::new(-1.0), &by_themselves()).unwrap_err();
    assert!(matches!(static_power, SharedPowerError::Power { number: 0, .. }));
}

#[test]
fn the_shared_idle_draw_is_no_more_than_anybody_adds_alone() {
    // Three instances that saturate the device by themselves look like a large idle draw.
    let (heavy, light) = (tenant("gpt", "2/7"), tenant("tiny", "1/7"));
    let mut samples: Vec<_> = [(1, 160.0), (2, 190.0), (3, 200.0)]
        .map(|(count, power)| measured(&vec![heavy.clone(); count], power))
        .to_vec();
    samples.push(alone(&light, 75.0));
    let fit = fit(&samples);
    near(fit.shared_idle_power, 30.0);
    near(fit.estimate(&[light]).unwrap().power, 75.0);
    assert!(fit.residual.get() > 5.0, "the bad fit is told: {}", fit.residual);
}

proptest! {
    #[test]
    fn one_more_tenant_never_lowers_power_and_none_is_below_the_static_power(
        bend in 0.0..1.0f64, who in proptest::collection::vec(0..6usize, 1..5), noise in proptest::collection::vec(-4.0..4.0f64, 9),
    ) {
        let mut samples = by_themselves();
        for (sample, noise) in samples.iter_mut().zip(noise) {
            sample.power += Watts::new(noise);
        }
        samples.extend(pairs(bend));
        let fit = fit(&samples);
        let tenants: Vec<_> = who.into_iter().map(|index| draws()[index].0.clone()).collect();
        let mut before = fit.static_power;
        for count in 1..=tenants.len() {
            let estimate = fit.estimate(&tenants[..count]).unwrap();
            prop_assert!(estimate.power.get() >= before.get() - 1e-9, "{estimate:?} after {before}");
            prop_assert!(estimate.power.get() <= estimate.additive.get() + 1e-9, "{estimate:?}");
            prop_assert!(estimate.additive.get() <= estimate.naive.get() + 1e-9, "{estimate:?}");
            before = estimate.power;
        }
    }
}
