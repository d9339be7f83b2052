//! What holds of values, whatever a file says.

use std::time::Duration;

use super::value::{absolute_path, duration, host_name, network, size, size_text, socket_address};

/// A value that is taken means what it says when it is written again; one that is not has a reason.
pub fn value(text: &str) {
    let refusals = [
        duration(text).map(|value| {
            let again = humantime::format_duration(value).to_string();
            let whole = Duration::new(value.as_secs(), value.subsec_nanos());
            assert_eq!(duration(&again), Ok(whole), "{text}");
        }),
        size(text).map(|value| {
            let again = size_text(value);
            let with_unit = if again.ends_with('B') { "" } else { "B" };
            assert_eq!(size(&format!("{again}{with_unit}")), Ok(value), "{text}");
        }),
        network(text).map(|value| {
            assert_eq!(value, value.trunc());
            assert_eq!(network(&value.to_string()), Ok(value), "{text}");
        }),
        socket_address(text).map(|value| {
            assert_ne!(value.port(), 0);
            assert_eq!(socket_address(&value.to_string()), Ok(value), "{text}");
        }),
        host_name(text).map(|value| {
            assert_eq!(host_name(&value), Ok(value.clone()), "{text}");
            assert!(value.is_ascii());
        }),
        absolute_path(text).map(|value| assert!(value.is_absolute())),
    ];
    for refusal in refusals.into_iter().filter_map(Result::err) {
        assert!(!refusal.message.is_empty());
    }
}
