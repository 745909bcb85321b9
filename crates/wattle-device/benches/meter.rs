//! What metering costs: the CPU time of reading the CPU device at 10 Hz, as a share of one core.
//!
//! `cargo bench -p wattle-device --bench meter`. The aim is less than 0.5 %. Reads this machine's files.
#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use wattle_core::time::Timestamp;
use wattle_device::cpu::{CoreBudget, CpuDevice, CpuRoots};
use wattle_device::device::Device;

const READINGS: u32 = 100;
const PERIOD: Duration = Duration::from_millis(100);
const MOST_PERCENT: f64 = 0.5;

fn main() -> Result<(), Box<dyn Error>> {
    let mut cpu = CpuDevice::new("cpu".into(), &CpuRoots::default(), None, CoreBudget::new(1))?;
    let began = Instant::now();
    let asleep = measure(|| Ok::<(), std::io::Error>(()))?;
    let metered = measure(|| black_box(cpu.read(Timestamp::from_duration(began.elapsed()))).map(drop))?;
    let reading = metered.saturating_sub(asleep) / READINGS;
    let percent = 100.0 * reading.as_secs_f64() / PERIOD.as_secs_f64();
    println!("{}", cpu.info().power_provenance);
    println!("{READINGS} readings at 10 Hz: {reading:?} of CPU time each, without that of the timer");
    println!("{percent:.3} % of a core, aim: less than {MOST_PERCENT} %");
    if percent < MOST_PERCENT { Ok(()) } else { Err("metering costs too much".into()) }
}

/// CPU time of this thread while it does `work` at 10 Hz.
fn measure<E: Error + 'static>(mut work: impl FnMut() -> Result<(), E>) -> Result<Duration, Box<dyn Error>> {
    let before = thread_cpu_time()?;
    for _ in 0..READINGS {
        work()?;
        std::thread::sleep(PERIOD);
    }
    Ok(thread_cpu_time()?.saturating_sub(before))
}

/// CPU time of this thread so far.
fn thread_cpu_time() -> Result<Duration, Box<dyn Error>> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}
