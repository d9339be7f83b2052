//! The next version of weir, as far as the kernel can tell: a binary whose packet filter is another program that judges the
//! same.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::binary;
use crate::cleanup::uninterrupted;

/// Writes a copy of weir's binary to `path`, in whose embedded eBPF object some instructions say the same in other words: the
/// kernel gives that program another tag.
pub fn write_successor(path: &Path) -> Result<()> {
    let original = binary();
    let mut bytes =
        std::fs::read(&original).with_context(|| format!("reading {}", original.display()))?;
    let at = find_object(&bytes)
        .with_context(|| format!("{} has no packet filter", original.display()))?;
    let reworded = reword(&mut bytes[at..]).context("an eBPF object ends early")?;
    ensure!(reworded > 0, "nothing in the packet filter can be reworded");
    uninterrupted(|| {
        std::fs::write(path, bytes)?;
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755))
    })
    .with_context(|| format!("writing {}", path.display()))
}

/// Where a relocatable ELF file for BPF begins.
fn find_object(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(20)
        .position(|head| head.starts_with(ELF64_LITTLE_ENDIAN) && head[16..] == RELOCATABLE_BPF)
}

/// Turns the first `if r > n` of each section with code into `if r >= n + 1`; returns how many there were, or `None` if the
/// file is cut short.
fn reword(object: &mut [u8]) -> Option<usize> {
    let sections = usize::try_from(word(object, 0x28)?).ok()?;
    let (size, count) = (half(object, 0x3a)?, half(object, 0x3c)?);
    let mut reworded = 0;
    for index in 0..count {
        let header = object.get(sections + index * size..)?;
        let flags = word(header, 0x08)?;
        let (offset, length) = (word(header, 0x18)?, word(header, 0x20)?);
        if flags & EXECUTABLE == 0 {
            continue;
        }
        let code = usize::try_from(offset).ok()?;
        let code = object.get_mut(code..code + usize::try_from(length).ok()?)?;
        reworded += usize::from(reword_first(code));
    }
    Some(reworded)
}

fn reword_first(code: &mut [u8]) -> bool {
    let mut at = 0;
    while let Some(instruction) = code.get_mut(at..at + INSTRUCTION) {
        let number = i32::from_le_bytes([4, 5, 6, 7].map(|byte| instruction[byte]));
        match instruction[0] {
            IF_GREATER if (0..i32::MAX).contains(&number) => {
                instruction[0] = IF_GREATER_OR_EQUAL;
                instruction[4..].copy_from_slice(&(number + 1).to_le_bytes());
                return true;
            }
            // Twice as long as the others.
            LOAD_DOUBLE_WORD => at += 2 * INSTRUCTION,
            _ => at += INSTRUCTION,
        }
    }
    false
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    let half = u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?);
    Some(half.into())
}

const ELF64_LITTLE_ENDIAN: &[u8] = b"\x7fELF\x02\x01\x01";
/// `e_type` and `e_machine`.
const RELOCATABLE_BPF: [u8; 4] = [1, 0, 247, 0];
/// `SHF_EXECINSTR`
const EXECUTABLE: u64 = 4;
/// Bytes.
const INSTRUCTION: usize = 8;
/// Opcodes (RFC 9669 §4.3, §5.4), the right side being a number: `BPF_JMP | BPF_JGT`, `BPF_JMP | BPF_JGE`,
/// `BPF_LD | BPF_DW | BPF_IMM`.
const IF_GREATER: u8 = 0x25;
const IF_GREATER_OR_EQUAL: u8 = 0x35;
const LOAD_DOUBLE_WORD: u8 = 0x18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_comparison_is_reworded_and_no_half_of_a_constant_is_taken_for_one() {
        let constant = [
            LOAD_DOUBLE_WORD,
            1,
            0,
            0,
            5,
            0,
            0,
            0,
            IF_GREATER,
            0,
            0,
            0,
            7,
            0,
            0,
            0,
        ];
        let comparison = [IF_GREATER, 2, 3, 0, 0xff, 0, 0, 0];
        let mut code = [&constant[..], &comparison, &comparison].concat();
        assert!(reword_first(&mut code));
        let reworded = [IF_GREATER_OR_EQUAL, 2, 3, 0, 0, 1, 0, 0];
        assert_eq!(code, [&constant[..], &reworded, &comparison].concat());
    }

    #[test]
    fn code_without_a_comparison_stays_as_it_is() {
        let mut code = [0x95, 0, 0, 0, 0, 0, 0, 0];
        assert!(!reword_first(&mut code));
        assert_eq!(code, [0x95, 0, 0, 0, 0, 0, 0, 0]);
    }
}
