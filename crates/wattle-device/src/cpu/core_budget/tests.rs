//! Claims of the core budget, with real threads.

use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Barrier, mpsc};
use std::thread;

use super::*;

/// Spins until `count` threads wait: only then is the order of arrival certain.
fn until_waiting(budget: &CoreBudget, count: usize) {
    while budget.lock().waiting.len() != count {
        thread::yield_now();
    }
}

#[test]
fn grants_what_is_asked_and_takes_it_back_on_drop() {
    let budget = CoreBudget::new(4);
    let three = budget.acquire(3);
    let one = budget.acquire(0);
    assert_eq!((three.cores(), one.cores(), budget.in_use()), (3, 1, 4));
    drop(three);
    assert_eq!(budget.in_use(), 1);
    drop(one);
    assert_eq!((budget.in_use(), budget.limit(), budget.total()), (0, 4, 4));
    assert_eq!(budget.acquire(u32::MAX).cores(), 4);
}

#[test]
fn limit_stays_within_one_and_the_total() {
    let budget = CoreBudget::new(4);
    assert_eq!((budget.set_limit(0), budget.limit()), (1, 1));
    assert_eq!((budget.set_limit(9), budget.limit()), (4, 4));
}

#[test]
fn a_large_request_is_served_before_small_ones_that_came_later() {
    let budget = CoreBudget::new(4);
    let mut held: Vec<_> = (0..4).map(|_| budget.acquire(1)).collect();
    let (served, order) = mpsc::channel();
    let ask = |wanted: u32| {
        let (budget, served) = (Arc::clone(&budget), served.clone());
        thread::spawn(move || {
            let grant = budget.acquire(wanted);
            served.send(wanted).unwrap();
            drop(grant);
        })
    };
    let large = ask(4);
    until_waiting(&budget, 1);
    held.truncate(2);
    let small = ask(1);
    until_waiting(&budget, 2);
    assert_eq!(budget.in_use(), 2, "nobody slips past the large request, though cores are free");
    drop(held);
    assert_eq!([order.recv().unwrap(), order.recv().unwrap()], [4, 1]);
    large.join().unwrap();
    small.join().unwrap();
}

#[test]
fn lowering_the_limit_interrupts_nothing_and_shrinks_who_waits() {
    let budget = CoreBudget::new(4);
    let held = budget.acquire(3);
    let waits = thread::spawn({
        let budget = Arc::clone(&budget);
        move || budget.acquire(3).cores()
    });
    until_waiting(&budget, 1);
    budget.set_limit(2);
    assert_eq!((held.cores(), budget.in_use()), (3, 3));
    drop(held);
    assert_eq!(waits.join().unwrap(), 2);
}

#[test]
fn raising_the_limit_serves_who_waits_with_nothing_given_back() {
    let budget = CoreBudget::new(4);
    budget.set_limit(1);
    let held = budget.acquire(1);
    let waits = thread::spawn({
        let budget = Arc::clone(&budget);
        move || budget.acquire(1).cores()
    });
    until_waiting(&budget, 1);
    budget.set_limit(2);
    assert_eq!(waits.join().unwrap(), 1);
    drop(held);
    assert_eq!(budget.in_use(), 0);
}

#[test]
fn one_release_serves_everybody_who_fits() {
    let budget = CoreBudget::new(4);
    let all = budget.acquire(4);
    let both_hold = Arc::new(Barrier::new(2));
    let waiters: Vec<_> = (0..2)
        .map(|_| {
            let (budget, both_hold) = (Arc::clone(&budget), Arc::clone(&both_hold));
            thread::spawn(move || {
                let grant = budget.acquire(2);
                both_hold.wait(); // passes only if both hold their cores together
                drop(grant);
            })
        })
        .collect();
    until_waiting(&budget, 2);
    drop(all);
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    assert_eq!(budget.in_use(), 0);
}

#[test]
fn under_stress_the_limit_holds_and_nobody_starves() {
    const TOTAL: u32 = 4;
    const EACH: u64 = 3_000;
    let budget = CoreBudget::new(TOTAL);
    // Counted apart from the budget, so that a fault in its own count shows.
    let (held, served) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
    let threads: Vec<_> = (0..8u32)
        .map(|i| {
            let (budget, held, served) = (Arc::clone(&budget), Arc::clone(&held), Arc::clone(&served));
            thread::spawn(move || {
                for round in 0..EACH {
                    let grant = budget.acquire(1 + i % TOTAL);
                    let now = held.fetch_add(grant.cores(), Ordering::SeqCst) + grant.cores();
                    assert!(now <= TOTAL, "{now} cores held of {TOTAL}");
                    if round % 7 == 0 {
                        thread::yield_now();
                    }
                    held.fetch_sub(grant.cores(), Ordering::SeqCst);
                    drop(grant);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut limits = [3, 1, 2, 4].into_iter().cycle();
    while served.load(Ordering::Relaxed) < 8 * EACH && threads.iter().any(|thread| !thread.is_finished()) {
        let limit = budget.set_limit(limits.next().unwrap());
        while budget.in_use() > limit {
            thread::yield_now(); // drains what was taken under a higher limit
        }
        for _ in 0..50 {
            assert!(budget.in_use() <= limit, "once drained, the limit of {limit} holds");
            assert!(held.load(Ordering::SeqCst) <= limit, "once drained, the limit of {limit} holds");
            thread::yield_now();
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!((budget.in_use(), budget.state.load(Ordering::Acquire) & WAITING), (0, 0));
}
