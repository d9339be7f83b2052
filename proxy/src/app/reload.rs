//! From settings to the site workers serve by, keeping what is known of origin servers that stay.

use std::borrow::Cow;
use std::sync::Arc;

use crate::balance::{SERVERS_MAX, Secret, ServerSettings, Terms, Upstream, UpstreamSettings};
use crate::config::Settings;
use crate::http::{FileError, Filters, Site};
use crate::tls::{self, CertificateError, OriginTls, OriginTlsSettings};
use crate::{clock, detect, route};

use super::origins::Services;
use super::workers::Shared;

/// The site of a starting weir.
pub(super) fn first_site(
    settings: &Settings,
    filters: Filters,
    secret: &Secret,
) -> Result<Site, CertificateError> {
    let rules = Arc::new(detect::Rules::new(settings.detect.clone()));
    Ok(Site {
        requests: settings.requests,
        routes: route::Table::new(settings.routes.clone()),
        filters: Arc::new(filters),
        upstreams: upstreams(settings, None, secret),
        origin_tls: tls::origins(&settings.origin_tls)?,
        rules,
        generation: 1,
    })
}

/// The site that follows the current one. `found` are the servers that services stand for.
pub(super) fn next_site(
    settings: &Settings,
    filters: Filters,
    shared: &Shared,
    found: &Services,
) -> Result<Site, CertificateError> {
    let current = shared.site.load();
    // The same rules stay the same object: what detection counted by them goes on counting.
    let rules = if current.rules.settings() == settings.detect {
        Arc::clone(&current.rules)
    } else {
        Arc::new(detect::Rules::new(settings.detect.clone()))
    };
    let settings = with_services(settings, found);
    Ok(Site {
        requests: settings.requests,
        routes: route::Table::new(settings.routes.clone()),
        filters: Arc::new(filters),
        upstreams: upstreams(&settings, Some(&current), &shared.secret),
        // Read again though nothing else changed: the files may have.
        origin_tls: tls::origins(&settings.origin_tls)?,
        rules,
        generation: current.generation + 1,
    })
}

/// The current site with other servers found. The configuration is the same, so its generation is.
pub(super) fn site_with(settings: &Settings, shared: &Shared, found: &Services) -> Site {
    let current = shared.site.load();
    let settings = with_services(settings, found);
    Site {
        requests: settings.requests,
        routes: route::Table::new(settings.routes.clone()),
        filters: Arc::clone(&current.filters),
        upstreams: upstreams(&settings, Some(&current), &shared.secret),
        origin_tls: current.origin_tls.clone(),
        rules: Arc::clone(&current.rules),
        generation: current.generation,
    }
}

/// Reads what the routes need of files, and takes over what those of `current` have counted.
pub(super) fn filters(settings: &Settings, current: Option<&Site>) -> Result<Filters, FileError> {
    let previous = current.map(|site| &*site.filters);
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

/// The upstreams that are wanted, with what the `current` site knows of their servers.
fn upstreams(settings: &Settings, current: Option<&Site>, secret: &Secret) -> Vec<Arc<Upstream>> {
    let now = clock::now();
    let wanted = settings.upstreams.iter().zip(&settings.origin_tls);
    wanted
        .map(|(wanted, tls)| {
            current
                .and_then(|current| follow(current, wanted, tls.as_ref()))
                .unwrap_or_else(|| Arc::new(Upstream::new(wanted.clone(), secret.clone(), now)))
        })
        .collect()
}

/// The same upstream if nothing changed, else one that keeps what is known of the servers that stay. `None` if `current`
/// has none of that name.
fn follow(
    current: &Site,
    wanted: &UpstreamSettings,
    tls: Option<&OriginTlsSettings>,
) -> Option<Arc<Upstream>> {
    let mut upstreams = current.upstreams.iter();
    let index = upstreams.position(|known| known.settings.name == wanted.name)?;
    let known = &current.upstreams[index];
    let before = current.origin_tls[index].as_deref();
    let terms = if before.map(OriginTls::settings) == tls {
        Terms::Same
    } else {
        Terms::Changed
    };
    Some(if known.settings == *wanted && terms == Terms::Same {
        Arc::clone(known)
    } else {
        Arc::new(known.succeeded_by(wanted.clone(), terms))
    })
}

/// Adds the servers that services stand for, as many as an upstream may have.
fn with_services<'a>(settings: &'a Settings, found: &Services) -> Cow<'a, Settings> {
    let mut upstreams = settings.upstreams.iter();
    if upstreams.all(|upstream| upstream.services.is_empty()) {
        // Most have none, and there may be ten thousand routes to copy.
        return Cow::Borrowed(settings);
    }
    let mut settings = settings.clone();
    for upstream in &mut settings.upstreams {
        for service in &upstream.services {
            for server in found.get(service).into_iter().flatten() {
                let known = &mut upstream.servers;
                let same =
                    |known: &ServerSettings| known.host == server.host && known.port == server.port;
                if known.len() < SERVERS_MAX && !known.iter().any(same) {
                    known.push(server.clone());
                }
            }
        }
    }
    Cow::Owned(settings)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::balance::Scheme;

    #[test]
    fn servers_are_others_once_their_tls_is_another() {
        let settings = |verify: &str| {
            let text = format!(
                r#"
                [[listen]]
                address = "[::]:80"
                [[upstream]]
                name = "app"
                servers = ["https://192.0.2.1:443", "http://192.0.2.1:80"]
                tls = {{ verify = false{verify} }}
                [[route]]
                upstream = "app"
            "#
            );
            crate::config::parse(&text, Path::new("weir.toml")).expect("valid")
        };
        let (before, named) = (settings(""), settings(", server_name = \"app.internal\""));
        let secret = Secret::new([7; 16]);
        let site = first_site(&before, filters(&before, None).expect("no files"), &secret)
            .expect("no files");
        let known = &site.upstreams[0];
        let same = upstreams(&before, Some(&site), &secret).remove(0);
        assert!(Arc::ptr_eq(&same, known));
        let other = upstreams(&named, Some(&site), &secret).remove(0);
        assert_eq!(other.settings, known.settings, "TLS is not among them");
        assert!(!Arc::ptr_eq(&other.servers[0], &known.servers[0]));
        assert!(Arc::ptr_eq(&other.servers[1], &known.servers[1]));
    }

    #[test]
    fn found_servers_are_added_once_and_no_more_than_there_may_be() {
        let text = r#"
            [[listen]]
            address = "[::]:80"
            [[upstream]]
            name = "app"
            servers = ["http://a:80", "srv+http://few", "srv+http://many", "srv+http://none"]
            [[route]]
            upstream = "app"
        "#;
        let settings = crate::config::parse(text, Path::new("weir.toml")).expect("valid");
        let server = |host: &str, port| ServerSettings {
            scheme: Scheme::Http,
            host: host.to_owned(),
            port,
            weight: 1,
        };
        let mut found = Services::new();
        found.insert("few".to_owned(), vec![server("a", 80), server("b", 80)]);
        let few = with_services(&settings, &found)
            .into_owned()
            .upstreams
            .remove(0);
        assert_eq!(few.servers, [server("a", 80), server("b", 80)]);
        let many = (1..=400).map(|port| server("c", port)).collect();
        found.insert("many".to_owned(), many);
        let many = with_services(&settings, &found)
            .into_owned()
            .upstreams
            .remove(0);
        assert_eq!(many.servers.len(), SERVERS_MAX);
    }
}
