//! How long requests wait in a queue, by closed forms of queueing theory.
//!
//! Arrivals are Poisson, queues are first come, first served, and nothing is refused. Times are in
//! seconds, rates per second. Where the load is one or more, or an argument makes no sense, there is
//! no steady state and the answer is `None`. Everything here is `modelled`: the figures hold as far
//! as arrivals and service times are what the names say.

#[cfg(test)]
mod tests;

/// Beyond so many service times the exact wait of M/D/1 is replaced by its exponential bound.
const LONGEST_EXACT_WAIT: usize = 2000;

/// Poisson weights under this are too small to change a sum of probabilities.
const NEGLIGIBLE: f64 = 1e-18;

/// The load `arrivals_rps * service_seconds` of one server, when it is one that has a steady state.
fn load(arrivals_rps: f64, service_seconds: f64) -> Option<f64> {
    let load = arrivals_rps * service_seconds;
    (arrivals_rps >= 0.0 && service_seconds >= 0.0 && load < 1.0).then_some(load)
}

fn is_share(share: f64) -> bool {
    (0.0..1.0).contains(&share)
}

/// The wait that a share of requests does not exceed in M/D/1.
///
/// Exact up to 2000 service times, through the distribution of the number of requests in the system
/// (Franx, "A simple solution for the M/D/c waiting time distribution", 2001): Erlang's own series
/// has terms of alternating sign and breaks down at long waits. Beyond, the exponential bound
/// `P(W > t) <= exp(-theta t)` with `lambda (exp(theta S) - 1) = theta`, which is never too short.
pub fn md1_wait_quantile(arrivals_rps: f64, service_seconds: f64, share: f64) -> Option<f64> {
    let load = load(arrivals_rps, service_seconds).filter(|_| is_share(share))?;
    if 1.0 - load >= share || load == 0.0 {
        return Some(0.0);
    }
    Some(service_seconds * md1_services_quantile(load, share))
}

/// As [`md1_wait_quantile`], in service times. `load` is in (0, 1).
fn md1_services_quantile(load: f64, share: f64) -> f64 {
    let more_than = poisson_tails(load);
    let mut in_system = vec![1.0 - load];
    // At index i: the probability that at most i + 1 are in the system, that is, at most i wait.
    let mut at_most: Vec<f64> = Vec::new();
    for services in 1..=LONGEST_EXACT_WAIT {
        // Tijms' recursion for M/G/1: all its terms are positive.
        let oldest = services.saturating_sub(more_than.len()).max(1);
        let from_busy: f64 = (oldest..services)
            .zip(in_system.iter().skip(oldest))
            .map(|(count, probability)| more_than.get(services - count).copied().unwrap_or(0.0) * probability)
            .sum();
        let from_idle = more_than.get(services - 1).copied().unwrap_or(0.0) * (1.0 - load);
        let next = (from_idle + from_busy) * load.exp();
        let so_far = at_most.last().copied().unwrap_or(1.0 - load) + next;
        in_system.push(next);
        at_most.push(so_far);
        // P(W <= t) rises to `so_far` as t rises to `services`.
        if so_far >= share {
            return bisect(services as f64 - 1.0, services as f64, |wait| {
                md1_wait_at_most(load, wait, services, &at_most) >= share
            });
        }
    }
    (1.0 - share).ln() / -md1_decay(load)
}

/// `P(W <= wait)` in M/D/1, with `wait` in service times and in `[services - 1, services)`.
fn md1_wait_at_most(load: f64, wait: f64, services: usize, at_most: &[f64]) -> f64 {
    let expected = load * (services as f64 - wait);
    let mut weight = (-expected).exp();
    let mut sum = 0.0;
    for (arrivals, probability) in at_most[..services].iter().rev().enumerate() {
        sum += probability * weight;
        weight *= expected / (arrivals as f64 + 1.0);
        if weight < NEGLIGIBLE {
            break;
        }
    }
    sum
}

/// `P(N > n)` for Poisson N of mean `mean`, at index n, until it is negligible.
fn poisson_tails(mean: f64) -> Vec<f64> {
    let mut weights = Vec::new();
    let mut weight = (-mean).exp();
    while weight > NEGLIGIBLE {
        weights.push(weight);
        weight *= mean / weights.len() as f64;
    }
    let mut tail = 0.0;
    let mut tails: Vec<f64> = weights
        .iter()
        .rev()
        .map(|weight| {
            let more = tail;
            tail += weight;
            more
        })
        .collect();
    tails.reverse();
    tails
}

/// How fast waits of M/D/1 thin out, per service time: the positive root of `rho (e^x - 1) = x`.
fn md1_decay(load: f64) -> f64 {
    let over = |decay: f64| load * decay.exp_m1() > decay;
    let mut high = 1.0;
    while !over(high) {
        high *= 2.0;
    }
    // The lower end, so that the bound on the wait is never too short.
    let root = bisect(0.0, high, over);
    root - root * 1e-9
}

/// Where `holds` becomes true between `low`, where it does not, and `high`, where it does.
fn bisect(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if holds(middle) { high = middle } else { low = middle }
    }
    high
}

/// A wait that at least a share of rows do not exceed, where one server takes up to `batch_size`
/// rows that wait, at once when it is free, and needs `batch_seconds` for them, however many.
///
/// Two bounds hold, and the lower is told. Row by row: no batch starts later than if rows were served
/// alone, so the wait is at most that of M/D/1 with the whole `batch_seconds` each. Full batches:
/// since the last batch that left no row waiting, only full ones ran, so the wait is at most that of
/// M/D/1 with `batch_seconds / batch_size` for each row, and one batch more.
pub fn batch_wait_quantile_bound(
    arrivals_rps: f64,
    batch_seconds: f64,
    batch_size: u32,
    share: f64,
) -> Option<f64> {
    let alone = md1_wait_quantile(arrivals_rps, batch_seconds, share);
    if batch_size <= 1 {
        return alone.filter(|_| batch_size == 1);
    }
    let full = md1_wait_quantile(arrivals_rps, batch_seconds / f64::from(batch_size), share)? + batch_seconds;
    Some(alone.map_or(full, |alone| alone.min(full)))
}
