//! Names of origin servers: by DNS with its time to live, and by the hosts file.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

use crate::clock;

/// Asks the name servers that the host is configured with. What it is configured with is read once.
pub struct Resolver {
    inner: TokioResolver,
    read: Instant,
}

/// What a name stands for, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// Sorted, without duplicates.
    pub items: Vec<T>,
    /// Time to live, within bounds.
    pub until: Instant,
}

/// One SRV record (RFC 2782), in the order of preference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// The lowest is used first.
    pub priority: u16,
    /// Host name, without the dot at its end.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Share among those of the same priority.
    pub weight: u16,
}

/// A name that was not found, or not in time.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LookupError(String);

impl Resolver {
    /// For the runtime of the calling thread.
    pub fn new() -> Self {
        Self {
            inner: build(),
            read: clock::now(),
        }
    }

    /// Whether what the host is configured with should be read again.
    pub fn is_old(&self) -> bool {
        clock::now().saturating_duration_since(self.read) >= READ_INTERVAL
    }

    /// The addresses of `host`, IPv4 and IPv6.
    pub async fn addresses(&self, host: &str) -> Result<Found<IpAddr>, LookupError> {
        let lookup = within(self.inner.lookup_ip(host)).await?;
        found(lookup.iter().collect(), lookup.valid_until())
    }

    /// The SRV records of `name`.
    pub async fn services(&self, name: &str) -> Result<Found<Service>, LookupError> {
        let lookup = within(self.inner.lookup(name, RecordType::SRV)).await?;
        let records = lookup.answers().iter();
        let services = records.filter_map(|record| match &record.data {
            // RFC 2782: a target of "." says that there is no such service.
            RData::SRV(service) if !service.target.is_root() => Some(Service {
                priority: service.priority,
                host: service
                    .target
                    .to_utf8()
                    .trim_end_matches('.')
                    .to_ascii_lowercase(),
                port: service.port,
                weight: service.weight,
            }),
            _ => None,
        });
        found(services.collect(), lookup.valid_until())
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

/// With the host's name servers. Without any (or without a readable list of them) only the hosts file is left.
fn build() -> TokioResolver {
    let provider = TokioRuntimeProvider::default;
    let hosts_only = || {
        let nobody = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
        TokioResolver::builder_with_config(nobody, provider())
    };
    let mut builder = TokioResolver::builder(provider()).unwrap_or_else(|error| {
        tracing::debug!(%error, "no name servers: only the hosts file is used");
        hosts_only()
    });
    bounded(builder.options_mut());
    builder.build().unwrap_or_else(|error| {
        tracing::warn!(%error, "the resolver's configuration is of no use: only the hosts file is used");
        let fallback = hosts_only().build();
        fallback.expect("invariant: no name servers are a valid configuration")
    })
}

fn bounded(options: &mut ResolverOpts) {
    options.timeout = options.timeout.min(QUERY_TIMEOUT);
    options.positive_min_ttl = Some(TTL_MIN);
    options.positive_max_ttl = Some(TTL_MAX);
    options.negative_min_ttl = Some(TTL_MIN);
    options.negative_max_ttl = Some(TTL_MIN);
}

async fn within<T, E: ToString>(
    lookup: impl Future<Output = Result<T, E>>,
) -> Result<T, LookupError> {
    match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
        Ok(Ok(lookup)) => Ok(lookup),
        Ok(Err(error)) => Err(LookupError(error.to_string())),
        Err(_elapsed) => Err(LookupError("no answer in time".to_owned())),
    }
}

fn found<T: Ord>(mut items: Vec<T>, until: Instant) -> Result<Found<T>, LookupError> {
    // Name servers rotate their answers: sorted, the same set is the same.
    items.sort_unstable();
    items.dedup();
    items.truncate(ITEMS_MAX);
    if items.is_empty() {
        return Err(LookupError("no records".to_owned()));
    }
    let now = clock::now();
    let until = until.clamp(now + TTL_MIN, now + TTL_MAX);
    Ok(Found { items, until })
}

/// Most addresses or records of a name that are used.
const ITEMS_MAX: usize = 64;
/// Shortest time between two look-ups of a name, whatever its time to live.
const TTL_MIN: Duration = Duration::from_secs(1);
/// Longest.
const TTL_MAX: Duration = Duration::from_mins(5);
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the resolver's configuration and the hosts file are read.
const READ_INTERVAL: Duration = Duration::from_secs(30);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::rdata::{A, SRV};
    use hickory_resolver::proto::rr::{Name, Record};
    use hickory_resolver::proto::serialize::binary::{BinDecodable as _, BinEncodable as _};

    use super::*;

    /// What a name server knows of the one name it is asked for.
    type Zone = fn(&Name, RecordType) -> Vec<Record>;

    /// A resolver whose only name server answers from `zone`; to what is empty, that there is no such name.
    fn resolver(zone: Zone) -> Resolver {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let mut datagram = [0; 4096];
            while let Ok((length, client)) = socket.recv_from(&mut datagram) {
                let asked = Message::from_bytes(&datagram[..length]).unwrap();
                let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
                for query in &asked.queries {
                    answer.add_answers(zone(query.name(), query.query_type()));
                }
                if answer.answers.is_empty() {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                answer.add_queries(asked.queries);
                socket.send_to(&answer.to_bytes().unwrap(), client).unwrap();
            }
        });
        let mut udp = ConnectionConfig::udp();
        udp.port = port;
        let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![udp]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        bounded(builder.options_mut());
        Resolver {
            inner: builder.build().unwrap(),
            read: clock::now(),
        }
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test)
    }

    fn address(name: &Name, ttl: u32, last: u8) -> Record {
        Record::from_rdata(name.clone(), ttl, RData::A(A::new(192, 0, 2, last)))
    }

    #[test]
    fn a_name_has_all_its_addresses_for_its_time_to_live() {
        run(async {
            let resolver = resolver(|name, kind| match kind {
                RecordType::A => vec![address(name, 30, 2), address(name, 30, 1)],
                _ => Vec::new(),
            });
            let found = resolver.addresses("app.test.").await.unwrap();
            let addresses: Vec<_> = found.items.iter().map(ToString::to_string).collect();
            assert_eq!(addresses, ["192.0.2.1", "192.0.2.2"]);
            let left = found.until.saturating_duration_since(clock::now());
            assert!(
                left <= Duration::from_secs(30) && left > Duration::from_secs(1),
                "{left:?}"
            );
        });
    }

    #[test]
    fn a_time_to_live_is_kept_within_bounds() {
        run(async {
            for (zone, least, most) in [
                ((|name, _| vec![address(name, 0, 1)]) as Zone, 0, 1),
                (|name, _| vec![address(name, 86_400, 1)], 299, 300),
            ] {
                let found = resolver(zone).addresses("app.test.").await.unwrap();
                let left = found.until.saturating_duration_since(clock::now());
                assert!((least..=most).contains(&left.as_secs()), "{left:?}");
            }
        });
    }

    #[test]
    fn a_service_has_hosts_ports_and_weights() {
        run(async {
            let resolver = resolver(|name, _| {
                let target = |text: &str| Name::from_ascii(text).unwrap();
                [("b.test.", 8081, 1), ("a.test.", 8080, 3), (".", 1, 1)]
                    .map(|(host, port, weight)| {
                        let service = SRV::new(0, weight, port, target(host));
                        Record::from_rdata(name.clone(), 30, RData::SRV(service))
                    })
                    .to_vec()
            });
            let found = resolver.services("_http._tcp.test.").await.unwrap();
            let found: Vec<_> = found
                .items
                .iter()
                .map(|one| (one.host.as_str(), one.port, one.weight))
                .collect();
            assert_eq!(found, [("a.test", 8080, 3), ("b.test", 8081, 1)]);
        });
    }

    #[test]
    fn a_name_that_is_not_there_is_an_error() {
        run(async {
            let resolver = resolver(|_, _| Vec::new());
            assert!(resolver.addresses("none.test.").await.is_err());
            assert!(resolver.services("_http._tcp.none.test.").await.is_err());
        });
    }

    #[test]
    fn localhost_needs_no_name_server() {
        run(async {
            let found = Resolver::new().addresses("localhost").await.unwrap();
            assert!(found.items.iter().all(IpAddr::is_loopback), "{found:?}");
        });
    }
}
