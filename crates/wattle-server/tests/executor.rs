//! What the executor promises while its knobs are turned, its queue is full and its runtime fails.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use wattle_core::knob::{ServingChange, ServingLimits, ServingSetting};
use wattle_device::cpu::CoreBudget;
use wattle_runtime::runtime::{Instance, LoadedModel, RuntimeError};
use wattle_runtime::tensor::{BatchInput, Datatype, Tensor, TensorSpec};
use wattle_server::clock::Clock;
use wattle_server::control_loop::Waker;
use wattle_server::executor::{Answer, Asker, ExecuteError, Executor, Submission, Surroundings};
use wattle_server::meter::EnergyRate;

const LIMITS: ServingLimits =
    ServingLimits { max_batch_size: 16, max_instances: 8, max_cores_per_instance: 2 };

const SETTING: ServingSetting = ServingSetting {
    batch_size: 4,
    instances: 1,
    cores_per_instance: 1,
    duty_cycle: 1.0,
    max_queue_delay: Duration::ZERO,
    max_queue_size: 10_000,
};

/// Answers each row with itself, after a while. A row of 0xffff_ffff makes it panic.
#[derive(Clone)]
struct Echo {
    takes: Duration,
    most_rows: Arc<AtomicU32>,
    /// The first row of each batch, in the order they ran.
    ran: Arc<Mutex<Vec<u32>>>,
}

impl Echo {
    fn taking(takes: Duration) -> Arc<Self> {
        Arc::new(Self { takes, most_rows: Arc::default(), ran: Arc::default() })
    }
}

impl LoadedModel for Echo {
    fn inputs(&self) -> &[TensorSpec] {
        &[]
    }

    fn outputs(&self) -> &[TensorSpec] {
        &[]
    }

    fn instance(&self) -> Result<Box<dyn Instance>, RuntimeError> {
        Ok(Box::new(self.clone()))
    }
}

impl Instance for Echo {
    fn infer(&mut self, inputs: Vec<BatchInput>, _cores: u32) -> Result<Vec<Tensor>, RuntimeError> {
        thread::sleep(self.takes);
        let echo = |input: BatchInput| {
            let data: Bytes = input.parts.concat().into();
            let rows = (data.len() / 4) as u32;
            self.most_rows.fetch_max(rows, Ordering::Relaxed);
            self.ran.lock().unwrap().push(u32::from_le_bytes(data[..4].try_into().unwrap()));
            assert!(!data.chunks(4).any(|row| row == [0xff; 4]), "told to panic");
            Tensor { name: input.name, datatype: input.datatype, shape: vec![rows as usize], data }
        };
        Ok(inputs.into_iter().map(echo).collect())
    }
}

fn start(model: Arc<Echo>, setting: ServingSetting, cores: u32) -> Executor {
    let around = Surroundings {
        clock: Clock::start(),
        budget: CoreBudget::new(cores),
        energy_rate: Arc::new(EnergyRate::unknown()),
        waker: Arc::new(Waker::default()),
    };
    Executor::start("echo".into(), model, LIMITS, setting, around).unwrap()
}

/// `rows` rows that tell whose they are.
fn request(number: u32, rows: u32) -> Submission {
    let data: Vec<u8> =
        (0..rows).flat_map(|row| number.wrapping_mul(100).wrapping_add(row).to_le_bytes()).collect();
    Submission {
        inputs: vec![Tensor {
            name: "x".into(),
            datatype: Datatype::Uint32,
            shape: vec![rows as usize],
            data: data.into(),
        }],
        rows,
        group: Some(0),
        priority: 1,
        deadline: None,
        asker: Asker::default(),
    }
}

fn is_answer_to(answer: &Answer, number: u32, rows: u32) -> bool {
    answer.outputs[0].data == request(number, rows).inputs[0].data
        && answer.outputs[0].shape == [rows as usize]
}

#[test]
fn turning_knobs_a_thousand_times_under_load_loses_no_request_and_changes_no_answer() {
    let model = Echo::taking(Duration::from_micros(50));
    let executor = start(Arc::clone(&model), SETTING, 2);
    let (is_over, sent) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                // Several in flight at once, of different sizes, for as long as knobs are turned.
                while !is_over.load(Ordering::Relaxed) {
                    let sent: Vec<_> = (0..4)
                        .map(|_| {
                            let number = sent.fetch_add(1, Ordering::Relaxed);
                            let rows = number % 5 + 1;
                            (number, rows, executor.submit(request(number, rows)).unwrap())
                        })
                        .collect();
                    for (number, rows, receiver) in sent {
                        let answer = receiver.blocking_recv().unwrap().unwrap();
                        assert!(is_answer_to(&answer, number, rows), "request {number} got {answer:?}");
                    }
                }
            });
        }
        let mut turned_under_load = 0;
        for turn in 0..1000_u32 {
            let change = match turn % 6 {
                0 => ServingChange { batch_size: Some(turn % 16 + 1), ..Default::default() },
                // Parked every now and then: requests wait, none is lost.
                1 => ServingChange { instances: Some(turn / 6 % 5), ..Default::default() },
                2 => ServingChange { cores_per_instance: Some(turn / 6 % 2 + 1), ..Default::default() },
                3 => ServingChange {
                    max_queue_delay: Some(Duration::from_micros(u64::from(turn % 300))),
                    ..Default::default()
                },
                4 => ServingChange { duty_cycle: Some(f64::from(turn % 3 + 1) / 3.0), ..Default::default() },
                _ => ServingChange { max_queue_size: Some(1000 + turn), ..Default::default() },
            };
            let before = sent.load(Ordering::Relaxed);
            executor.turn(&change).unwrap();
            thread::sleep(Duration::from_micros(200));
            turned_under_load +=
                u32::from(sent.load(Ordering::Relaxed) > before || executor.stats().queued_requests > 0);
        }
        executor
            .turn(&ServingChange { instances: Some(2), duty_cycle: Some(1.0), ..Default::default() })
            .unwrap();
        is_over.store(true, Ordering::Relaxed);
        assert!(turned_under_load > 300, "there was load in {turned_under_load} of 1000 turns only");
    });
    let stats = executor.stats();
    assert_eq!(stats.completed_requests, u64::from(sent.load(Ordering::Relaxed)));
    assert_eq!((stats.fail_count, stats.queued_requests), (0, 0));
    assert!(model.most_rows.load(Ordering::Relaxed) <= LIMITS.max_batch_size);
}

#[test]
fn requests_share_batches_up_to_the_limit() {
    let model = Echo::taking(Duration::from_millis(5));
    let executor = start(Arc::clone(&model), SETTING, 2);
    let receivers: Vec<_> = (0..40).map(|number| executor.submit(request(number, 1)).unwrap()).collect();
    for (number, receiver) in (0..).zip(receivers) {
        assert!(is_answer_to(&receiver.blocking_recv().unwrap().unwrap(), number, 1));
    }
    let stats = executor.stats();
    assert_eq!(model.most_rows.load(Ordering::Relaxed), 4);
    assert!(stats.executions < 20, "{} batches for 40 requests", stats.executions);
}

#[test]
fn a_knob_out_of_range_turns_nothing() {
    let executor = start(Echo::taking(Duration::ZERO), SETTING, 2);
    let change = ServingChange { instances: Some(2), batch_size: Some(17), ..Default::default() };
    let error = executor.turn(&change).unwrap_err().to_string();
    assert_eq!(error, "batch_size is 17, expected 1 to 16");
    assert_eq!(executor.setting(), SETTING);
}

#[test]
fn a_full_queue_refuses_and_says_so() {
    let parked = ServingSetting { instances: 0, max_queue_size: 2, ..SETTING };
    let executor = start(Echo::taking(Duration::ZERO), parked, 2);
    let first = executor.submit(request(1, 1)).unwrap();
    let _second = executor.submit(request(2, 1)).unwrap();
    let error = executor.submit(request(3, 1)).err().unwrap();
    assert!(error.to_string().starts_with("Exceeds maximum queue size: 2 requests wait"), "{error}");
    drop(first);
    // A full queue is searched for such requests now and then only.
    thread::sleep(Duration::from_millis(20));
    executor.submit(request(4, 1)).expect("a request whose client went away makes room");
    assert_eq!(executor.stats().rejected, 1);
}

#[test]
fn a_request_past_its_deadline_is_told_even_while_the_model_is_parked() {
    let executor = start(Echo::taking(Duration::ZERO), ServingSetting { instances: 0, ..SETTING }, 2);
    let deadline = Some(wattle_core::time::Timestamp::from_nanos(1));
    let receiver = executor.submit(Submission { deadline, ..request(1, 1) }).unwrap();
    executor.answer_expired();
    let error = receiver.blocking_recv().unwrap().unwrap_err();
    assert!(matches!(error, ExecuteError::DeadlinePassed { .. }), "{error}");
    assert!(error.to_string().starts_with("Request timeout expired"), "{error}");
}

#[test]
fn a_lower_priority_number_goes_first() {
    let model = Echo::taking(Duration::ZERO);
    let executor = start(Arc::clone(&model), ServingSetting { instances: 0, batch_size: 1, ..SETTING }, 1);
    let submit = |(number, priority)| executor.submit(Submission { priority, ..request(number, 1) }).unwrap();
    let receivers = [(1, 3), (2, 1), (3, 2), (4, 1)].map(submit);
    executor.turn(&ServingChange { instances: Some(1), ..Default::default() }).unwrap();
    for receiver in receivers {
        receiver.blocking_recv().unwrap().unwrap();
    }
    assert_eq!(*model.ran.lock().unwrap(), [200, 400, 300, 100]);
}

#[test]
fn a_request_that_cannot_be_run_takes_no_other_of_its_batch_with_it() {
    let executor = start(Echo::taking(Duration::ZERO), ServingSetting { instances: 0, ..SETTING }, 2);
    let mut bad = request(1, 1);
    bad.inputs[0].data = Bytes::from_static(&[0xff; 4]);
    let good = executor.submit(request(2, 2)).unwrap();
    let bad = executor.submit(bad).unwrap();
    let other = executor.submit(request(3, 1)).unwrap();
    executor.turn(&ServingChange { instances: Some(1), ..Default::default() }).unwrap();
    assert!(is_answer_to(&good.blocking_recv().unwrap().unwrap(), 2, 2));
    assert!(is_answer_to(&other.blocking_recv().unwrap().unwrap(), 3, 1));
    let error = bad.blocking_recv().unwrap().unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
    let stats = executor.stats();
    assert_eq!((stats.completed_requests, stats.fail_count), (2, 1));
}

#[test]
fn closing_answers_what_was_accepted_even_when_parked_and_takes_no_more() {
    let executor =
        start(Echo::taking(Duration::from_millis(1)), ServingSetting { instances: 0, ..SETTING }, 2);
    let receivers: Vec<_> = (0..20).map(|number| executor.submit(request(number, 1)).unwrap()).collect();
    executor.close();
    for (number, receiver) in (0..).zip(receivers) {
        assert!(is_answer_to(&receiver.blocking_recv().unwrap().unwrap(), number, 1));
    }
    let error = executor.submit(request(99, 1)).err().unwrap();
    assert!(matches!(error, ExecuteError::Closing { .. }), "{error}");
}

#[test]
fn a_batch_that_is_not_full_waits_only_as_long_as_told() {
    let delay = Duration::from_millis(400);
    let executor =
        start(Echo::taking(Duration::ZERO), ServingSetting { max_queue_delay: delay, ..SETTING }, 2);
    let first = executor.submit(request(1, 1)).unwrap();
    thread::sleep(Duration::from_millis(5));
    let second = executor.submit(request(2, 1)).unwrap();
    first.blocking_recv().unwrap().unwrap();
    second.blocking_recv().unwrap().unwrap();
    let stats = executor.stats();
    assert_eq!(stats.executions, 1, "both run in one batch");
    assert!(stats.queue_nanos >= 2 * delay.as_nanos() as u64 - 10_000_000, "{} ns", stats.queue_nanos);
}

#[test]
fn all_models_together_never_compute_on_more_cores_than_the_budget() {
    struct Counting {
        running: Arc<AtomicU32>,
        most: Arc<AtomicU32>,
    }
    impl LoadedModel for Counting {
        fn inputs(&self) -> &[TensorSpec] {
            &[]
        }
        fn outputs(&self) -> &[TensorSpec] {
            &[]
        }
        fn instance(&self) -> Result<Box<dyn Instance>, RuntimeError> {
            Ok(Box::new(Self { running: Arc::clone(&self.running), most: Arc::clone(&self.most) }))
        }
    }
    impl Instance for Counting {
        fn infer(&mut self, _: Vec<BatchInput>, cores: u32) -> Result<Vec<Tensor>, RuntimeError> {
            let now = self.running.fetch_add(cores, Ordering::SeqCst) + cores;
            self.most.fetch_max(now, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(1));
            self.running.fetch_sub(cores, Ordering::SeqCst);
            Ok(vec![])
        }
    }
    let (running, most) = (Arc::default(), Arc::default());
    let around = Surroundings {
        clock: Clock::start(),
        budget: CoreBudget::new(3),
        energy_rate: Arc::new(EnergyRate::unknown()),
        waker: Arc::new(Waker::default()),
    };
    let setting = ServingSetting { instances: 4, cores_per_instance: 2, batch_size: 1, ..SETTING };
    let executors: Vec<_> = ["a", "b"]
        .map(|name| {
            let model = Arc::new(Counting { running: Arc::clone(&running), most: Arc::clone(&most) });
            Executor::start(name.into(), model, LIMITS, setting, around.clone()).unwrap()
        })
        .into();
    let receivers: Vec<_> = (0..60)
        .map(|number| {
            executors[number as usize % 2].submit(Submission { group: None, ..request(number, 1) }).unwrap()
        })
        .collect();
    for receiver in receivers {
        receiver.blocking_recv().unwrap().unwrap();
    }
    assert!((2..=3).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}
