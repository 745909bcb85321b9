//! Which requests run together, and when: one model's queue and the rule that forms its batches.
//!
//! Batches are formed late: an instance that is free asks, and takes what waits, up to the batch
//! limit. Only when told to (`max_queue_delay`) does a batch that is not full wait for more rows.
//! Within a priority the order of arrival is kept; a lower priority number goes first. Knobs are
//! arguments of each call, so a change takes effect with the next batch and loses nothing.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// A request that waits.
#[derive(Debug)]
pub struct Waiting<T> {
    /// Rows it carries; at least 1.
    pub rows: u32,
    /// Its priority: 1 goes first, larger numbers later.
    pub priority: u32,
    /// When it arrived.
    pub arrived: Timestamp,
    /// When it must have been taken; later it is told that its deadline passed.
    pub deadline: Option<Timestamp>,
    /// Requests run together only within one group: those whose rows have the same shape. `None` runs
    /// alone.
    pub group: Option<u64>,
    /// What is to be run and answered.
    pub payload: T,
}

impl<T> Waiting<T> {
    /// Whether its deadline has passed.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// The rule a batch is formed by. Read from the knobs each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most rows in a batch. A single request with more rows runs alone.
    pub batch_size: u32,
    /// How long a batch that isn't full waits for more, counted from its oldest request.
    pub max_queue_delay: Duration,
}

/// What a free instance is told.
#[derive(Debug)]
pub enum Next<T> {
    /// Nothing waits.
    Empty,
    /// Too little waits; ask again at that time, or when more arrives.
    Wait(Timestamp),
    /// Run these together.
    Batch(Vec<Waiting<T>>),
}

/// Empty levels beyond so many levels are forgotten: clients may make up any number of priorities.
const KEPT_LEVELS: usize = 4;

/// One model's queue.
#[derive(Debug)]
pub struct BatchQueue<T> {
    /// By priority, ascending. Some may be empty: a queue that runs empty all the time would else spend
    /// more on its memory than on its requests.
    levels: Vec<(u32, VecDeque<Waiting<T>>)>,
    requests: usize,
    rows: u64,
}

impl<T> Default for BatchQueue<T> {
    fn default() -> Self {
        Self { levels: Vec::new(), requests: 0, rows: 0 }
    }
}

impl<T> BatchQueue<T> {
    /// Requests that wait.
    pub fn len(&self) -> usize {
        self.requests
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.requests == 0
    }

    /// Rows that wait.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Lets a request wait, or gives it back when `max_queue_size` requests wait already.
    pub fn push(&mut self, request: Waiting<T>, max_queue_size: u32) -> Result<(), Waiting<T>> {
        if self.requests >= max_queue_size as usize {
            return Err(request);
        }
        self.requests += 1;
        self.rows += u64::from(request.rows);
        let level = match self.levels.binary_search_by_key(&request.priority, |(priority, _)| *priority) {
            Ok(level) => level,
            Err(level) => {
                self.levels.insert(level, (request.priority, VecDeque::new()));
                level
            }
        };
        self.levels[level].1.push_back(request);
        Ok(())
    }

    /// Takes out every request that `is_dead` tells or whose deadline has passed.
    pub fn take_dead(&mut self, now: Timestamp, is_dead: impl Fn(&T) -> bool) -> Vec<Waiting<T>> {
        let mut dead = Vec::new();
        for (_, level) in &mut self.levels {
            if level.iter().any(|request| request.is_expired(now) || is_dead(&request.payload)) {
                let (gone, alive): (VecDeque<_>, VecDeque<_>) = std::mem::take(level)
                    .into_iter()
                    .partition(|request| request.is_expired(now) || is_dead(&request.payload));
                *level = alive;
                dead.extend(gone);
            }
        }
        self.taken(&dead);
        dead
    }

    /// Takes out the requests at the head of each priority whose deadline has passed: where all wait
    /// equally long, these are all that there are, and the others are not looked at.
    pub fn take_expired_heads(&mut self, now: Timestamp) -> Vec<Waiting<T>> {
        let mut dead = Vec::new();
        for (_, level) in &mut self.levels {
            while level.front().is_some_and(|request| request.is_expired(now)) {
                dead.extend(level.pop_front());
            }
        }
        self.taken(&dead);
        dead
    }

    /// When the oldest waiting request arrived, whichever priority it has; `None` when nothing waits.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.levels.iter().filter_map(|(_, level)| level.front()).map(|request| request.arrived).min()
    }

    /// Whether a free instance would get a batch now; the same answer as [`next`](Self::next) without
    /// taking anything.
    pub fn readiness(&self, now: Timestamp, limits: BatchLimits) -> Next<()> {
        if self.is_empty() {
            return Next::Empty;
        }
        if limits.max_queue_delay.is_zero() || self.is_batch_full(limits.batch_size) {
            return Next::Batch(Vec::new());
        }
        // The batch waits from its oldest request on.
        let until = self.oldest().unwrap_or(now) + limits.max_queue_delay;
        if until <= now { Next::Batch(Vec::new()) } else { Next::Wait(until) }
    }

    /// The batch a free instance is to run now. Requests whose deadline has passed may be among it.
    pub fn next(&mut self, now: Timestamp, limits: BatchLimits) -> Next<T> {
        let mut batch = Vec::new();
        match self.next_into(now, limits, &mut batch) {
            Next::Empty => Next::Empty,
            Next::Wait(until) => Next::Wait(until),
            Next::Batch(_) => Next::Batch(batch),
        }
    }

    /// As [`next`](Self::next), with the requests of the batch put into `batch` in place of what was there.
    pub fn next_into(
        &mut self,
        now: Timestamp,
        limits: BatchLimits,
        batch: &mut Vec<Waiting<T>>,
    ) -> Next<()> {
        let next = self.readiness(now, limits);
        batch.clear();
        if matches!(next, Next::Batch(_)) {
            self.take_batch(limits.batch_size, batch);
        }
        next
    }

    /// All waiting requests, in the order they would be taken.
    fn iter(&self) -> impl Iterator<Item = &Waiting<T>> {
        self.levels.iter().flat_map(|(_, level)| level)
    }

    /// Whether waiting any longer could not make the next batch larger.
    fn is_batch_full(&self, batch_size: u32) -> bool {
        let mut rows = 0;
        let mut group = None;
        for request in self.iter() {
            if request.group.is_none() || *group.get_or_insert(request.group) != request.group {
                return true;
            }
            rows += u64::from(request.rows);
            if rows >= u64::from(batch_size) {
                return true;
            }
        }
        false
    }

    fn take_batch(&mut self, batch_size: u32, batch: &mut Vec<Waiting<T>>) {
        let mut rows: u64 = 0;
        'levels: for (_, level) in &mut self.levels {
            while let Some(request) = level.front() {
                let fits = batch.first().is_none_or(|first| {
                    let same_group = first.group.is_some() && request.group == first.group;
                    same_group && rows + u64::from(request.rows) <= u64::from(batch_size)
                });
                if !fits {
                    break 'levels;
                }
                rows += u64::from(request.rows);
                batch.extend(level.pop_front());
            }
        }
        self.taken(batch);
    }

    /// `requests` no longer wait.
    fn taken(&mut self, requests: &[Waiting<T>]) {
        self.requests -= requests.len();
        self.rows -= requests.iter().map(|request| u64::from(request.rows)).sum::<u64>();
        if self.levels.len() > KEPT_LEVELS {
            self.levels.retain(|(_, level)| !level.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const AT_ONCE: BatchLimits = BatchLimits { batch_size: 4, max_queue_delay: Duration::ZERO };

    fn request(rows: u32, priority: u32, arrived_ms: u64, payload: u32) -> Waiting<u32> {
        Waiting { rows, priority, arrived: ms(arrived_ms), deadline: None, group: Some(0), payload }
    }

    fn ms(millis: u64) -> Timestamp {
        Timestamp::from_duration(Duration::from_millis(millis))
    }

    fn payloads(next: Next<u32>) -> Vec<u32> {
        match next {
            Next::Batch(batch) => batch.into_iter().map(|request| request.payload).collect(),
            Next::Empty => vec![],
            Next::Wait(until) => panic!("expected a batch, told to wait until {until}"),
        }
    }

    #[test]
    fn a_free_instance_takes_what_waits_up_to_the_limit_in_order() {
        let mut queue = BatchQueue::default();
        for payload in 0..6 {
            queue.push(request(1, 1, 0, payload), 100).unwrap();
        }
        assert_eq!(payloads(queue.next(ms(0), AT_ONCE)), [0, 1, 2, 3]);
        assert_eq!(payloads(queue.next(ms(0), AT_ONCE)), [4, 5]);
        assert!(matches!(queue.next(ms(0), AT_ONCE), Next::Empty));
    }

    #[test]
    fn rows_count_and_a_request_larger_than_the_limit_runs_alone() {
        let mut queue = BatchQueue::default();
        for (payload, rows) in [(0, 2), (1, 2), (2, 1), (3, 9), (4, 1)] {
            queue.push(request(rows, 1, 0, payload), 100).unwrap();
        }
        assert_eq!(payloads(queue.next(ms(0), AT_ONCE)), [0, 1]);
        assert_eq!(payloads(queue.next(ms(0), AT_ONCE)), [2]);
        assert_eq!(payloads(queue.next(ms(0), AT_ONCE)), [3]);
        assert_eq!(payloads(queue.next(ms(0), AT_ONCE)), [4]);
        assert_eq!(queue.rows(), 0);
    }

    #[test]
    fn a_batch_that_is_not_full_waits_for_the_delay_of_its_oldest_request_and_no_longer() {
        let limits = BatchLimits { batch_size: 4, max_queue_delay: Duration::from_millis(5) };
        let mut queue = BatchQueue::default();
        queue.push(request(1, 2, 10, 0), 100).unwrap();
        queue.push(request(1, 1, 12, 1), 100).unwrap();
        assert!(matches!(queue.next(ms(12), limits), Next::Wait(until) if until == ms(15)));
        assert_eq!(payloads(queue.next(ms(15), limits)), [1, 0]);
        for payload in 0..4 {
            queue.push(request(1, 1, 20, payload), 100).unwrap();
        }
        assert_eq!(payloads(queue.next(ms(20), limits)), [0, 1, 2, 3], "a full batch does not wait");
    }

    #[test]
    fn groups_never_mix() {
        let mut queue = BatchQueue::default();
        for (payload, group) in [(0, Some(7)), (1, Some(7)), (2, Some(8)), (3, Some(7)), (4, None), (5, None)]
        {
            queue.push(Waiting { group, ..request(1, 1, 0, payload) }, 100).unwrap();
        }
        assert_eq!(payloads(queue.next(ms(0), AT_ONCE)), [0, 1]);
        assert_eq!(payloads(queue.next(ms(0), AT_ONCE)), [2]);
        assert_eq!(payloads(queue.next(ms(0), AT_ONCE)), [3]);
        assert_eq!(payloads(queue.next(ms(0), AT_ONCE)), [4]);
        assert_eq!(payloads(queue.next(ms(0), AT_ONCE)), [5]);
    }

    #[test]
    fn a_full_queue_gives_the_request_back() {
        let mut queue = BatchQueue::default();
        queue.push(request(1, 1, 0, 0), 1).unwrap();
        assert_eq!(queue.push(request(1, 1, 0, 1), 1).unwrap_err().payload, 1);
    }

    #[test]
    fn dead_requests_are_taken_out_and_counted() {
        let mut queue = BatchQueue::default();
        queue.push(Waiting { deadline: Some(ms(5)), ..request(2, 1, 0, 0) }, 100).unwrap();
        queue.push(request(1, 1, 0, 1), 100).unwrap();
        queue.push(request(1, 3, 0, 2), 100).unwrap();
        let dead = queue.take_dead(ms(5), |payload| *payload == 2);
        assert_eq!(dead.iter().map(|request| request.payload).collect::<Vec<_>>(), [0, 2]);
        assert_eq!((queue.len(), queue.rows()), (1, 1));
    }

    #[test]
    fn expired_requests_at_the_head_of_each_priority_are_taken_out_and_the_oldest_is_known() {
        let mut queue = BatchQueue::default();
        for (priority, arrived, payload) in [(1, 0, 0), (1, 3, 1), (2, 1, 2), (2, 4, 3)] {
            let deadline = Some(ms(arrived + 5));
            queue.push(Waiting { deadline, ..request(2, priority, arrived, payload) }, 100).unwrap();
        }
        assert_eq!(queue.oldest(), Some(ms(0)));
        let dead = queue.take_expired_heads(ms(6));
        assert_eq!(dead.iter().map(|request| request.payload).collect::<Vec<_>>(), [0, 2]);
        assert_eq!((queue.len(), queue.rows(), queue.oldest()), (2, 4, Some(ms(3))));
        assert_eq!(queue.take_expired_heads(ms(100)).len(), 2);
        assert_eq!((queue.is_empty(), queue.oldest()), (true, None));
    }

    proptest! {
        /// Whatever arrives under whatever knobs: every request is either refused, taken once or still
        /// waits; a batch keeps its size and its group; within a priority nothing overtakes.
        #[test]
        fn nothing_is_lost_doubled_or_overtaken(
            steps in prop::collection::vec((1_u32..6, 1_u32..9, prop::option::of(0_u64..3), 1_u32..9, 0_u64..4, prop::bool::ANY), 1..200),
            max_queue_size in 1_u32..50,
        ) {
            let mut queue = BatchQueue::default();
            let (mut refused, mut taken) = (Vec::new(), Vec::new());
            let mut last_taken = BTreeMap::new();
            let total = u32::try_from(steps.len()).unwrap();
            for (payload, (rows, priority, group, batch_size, delay, ask)) in (0_u32..).zip(steps) {
                let now = ms(u64::from(payload));
                let arriving = Waiting { group, ..request(rows, priority, u64::from(payload), payload) };
                if let Err(back) = queue.push(arriving, max_queue_size) {
                    refused.push(back.payload);
                }
                if !ask {
                    continue;
                }
                let limits = BatchLimits { batch_size, max_queue_delay: Duration::from_millis(delay) };
                if let Next::Batch(batch) = queue.next(now, limits) {
                    let rows: u32 = batch.iter().map(|request| request.rows).sum();
                    prop_assert!(!batch.is_empty());
                    prop_assert!(rows <= batch_size || batch.len() == 1);
                    prop_assert!(batch.iter().all(|request| request.group == batch[0].group));
                    prop_assert!(batch[0].group.is_some() || batch.len() == 1);
                    for request in &batch {
                        let before = last_taken.insert(request.priority, request.payload);
                        prop_assert!(before < Some(request.payload));
                        taken.push(request.payload);
                    }
                }
            }
            let left: Vec<u32> = queue.iter().map(|request| request.payload).collect();
            prop_assert_eq!(left.len(), queue.len());
            let mut all = [refused, taken, left].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..total).collect::<Vec<_>>());
        }
    }
}
