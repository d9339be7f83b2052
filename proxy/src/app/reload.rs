//! From settings to the site workers serve by, keeping what is known of origin servers that stay.

use std::sync::Arc;

use crate::balance::Upstream;
use crate::config::Settings;
use crate::http::{FileError, Filters, Site};
use crate::{clock, detect, route};

/// The site of a starting weir.
pub(super) fn first_site(settings: &Settings, filters: Filters) -> Site {
    let rules = Arc::new(detect::Rules::new(settings.detect.clone()));
    build(settings, filters, &[], rules, 1)
}

/// The site that follows `current`.
pub(super) fn next_site(settings: &Settings, filters: Filters, current: &Site) -> Site {
    // The same rules stay the same object: what detection counted by them goes on counting.
    let rules = if current.rules.settings() == settings.detect {
        Arc::clone(&current.rules)
    } else {
        Arc::new(detect::Rules::new(settings.detect.clone()))
    };
    build(
        settings,
        filters,
        &current.upstreams,
        rules,
        current.generation + 1,
    )
}

/// Reads what the routes need of files, and takes over what those of `current` have counted.
pub(super) fn filters(settings: &Settings, current: Option<&Site>) -> Result<Filters, FileError> {
    let previous = current.map(|site| &site.filters);
    Filters::load(&settings.routes, &settings.error_pages, previous)
}

/// What runs after a reload: `wanted`, but with the parts of `current` that only a restart changes.
pub(super) fn effective(current: &Settings, wanted: Settings) -> Settings {
    Settings {
        process: current.process.clone(),
        cache: current.cache.clone(),
        admin: current.admin.clone(),
        log: current.log.clone(),
        shield: crate::xdp::Settings {
            interfaces: if wanted.shield.interfaces.is_empty() {
                Vec::new()
            } else {
                current.shield.interfaces.clone()
            },
            mode: current.shield.mode,
            pin_dir: current.shield.pin_dir.clone(),
            tables: crate::xdp::Tables {
                sources: current.shield.tables.sources,
                ..wanted.shield.tables
            },
            ..wanted.shield
        },
        ..wanted
    }
}

fn build(
    settings: &Settings,
    filters: Filters,
    known: &[Arc<Upstream>],
    rules: Arc<detect::Rules>,
    generation: u64,
) -> Site {
    let now = clock::now();
    let upstreams = settings
        .upstreams
        .iter()
        .map(|wanted| {
            known
                .iter()
                .find(|upstream| upstream.settings == *wanted)
                .map_or_else(|| Arc::new(Upstream::new(wanted.clone(), now)), Arc::clone)
        })
        .collect();
    Site {
        requests: settings.requests,
        routes: route::Table::new(settings.routes.clone()),
        filters,
        upstreams,
        rules,
        generation,
    }
}
