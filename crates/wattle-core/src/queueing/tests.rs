//! Closed forms against known values, against Erlang's series, and against queues run row by row.

use proptest::prelude::*;

use super::*;

fn near(found: Option<f64>, wanted: f64) {
    let found = found.unwrap();
    assert!((found - wanted).abs() < 1e-6 * wanted.max(1.0), "{found}, wanted {wanted}");
}

/// Mean wait in M/D/1, by Pollaczek and Khinchine, in service times.
fn md1_wait_mean(load: f64) -> f64 {
    load / (2.0 * (1.0 - load))
}

/// Erlang's series, sound only for short waits.
fn erlang_series(load: f64, wait: f64) -> f64 {
    let mut sum = 0.0;
    for k in 0..=wait.floor() as u32 {
        let x = load * (f64::from(k) - wait);
        let factorial: f64 = (1..=k).map(f64::from).product();
        sum += x.powi(k.cast_signed()) / factorial * (-x).exp();
    }
    (1.0 - load) * sum
}

#[test]
fn quantiles_of_a_constant_service_time_agree_with_erlangs_series() {
    for load in [0.2, 0.5, 0.7, 0.8] {
        for share in [0.85, 0.9, 0.95, 0.99] {
            let wait = md1_wait_quantile(load, 1.0, share).unwrap();
            if wait > 0.0 && wait < 12.0 {
                near(Some(erlang_series(load, wait)), share);
            }
        }
    }
}

#[test]
fn the_mean_of_the_quantiles_of_a_constant_service_time_is_its_mean_wait() {
    for load in [0.3, 0.7, 0.9, 0.95] {
        let slices = 20_000;
        let middles = (0..slices).map(|slice| (f64::from(slice) + 0.5) / f64::from(slices));
        let mean = middles.map(|share| md1_wait_quantile(load, 1.0, share).unwrap()).sum::<f64>()
            / f64::from(slices);
        let wanted = md1_wait_mean(load);
        assert!((mean / wanted - 1.0).abs() < 2e-3, "{load}: {mean}, wanted {wanted}");
    }
}

#[test]
fn very_long_waits_are_bounded_from_above_and_close() {
    let load = 0.9995;
    let bound = md1_wait_quantile(load, 1.0, 0.99).unwrap();
    assert!(bound > LONGEST_EXACT_WAIT as f64);
    // Heavy traffic: W is nearly exponential, of mean rho / (2 (1 - rho)).
    let heavy = md1_wait_mean(load) * 100f64.ln();
    assert!((bound / heavy - 1.0).abs() < 2e-3, "{bound} against {heavy}");
}

#[test]
fn without_a_steady_state_there_is_no_answer() {
    for wait in [
        md1_wait_quantile(2.0, 1.0, 0.5),
        md1_wait_quantile(1.0, 1.0, 0.5),
        md1_wait_quantile(0.5, 1.0, 1.0),
        md1_wait_quantile(f64::NAN, 1.0, 0.5),
        md1_wait_quantile(-1.0, 1.0, 0.5),
        batch_wait_quantile_bound(8.0, 1.0, 8, 0.9),
        batch_wait_quantile_bound(0.1, 1.0, 0, 0.9),
    ] {
        assert_eq!(wait, None);
    }
}

/// Waits of rows that arrive after `gaps`, served alone at `service` each.
fn waits_alone(gaps: &[f64], service: f64) -> Vec<f64> {
    let (mut now, mut free) = (0.0, 0.0f64);
    let mut wait = |gap: &f64| {
        now += gap;
        let start = free.max(now);
        free = start + service;
        start - now
    };
    gaps.iter().map(&mut wait).collect()
}

/// Waits of rows in batches: the server takes up to `size` that wait, whenever it is free.
fn waits_in_batches(gaps: &[f64], batch_seconds: f64, size: usize) -> Vec<f64> {
    let mut now = 0.0;
    let arrivals: Vec<f64> = gaps
        .iter()
        .map(|gap| {
            now += gap;
            now
        })
        .collect();
    let (mut free, mut waits) = (0.0f64, Vec::new());
    while waits.len() < arrivals.len() {
        let start = free.max(arrivals[waits.len()]);
        let batch = arrivals[waits.len()..].iter().take(size).take_while(|arrival| **arrival <= start);
        waits.extend(batch.map(|arrival| start - arrival).collect::<Vec<f64>>());
        free = start + batch_seconds;
    }
    waits
}

proptest! {
    /// The reasoning behind the bound, row by row and for any arrivals.
    #[test]
    fn no_row_in_batches_waits_longer_than_either_bound_says(
        gaps in prop::collection::vec(0.0f64..2.0, 1..200), size in 1usize..9, batch_seconds in 0.1f64..4.0,
    ) {
        let batched = waits_in_batches(&gaps, batch_seconds, size);
        let alone = waits_alone(&gaps, batch_seconds);
        let full = waits_alone(&gaps, batch_seconds / size as f64);
        for ((batched, alone), full) in batched.iter().zip(alone).zip(full) {
            prop_assert!(*batched <= alone + 1e-9);
            prop_assert!(*batched <= full + batch_seconds + 1e-9);
        }
    }

    #[test]
    fn more_load_or_a_larger_share_never_waits_less(
        load in 0.01f64..0.98, more in 0.0f64..0.01, share in 0.5f64..0.99, larger in 0.0f64..0.009,
    ) {
        let wait = md1_wait_quantile(load, 1.0, share).unwrap();
        prop_assert!(md1_wait_quantile(load + more, 1.0, share).unwrap() >= wait - 1e-9);
        prop_assert!(md1_wait_quantile(load, 1.0, share + larger).unwrap() >= wait - 1e-9);
        prop_assert!(wait <= (1.0 - share).ln() / -md1_decay(load) + 1e-6, "the exponential bound holds");
        let of_mm1 = ((load / (1.0 - share)).ln() / (1.0 - load)).max(0.0);
        prop_assert!(wait <= of_mm1 + 1e-9, "no longer than M/M/1");
    }
}
