//! A worker under test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use weir::balance::{
    Scheme, Secret, ServerSettings, Upstream, UpstreamLimits, UpstreamSettings, UpstreamTimeouts,
    UpstreamTransport,
};
use weir::detect::{Count, Filter, RuleSettings, Rules};
use weir::http::worker::{Context, Counters, Report, Stop, run};
use weir::http::{Filters, Site, Upgrades};
use weir::net::{ClientLimits, HttpVersions, ListenSettings, Listener, Networks, Transport, bind};
use weir::route::{
    ErrorPages, HostPattern, PathPattern, Pattern, RequestSettings, RouteSettings, Table,
};
use weir::telemetry::{AccessLog, AccessTarget, Format};
use weir::tls::{Credentials, OriginTlsSettings};

/// Longest any wait in these tests may take before it counts as a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a test may change about its weir.
pub struct Setup {
    pub limits: ClientLimits,
    pub origins: Vec<SocketAddr>,
    pub transport: UpstreamTransport,
    /// With it, the origins are `https://`.
    pub origin_tls: Option<OriginTlsSettings>,
    pub timeouts: UpstreamTimeouts,
    pub connections: usize,
    /// What else the upstream has.
    pub upstream: fn(&mut UpstreamSettings),
    pub upgrades: usize,
    /// In place of the one route for everything on `a.test`.
    pub routes: Option<Vec<RouteSettings>>,
    pub requests: RequestSettings,
    pub error_pages: ErrorPages,
    pub cache: bool,
    pub reveal_origin: bool,
    pub rules: Vec<RuleSettings>,
    pub versions: HttpVersions,
    pub credentials: Option<Credentials>,
    /// What the listener makes of them.
    pub tls: weir::tls::ListenerSettings,
    pub access: AccessTarget,
    pub access_format: Format,
    pub proxy_protocol_from: Networks,
    pub trust_forwarded_from: Networks,
}

/// A running worker; dropping it stops it at once.
pub struct Weir {
    pub address: SocketAddr,
    pub site: Arc<ArcSwap<Site>>,
    pub store: Arc<weir::cache::Store>,
    pub credentials: Arc<ArcSwap<Credentials>>,
    pub counters: Arc<Counters>,
    pub upgrades: Arc<Upgrades>,
    pub reports: Receiver<Report>,
    pub access: AccessLog,
    /// What the worker listens on.
    pub listening: tokio::sync::watch::Sender<Vec<Arc<Listener>>>,
    stop: tokio::sync::watch::Sender<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl Setup {
    pub fn to(origins: &[SocketAddr]) -> Self {
        Self {
            limits: ClientLimits {
                handshake_timeout: PATIENCE,
                header_timeout: PATIENCE,
                body_timeout: PATIENCE,
                min_body_rate: 0,
                write_timeout: PATIENCE,
                idle_timeout: PATIENCE,
                upgrade_idle_timeout: PATIENCE,
                header_bytes: 32 << 10,
                header_fields: 100,
                body_bytes: 1 << 20,
                streams: 100,
                connections: 100,
                connections_per_source: 100,
                handshakes: 100,
            },
            origins: origins.to_vec(),
            transport: UpstreamTransport::default(),
            origin_tls: None,
            timeouts: UpstreamTimeouts {
                connect: PATIENCE,
                response: PATIENCE,
                idle: PATIENCE,
                ..UpstreamTimeouts::default()
            },
            connections: 100,
            upstream: |_| {},
            upgrades: 10,
            routes: None,
            requests: RequestSettings::default(),
            error_pages: Vec::new(),
            cache: false,
            reveal_origin: false,
            rules: Vec::new(),
            versions: HttpVersions {
                http1: true,
                http2: true,
            },
            credentials: None,
            tls: weir::tls::ListenerSettings::default(),
            access: AccessTarget::Off,
            access_format: Format::Json,
            proxy_protocol_from: Networks::default(),
            trust_forwarded_from: Networks::default(),
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// A site with one upstream `app` behind one route for everything.
    pub fn site(&self, generation: u64) -> Site {
        let servers = self.origins.iter().map(|origin| ServerSettings {
            scheme: if self.origin_tls.is_some() {
                Scheme::Https
            } else {
                Scheme::Http
            },
            host: origin.ip().to_string(),
            port: origin.port(),
            weight: 1,
        });
        let mut upstream = UpstreamSettings {
            transport: self.transport,
            limits: UpstreamLimits {
                connections: self.connections,
                pending: 0,
            },
            timeouts: self.timeouts.clone(),
            ..UpstreamSettings::new("app", servers.collect())
        };
        (self.upstream)(&mut upstream);
        let host = HostPattern::Exact("a.test".into());
        let pattern = Pattern::new(host, PathPattern::Prefix("/".into()));
        let route = RouteSettings {
            cache: self.cache,
            reveal_origin: self.reveal_origin,
            ..RouteSettings::new(pattern, 0)
        };
        let routes = self.routes.clone().unwrap_or_else(|| vec![route]);
        Site {
            requests: self.requests,
            filters: Arc::new(Filters::load(&routes, &self.error_pages, None).unwrap()),
            routes: Table::new(routes),
            upstreams: vec![Arc::new(Upstream::new(
                upstream,
                Secret::new([7; 16]),
                Instant::now(),
            ))],
            origin_tls: weir::tls::origins(std::slice::from_ref(&self.origin_tls)).unwrap(),
            rules: Arc::new(Rules::new(self.rules.clone())),
            generation,
        }
    }

    pub fn start(self) -> Weir {
        let site = Arc::new(ArcSwap::from_pointee(self.site(1)));
        let transport = if self.credentials.is_some() {
            Transport::Tls
        } else {
            Transport::Cleartext
        };
        let settings = ListenSettings {
            address: "127.0.0.1:0".parse().unwrap(),
            transport,
            tls: self.tls,
            http: self.versions,
            limits: self.limits,
            proxy_protocol_from: self.proxy_protocol_from,
            trust_forwarded_from: self.trust_forwarded_from,
        };
        let socket = bind(&settings, 1).unwrap().pop().unwrap().listen().unwrap();
        let address = socket.local_addr().unwrap();
        let cache = weir::cache::Settings {
            memory: 16 << 20,
            max_object: 1 << 20,
        };
        let store = Arc::new(weir::cache::Store::new(&cache));
        let counters = Arc::new(Counters::default());
        let upgrades = Arc::new(Upgrades::new(self.upgrades));
        let (report, reports) = sync_channel(64);
        let access = AccessLog::start(&self.access, self.access_format).unwrap();
        let listener = Arc::new(Listener::new(settings, vec![socket]));
        let (listening, listeners) = tokio::sync::watch::channel(vec![listener]);
        let (stop, stopped) = tokio::sync::watch::channel(Stop::Run);
        let credentials = self.credentials.unwrap_or_else(|| {
            let nothing = weir::tls::Store::load(&[], [], Instant::now()).unwrap();
            nothing.credentials()
        });
        let credentials = Arc::new(ArcSwap::from_pointee(credentials));
        let context = Context {
            index: 0,
            listeners,
            site: Arc::clone(&site),
            credentials: Arc::clone(&credentials),
            store: Arc::clone(&store),
            reports: report,
            upgrades: Arc::clone(&upgrades),
            shortage: Arc::default(),
            access: access.clone(),
            counters: Arc::clone(&counters),
            stop: stopped,
        };
        let thread = std::thread::spawn(move || run(context).unwrap());
        Weir {
            address,
            site,
            store,
            credentials,
            counters,
            upgrades,
            reports,
            access,
            listening,
            stop,
            thread: Some(thread),
        }
    }
}

impl Weir {
    /// Waits until detection is told of something by its first rule.
    pub fn reported(&self) -> ipnet::IpNet {
        let report = self.reports.recv_timeout(PATIENCE).unwrap();
        assert_eq!(report.hits[0].0, 0);
        report.hits[0].1.network()
    }

    pub fn stop(&self, stop: Stop) {
        self.stop.send(stop).unwrap();
    }

    /// Waits for the worker to return.
    pub fn join(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        let _ = self.stop.send(Stop::Now);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the worker panicked");
        }
    }
}

/// The routes of a configuration's text; `upstream = "app"` is the one there is.
pub fn routes(text: &str) -> Vec<RouteSettings> {
    let text = format!(
        "[[listen]]\naddress = \"[::]:80\"\n[[upstream]]\nname = \"app\"\nservers = [\"http://b\"]\n{text}"
    );
    let path = std::path::Path::new("weir.toml");
    let settings = weir::config::parse(&text, path).unwrap_or_else(|e| panic!("{}", e.report()));
    settings.routes
}

/// A rule that counts responses with `status`.
pub fn rule(status: u16) -> RuleSettings {
    RuleSettings {
        filter: Filter {
            path: None,
            status: vec![status],
        },
        ..counting(Count::Responses)
    }
}

/// A rule that counts all of a kind.
pub fn counting(count: Count) -> RuleSettings {
    RuleSettings {
        name: "rule".into(),
        count,
        filter: Filter::default(),
        limit: 1,
        window: Duration::from_secs(1),
        block_for: Duration::from_secs(1),
        block_max: Duration::from_secs(1),
    }
}

/// Waits until `done`, which something else brings about.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
