//! Names: looked up when their time to live ends. A look-up that fails keeps the last good answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Context, Task};
use crate::balance::{OriginServer, Scheme, ServerSettings};
use crate::clock;
use crate::net::{LookupError, Service};

/// Keeps the addresses of a server that has a name.
pub(super) fn of_server(context: &Rc<Context>, server: &Arc<OriginServer>) -> Task {
    let first = First::begin(context);
    let (context, server) = (Rc::clone(context), Arc::clone(server));
    Task::spawn(async move {
        let host = &server.settings.host;
        let port = server.settings.port;
        let mut told = Told::new(host);
        let mut first = Some(first);
        loop {
            let outcome = context.resolver().addresses(host).await;
            let (addresses, until) = match told.judge(outcome) {
                Some(found) => (found.items, found.until),
                None => (Vec::new(), clock::now() + AGAIN),
            };
            let addresses = addresses.into_iter();
            server.resolved(addresses.map(|ip| SocketAddr::new(ip, port)).collect());
            drop(first.take());
            tokio::time::sleep_until(until.into()).await;
        }
    })
}

/// Keeps the servers that the SRV records of `name` stand for.
pub(super) fn of_service(context: &Rc<Context>, name: &str) -> Task {
    let first = First::begin(context);
    let (context, name) = (Rc::clone(context), name.to_owned());
    Task::spawn(async move {
        let mut told = Told::new(&name);
        let mut first = Some(first);
        loop {
            let outcome = context.resolver().services(&name).await;
            let until = match told.judge(outcome) {
                Some(found) => {
                    publish(&context, &name, servers(&found.items));
                    found.until
                }
                None => clock::now() + AGAIN,
            };
            drop(first.take());
            sleep_until(until).await;
        }
    })
}

async fn sleep_until(until: Instant) {
    tokio::time::sleep_until(until.into()).await;
}

fn publish(context: &Context, name: &str, servers: Vec<ServerSettings>) {
    let known = context.services.load();
    if known.get(name) == Some(&servers) {
        return;
    }
    tracing::info!(
        service = name,
        servers = servers.len(),
        "servers of a service found"
    );
    let mut next = BTreeMap::clone(&known);
    next.insert(name.to_owned(), servers);
    context.services.store(Arc::new(next));
    context.found.send_replace(());
}

/// The records of the lowest priority (RFC 2782: the others are for when these cannot be reached), with their weights
/// brought into our range.
pub(in crate::app) fn servers(services: &[Service]) -> Vec<ServerSettings> {
    const WEIGHT_MAX: u32 = 256;
    let lowest = services.iter().map(|service| service.priority).min();
    let preferred = || services.iter().filter(|one| Some(one.priority) == lowest);
    let heaviest = preferred().map(|one| u32::from(one.weight)).max();
    let scale = heaviest.unwrap_or(0).max(WEIGHT_MAX);
    preferred()
        .map(|one| ServerSettings {
            scheme: Scheme::Http,
            host: one.host.clone(),
            port: one.port,
            weight: (u32::from(one.weight) * WEIGHT_MAX / scale).max(1),
        })
        .collect()
}

/// Counts a first look-up until it is dropped: done, or not wanted any more.
struct First(Rc<Context>);

impl First {
    fn begin(context: &Rc<Context>) -> Self {
        context.outstanding.send_modify(|left| *left += 1);
        Self(Rc::clone(context))
    }
}

impl Drop for First {
    fn drop(&mut self) {
        self.0.outstanding.send_modify(|left| *left -= 1);
    }
}

/// Tells a failure once in a row.
struct Told {
    name: String,
    failing: bool,
}

impl Told {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            failing: false,
        }
    }

    fn judge<T>(&mut self, outcome: Result<T, LookupError>) -> Option<T> {
        let name = &self.name;
        match outcome {
            Ok(found) => {
                if std::mem::replace(&mut self.failing, false) {
                    tracing::info!(name, "name found again");
                }
                Some(found)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(name, %error, "name not found: what was found last stays");
                }
                None
            }
        }
    }
}

/// When a look-up that failed is repeated.
const AGAIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_records_of_the_lowest_priority_are_servers_and_weights_keep_their_ratio() {
        let service = |priority, host: &str, weight| Service {
            priority,
            host: host.to_owned(),
            port: 80,
            weight,
        };
        let found = |services: &[Service]| -> Vec<_> {
            let servers = servers(services);
            servers
                .into_iter()
                .map(|one| (one.host, one.weight))
                .collect()
        };
        let heavy = [
            service(10, "a", 60_000),
            service(10, "b", 30_000),
            service(20, "c", 1),
        ];
        assert_eq!(
            found(&heavy),
            [("a".to_owned(), 256), ("b".to_owned(), 128)]
        );
        let light = [service(0, "a", 0), service(0, "b", 5)];
        assert_eq!(found(&light), [("a".to_owned(), 1), ("b".to_owned(), 5)]);
        assert_eq!(found(&[]), []);
    }
}
