//! `fuzz-shield`: random frames under random settings through the packet filter in the kernel and on the host, which have
//! to agree. The kernel ring does a little of it with each run; this does as much as one likes.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::workspace::Workspace;
use crate::{ebpf, exec, host, setup, step, test};

/// How much, and from where.
#[derive(Args)]
pub(crate) struct Fuzz {
    /// Packets; without a word and without --seconds ten million
    #[arg(long)]
    packets: Option<u64>,
    /// Where chance begins, to see a run again; without a word another one each time
    #[arg(long)]
    seed: Option<u64>,
    /// End after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
}

/// Fails at the first disagreement, which the test shrinks and prints.
pub(crate) fn run(workspace: &Workspace, fuzz: &Fuzz) -> anyhow::Result<()> {
    host::require_root("fuzz-shield", "it loads the packet filter")?;
    setup::run(setup::Extent::Work)?;
    ebpf::run(workspace)?;
    let packets = match (fuzz.packets, fuzz.seconds) {
        (None, None) => Some(PACKETS),
        (packets, _) => packets,
    };
    let mut command = test::end_to_end(workspace, "kernel");
    command.args([TEST, "--exact", "--nocapture"]);
    command.env(SEED, fuzz.seed.unwrap_or_else(another_seed).to_string());
    for (name, number) in [("WEIR_FUZZ_PACKETS", packets), (SECONDS, fuzz.seconds)] {
        match number {
            Some(number) => command.env(name, number.to_string()),
            None => command.env_remove(name),
        };
    }
    step::loud("fuzz", || exec::check(&mut command))
}

fn another_seed() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| u64::from(now.subsec_nanos()) ^ now.as_secs() << 30)
}

/// Tells the kernel ring how long to fuzz.
pub(crate) const SECONDS: &str = "WEIR_FUZZ_SECONDS";
const SEED: &str = "WEIR_FUZZ_SEED";
const TEST: &str = "fuzz::kernel_and_host_agree_on_random_frames";
const PACKETS: u64 = 10_000_000;
