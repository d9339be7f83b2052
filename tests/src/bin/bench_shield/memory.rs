//! Kernel memory of all maps at their default sizes, as the kernel accounts for it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aya::maps::MapInfo;

use crate::reference::References;
use crate::report::{Figure, Report, Row, Target};
use crate::shield::{Capacity, Shield};

/// Measures it.
pub(crate) fn run(_: &References, report: &Report) -> Result<()> {
    report.group("kernel memory of weir's maps, default sizes")?;
    let before = own_maps()?;
    let _shield = Shield::load(Capacity::Default)?;
    let mut total = 0;
    for (id, bytes) in own_maps()? {
        if before.contains_key(&id) {
            continue;
        }
        total += bytes;
        if bytes >= WORTH_A_LINE {
            report.row(&Row {
                case: MapInfo::from_id(id)?
                    .name_as_str()
                    .unwrap_or("?")
                    .to_owned(),
                weir: Some(Figure::Bytes(bytes)),
                reference: None,
                target: Target::None,
                note: String::new(),
            })?;
        }
    }
    report.row(&Row {
        case: "all maps".to_owned(),
        weir: Some(Figure::Bytes(total)),
        reference: None,
        target: Target::Within(Figure::Bytes(350 << 20)),
        note: String::new(),
    })
}

/// Bytes of every map that this process holds open, by the kernel's number: `memlock` in `/proc/self/fdinfo`.
fn own_maps() -> Result<BTreeMap<u32, u64>> {
    let mut maps = BTreeMap::new();
    for entry in std::fs::read_dir("/proc/self/fdinfo").context("listing open descriptors")? {
        // The one that lists is closed meanwhile.
        let Ok(text) = std::fs::read_to_string(entry?.path()) else {
            continue;
        };
        let number = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim().parse::<u64>().ok()
        };
        if let (Some(id), Some(bytes)) = (number("map_id:"), number("memlock:")) {
            maps.insert(u32::try_from(id)?, bytes);
        }
    }
    Ok(maps)
}

/// One MiB.
const WORTH_A_LINE: u64 = 1 << 20;
