//! Which slot of the TOTALS map each interface counts in. Pure; `shield` writes the result into the INTERFACES map.

use weir_common::maps::MAX_INTERFACES;
use weir_common::{InterfaceSlot, Text};

/// A slot nobody ever used.
pub(super) const EMPTY: InterfaceSlot = InterfaceSlot {
    ifindex: 0,
    mtu: 0,
    name: Text::EMPTY,
};

/// The slots of `names`, in their order; `None` if there are more names than slots.
///
/// An interface keeps the slot that bears its name, and with it its totals, over restarts. Others get a slot that was
/// never used, else one whose interface is no longer guarded.
pub(super) fn assign(slots: &[InterfaceSlot], names: &[&str]) -> Option<Vec<u32>> {
    let mut taken = vec![false; slots.len()];
    let mut assigned: Vec<Option<usize>> = names
        .iter()
        .map(|name| slots.iter().position(|slot| slot.name.as_str() == *name))
        .collect();
    for index in assigned.iter().flatten() {
        taken[*index] = true;
    }
    for place in assigned.iter_mut().filter(|place| place.is_none()) {
        let unused = |never: bool| {
            slots
                .iter()
                .zip(&taken)
                .position(|(slot, taken)| !taken && (!never || *slot == EMPTY))
        };
        let index = unused(true).or_else(|| unused(false))?;
        taken[index] = true;
        *place = Some(index);
    }
    assigned
        .into_iter()
        .map(|index| index.and_then(|index| u32::try_from(index).ok()))
        .collect()
}

/// As many empty slots as there can be interfaces.
pub(super) fn none() -> Vec<InterfaceSlot> {
    vec![EMPTY; MAX_INTERFACES as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(name: &str, ifindex: u32) -> InterfaceSlot {
        InterfaceSlot {
            ifindex,
            mtu: 1500,
            name: Text::truncated(name),
        }
    }

    #[test]
    fn an_interface_keeps_its_slot_whatever_its_index_is_now() {
        let slots = [slot("eth0", 2), slot("eth1", 0), EMPTY];
        assert_eq!(assign(&slots, &["eth1", "eth0"]), Some(vec![1, 0]));
    }

    #[test]
    fn a_new_interface_gets_a_slot_nobody_used_before_a_left_one() {
        let slots = [slot("eth0", 2), slot("old0", 0), EMPTY];
        assert_eq!(
            assign(&slots, &["eth0", "eth1", "eth2"]),
            Some(vec![0, 2, 1])
        );
    }

    #[test]
    fn the_slot_of_one_that_comes_later_is_not_given_away() {
        let slots = [slot("eth0", 2)];
        assert_eq!(assign(&slots, &["eth1", "eth0"]), None);
        let slots = [slot("eth0", 2), EMPTY];
        assert_eq!(assign(&slots, &["eth1", "eth0"]), Some(vec![1, 0]));
    }

    #[test]
    fn more_interfaces_than_slots_is_none() {
        let names: Vec<String> = (0..=MAX_INTERFACES).map(|n| format!("eth{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(assign(&none(), &names), None);
        assert!(assign(&none(), &names[1..]).is_some());
    }
}
