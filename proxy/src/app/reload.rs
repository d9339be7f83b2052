//! From settings to the site workers serve by, keeping what is known of origin servers that stay.

use std::borrow::Cow;
use std::sync::Arc;

use crate::balance::{SERVERS_MAX, Secret, ServerSettings, Terms, Upstream, UpstreamSettings};
use crate::config::Settings;
use crate::http::{FileError, Filters, Site};
use crate::tls::{self, CertificateError, OriginTls};
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
    let origin_tls = tls::origins(&settings.origin_tls)?;
    Ok(Site {
        requests: settings.requests,
        routes: route::Table::new(settings.routes.clone()),
        filters: Arc::new(filters),
        upstreams: upstreams(settings, &origin_tls, None, secret),
        origin_tls,
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
    let origin_tls = origin_tls(&settings, &current)?;
    Ok(Site {
        requests: settings.requests,
        routes: route::Table::new(settings.routes.clone()),
        filters: Arc::new(filters),
        upstreams: upstreams(&settings, &origin_tls, Some(&current), &shared.secret),
        origin_tls,
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
        upstreams: upstreams(
            &settings,
            &current.origin_tls,
            Some(&current),
            &shared.secret,
        ),
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

/// TLS towards the servers of each upstream, read again though nothing else changed: the files may have. What is the same
/// as in the `current` site stays the same object, and so its sessions.
fn origin_tls(
    settings: &Settings,
    current: &Site,
) -> Result<Vec<Option<Arc<OriginTls>>>, CertificateError> {
    let read = tls::origins(&settings.origin_tls)?;
    let kept = |(wanted, read): (&UpstreamSettings, Option<Arc<OriginTls>>)| {
        let read = read?;
        let known = known(current, &wanted.name).and_then(|(_, tls)| tls.cloned());
        Some(known.filter(|known| known.is_same(&read)).unwrap_or(read))
    };
    Ok(settings.upstreams.iter().zip(read).map(kept).collect())
}

/// The upstreams that are wanted, with what the `current` site knows of their servers.
fn upstreams(
    settings: &Settings,
    origin_tls: &[Option<Arc<OriginTls>>],
    current: Option<&Site>,
    secret: &Secret,
) -> Vec<Arc<Upstream>> {
    let now = clock::now();
    let wanted = settings.upstreams.iter().zip(origin_tls);
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
    tls: Option<&Arc<OriginTls>>,
) -> Option<Arc<Upstream>> {
    let (known, before) = known(current, &wanted.name)?;
    let terms = if before.map(Arc::as_ptr) == tls.map(Arc::as_ptr) {
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

/// The upstream of that name, and TLS towards its servers.
fn known<'a>(
    site: &'a Site,
    name: &str,
) -> Option<(&'a Arc<Upstream>, Option<&'a Arc<OriginTls>>)> {
    let mut upstreams = site.upstreams.iter();
    let index = upstreams.position(|known| known.settings.name == name)?;
    Some((&site.upstreams[index], site.origin_tls[index].as_ref()))
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
            for server in found.get(&service.name).into_iter().flatten() {
                let known = &mut upstream.servers;
                let same =
                    |known: &ServerSettings| known.host == server.host && known.port == server.port;
                if known.len() < SERVERS_MAX && !known.iter().any(same) {
                    known.push(ServerSettings {
                        scheme: service.scheme,
                        ..server.clone()
                    });
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
        let again = origin_tls(&before, &site).expect("no files");
        let same = upstreams(&before, &again, Some(&site), &secret).remove(0);
        assert!(Arc::ptr_eq(&same, known));
        let tls = origin_tls(&named, &site).expect("no files");
        let other = upstreams(&named, &tls, Some(&site), &secret).remove(0);
        assert_eq!(other.settings, known.settings, "TLS is not among them");
        assert!(!Arc::ptr_eq(&other.servers[0], &known.servers[0]));
        assert!(Arc::ptr_eq(&other.servers[1], &known.servers[1]));
    }

    #[test]
    fn servers_are_others_once_what_the_files_of_their_tls_hold_is_other() {
        let directory = std::env::temp_dir().join(format!("weir-reload-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let path = |name: &str| directory.join(name);
        // An authority of a client's certificate, too: weir does not verify its own.
        let issue = |files: [&str; 2]| {
            let made = rcgen::generate_simple_self_signed(vec!["weir".to_owned()]);
            let made = made.expect("a certificate");
            let texts = [made.cert.pem(), made.signing_key.serialize_pem()];
            for (name, text) in files.into_iter().zip(texts) {
                std::fs::write(path(name), text).expect("a file");
            }
        };
        issue(["ca.pem", "ca.key"]);
        issue(["weir.pem", "weir.key"]);
        let text = format!(
            r#"
            [[listen]]
            address = "[::]:80"
            [[upstream]]
            name = "app"
            servers = ["https://192.0.2.1:443", "http://192.0.2.1:80"]
            tls = {{ ca = "{0}/ca.pem", cert = "{0}/weir.pem", key = "{0}/weir.key" }}
            [[route]]
            upstream = "app"
        "#,
            directory.display()
        );
        let settings = crate::config::parse(&text, Path::new("weir.toml")).expect("valid");
        let secret = Secret::new([7; 16]);
        let files = || filters(&settings, None).expect("no files");
        let site = first_site(&settings, files(), &secret).expect("certificates");
        let known = &site.upstreams[0];
        let reloaded = || {
            let tls = origin_tls(&settings, &site).expect("certificates");
            upstreams(&settings, &tls, Some(&site), &secret).remove(0)
        };
        assert!(Arc::ptr_eq(&reloaded(), known), "written again, or not");
        for changed in [["ca.pem", "ca.key"], ["weir.pem", "weir.key"]] {
            let before = changed.map(|name| std::fs::read(path(name)).expect("a file"));
            issue(changed);
            let other = reloaded();
            assert!(
                !Arc::ptr_eq(&other.servers[0], &known.servers[0]),
                "{changed:?}"
            );
            assert!(Arc::ptr_eq(&other.servers[1], &known.servers[1]), "no TLS");
            for (name, text) in changed.into_iter().zip(before) {
                std::fs::write(path(name), text).expect("a file");
            }
            assert!(Arc::ptr_eq(&reloaded(), known), "as it was");
        }
        std::fs::remove_dir_all(directory).expect("a directory");
    }

    #[test]
    fn found_servers_are_added_once_and_no_more_than_there_may_be() {
        let text = r#"
            [[listen]]
            address = "[::]:80"
            [[upstream]]
            name = "app"
            servers = ["http://a:80", "srv+http://few", "srv+http://many", "srv+http://none"]
            [[upstream]]
            name = "tls"
            servers = ["srv+https://few"]
            tls = { server_name = "app.internal" }
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
        let tls = with_services(&settings, &found)
            .into_owned()
            .upstreams
            .remove(1);
        let schemes: Vec<_> = tls.servers.iter().map(|server| server.scheme).collect();
        assert_eq!(schemes, [Scheme::Https, Scheme::Https]);
        let many = (1..=400).map(|port| server("c", port)).collect();
        found.insert("many".to_owned(), many);
        let many = with_services(&settings, &found)
            .into_owned()
            .upstreams
            .remove(0);
        assert_eq!(many.servers.len(), SERVERS_MAX);
    }
}
