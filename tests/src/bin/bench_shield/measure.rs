//! What a packet costs: `BPF_PROG_TEST_RUN` with many repeats, and the cheapest of several runs. Programs that are compared
//! run in turn, so that what else happens on the machine happens to all of them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aya::programs::Xdp;
use aya::{TestRun as _, TestRunOptions};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// A program and the frame it is run on. All repeats of a run see the same buffer.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) program: &'a Xdp,
    pub(crate) frame: &'a [u8],
}

/// What was found of programs that ran in turn, in their order.
pub(crate) struct Costs {
    /// Nanoseconds a packet, the kernel's loop around the program included.
    pub(crate) ns: Vec<f64>,
    /// Packets that each program saw.
    pub(crate) packets: u64,
}

/// The cheapest run of each subject: of at least [`RUNS_MIN`] runs, and of more until [`RUNS_IDLE`] in a row found nothing
/// cheaper. Other work on the machine takes the caches away for seconds at a time.
pub(crate) fn together(subjects: &[Subject<'_>]) -> Result<Costs> {
    // The first fills caches and tables, and is not counted.
    for subject in subjects {
        once(*subject)?;
    }
    let mut cheapest = vec![f64::INFINITY; subjects.len()];
    let (mut runs, mut idle) = (0, 0);
    while runs < RUNS_MIN || idle < RUNS_IDLE && runs < RUNS_MAX {
        runs += 1;
        idle += 1;
        for (subject, cheapest) in subjects.iter().zip(&mut cheapest) {
            let ns = once(*subject)?;
            if ns < *cheapest * NOTICEABLE {
                idle = 0;
            }
            *cheapest = cheapest.min(ns);
        }
    }
    Ok(Costs {
        ns: cheapest,
        packets: u64::from(runs + 1) * u64::from(REPEATS + FEW),
    })
}

/// One run. The kernel says how long it took in whole nanoseconds a packet, which is too coarse for programs of a few of
/// them; the thread's processor time says it finer, and like the kernel leaves out when the thread did not run. What one
/// call costs whatever it repeats is subtracted.
fn once(subject: Subject<'_>) -> Result<f64> {
    let few = run(subject, FEW)?;
    let many = run(subject, REPEATS)?;
    Ok(many.saturating_sub(few).as_secs_f64() * 1e9 / f64::from(REPEATS - FEW))
}

fn run(subject: Subject<'_>, repeat: u32) -> Result<Duration> {
    let before = processor_time()?;
    let result = subject.program.test_run(TestRunOptions {
        data_in: Some(subject.frame),
        repeat,
        ..TestRunOptions::default()
    })?;
    let took = processor_time()?.saturating_sub(before);
    ensure!(
        result.return_value != XDP_ABORTED,
        "a program returned XDP_ABORTED: it did not do what it is measured for"
    );
    Ok(took)
}

fn processor_time() -> Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .context("Linux has a clock for each thread")?;
    Ok(time.into())
}

/// Keeps this thread, and those it starts from now on, on the last core it may use; returns the core.
pub(crate) fn pin_to_last_core() -> Result<usize> {
    let usable = sched_getaffinity(THIS_THREAD).context("asking for the usable cores")?;
    let last = (0..CpuSet::count())
        .rfind(|core| usable.is_set(*core).unwrap_or(false))
        .context("a running thread has a core")?;
    let mut one = CpuSet::new();
    one.set(last)?;
    sched_setaffinity(THIS_THREAD, &one).with_context(|| format!("staying on core {last}"))?;
    Ok(last)
}

/// Lets this thread run anywhere but on the core that measures, if there is another.
pub(crate) fn leave_core(core: usize) -> Result<()> {
    let mut others = CpuSet::new();
    for other in (0..std::thread::available_parallelism()?.get().max(core)).filter(|&n| n != core) {
        others.set(other)?;
    }
    // With one core only there is nowhere else.
    let _ = sched_setaffinity(THIS_THREAD, &others);
    Ok(())
}

/// Packets of a run.
const REPEATS: u32 = 1_000_000;
/// Packets of a call that is made to know what a call costs. Of one packet the kernel takes less care.
const FEW: u32 = 2;
const RUNS_MIN: u32 = 7;
const RUNS_IDLE: u32 = 4;
const RUNS_MAX: u32 = 30;
/// What counts as cheaper: 1 %.
const NOTICEABLE: f64 = 0.99;
const XDP_ABORTED: u32 = 0;
const THIS_THREAD: Pid = Pid::from_raw(0);
