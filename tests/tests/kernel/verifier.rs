//! What the program costs the kernel that loads it: instructions that the verifier walks, held against what they were when
//! somebody last looked, and the time of loading, which is only told.

use nix::sys::utsname::uname;

use crate::shield::Shield;

#[test]
fn the_verifier_accepts_the_program_far_below_its_limit_and_walks_no_more_than_recorded() {
    let (instructions, took) = Shield::load().verification();
    let system = uname().expect("a system has a name");
    let recorded_here = system.release().to_string_lossy().starts_with(RECORDED_ON);
    let record = if recorded_here {
        format!("recorded: {RECORDED}")
    } else {
        format!("the record is Linux {RECORDED_ON}x's, and not held against this kernel")
    };
    // `cargo xtask test kernels` reads this line.
    #[expect(clippy::print_stdout, reason = "the harness shows it when asked to")]
    {
        println!(
            "verifier: {instructions} instructions, program loaded in {} ms ({record})",
            took.as_millis()
        );
    }
    assert!(
        instructions < INSTRUCTIONS_MAX,
        "the verifier walked {instructions} instructions"
    );
    let most = RECORDED + RECORDED / 100 * SLACK_PERCENT;
    assert!(
        !recorded_here || instructions <= most,
        "the verifier walked {instructions} instructions, over {SLACK_PERCENT} % more than the {RECORDED} recorded in {}: \
         find the change that makes it so, or write the new number there and say in the commit what it buys",
        file!()
    );
}

/// Three fifths of what any kernel since 5.2 walks before it gives up (`BPF_COMPLEXITY_LIMIT_INSNS`): kernels prune
/// differently, and 6.1 walks twice as many as 6.18.
const INSTRUCTIONS_MAX: u32 = 600_000;
/// What the verifier of [`RECORDED_ON`] walked. `cargo xtask test kernel -- verifier --nocapture` prints the present
/// number; write it here after a change that is worth it.
const RECORDED: u32 = 257_916;
/// Beginning of the release that [`RECORDED`] is of.
const RECORDED_ON: &str = "6.18.";
/// Growth that nobody has to explain, in percent.
const SLACK_PERCENT: u32 = 10;
