//! What becomes known of a request on its way: where it is aimed, its route, whether it is let in.

use std::rc::Rc;

use http::{Uri, request};

use super::connection::Connection;
use super::fault::{Fault, Malformed};
use super::fields;
use super::filters::Coding;
use super::target::Target;
use super::worker::View;
use crate::clock;
use crate::route::{Admission, Asked, RouteSettings, Standing, Underscores, Values, Verdict};

/// What becomes known of a request on its way, and is needed for its response whatever comes of it.
pub(super) struct Course {
    /// One snapshot for the whole request, whatever is reloaded meanwhile.
    pub(super) view: Rc<View>,
    /// Who asks.
    pub(super) client: Rc<fields::Client>,
    /// In its normal form as soon as it has one: what detection is told.
    pub(super) uri: Uri,
    /// Set when the request got that far, like all that follows.
    pub(super) target: Option<Target>,
    /// Index of the route.
    pub(super) route: Option<usize>,
    /// Path for the origin, if it is not that of `uri`.
    pub(super) path: Option<String>,
    /// What the route's limit said, if it has one.
    pub(super) standing: Option<Standing>,
    /// What the client likes best of content codings, if the route has some.
    pub(super) coding: Option<Coding>,
}

impl Course {
    pub(super) fn new(connection: &Connection, client: Rc<fields::Client>, uri: Uri) -> Self {
        Self {
            view: connection.worker.view(),
            client,
            uri,
            target: None,
            route: None,
            path: None,
            standing: None,
            coding: None,
        }
    }

    pub(super) fn route(&self) -> Option<&RouteSettings> {
        let table = &self.view.site.routes;
        self.route.map(|index| table.route(index))
    }

    pub(super) fn values(&self) -> Values<'_> {
        Values {
            client: self.client.address,
            scheme: self.client.scheme.as_str(),
            host: self.target.as_ref().map_or("", |target| &target.host),
            path: self.path.as_deref().unwrap_or(self.uri.path()),
            query: self.uri.query(),
        }
    }

    /// Finds the route by the request's path in its normal form, which takes the place of the one that the client wrote.
    pub(super) fn find_route(
        &mut self,
        connection: &Connection,
        request: &mut request::Parts,
    ) -> Result<(), Fault> {
        let target = target(&self.view, request)?;
        connection.check_host(&target.host)?;
        if let Some(normal) = &target.normal {
            request.uri = Uri::from(normal.clone());
        }
        let sent = std::mem::replace(&mut self.uri, request.uri.clone());
        let asked = Asked {
            host: &target.host,
            path: self.uri.path(),
            method: &request.method,
            fields: &request.headers,
        };
        let site = &self.view.site;
        let found = site.routes.find(&asked).ok_or(Fault::DestinationNotFound)?;
        let slashes = site.requests.encoded_slashes;
        let path = found.route.rewritten(self.uri.path(), slashes);
        if found.route.raw_path {
            request.uri = sent;
        }
        if found.route.compress {
            self.coding = Coding::accepted(&request.headers);
        }
        self.route = Some(found.index);
        self.target = Some(target);
        self.path = path.map_err(|_invalid| Fault::BadRequest(Malformed::Target))?;
        Ok(())
    }

    /// Whether the route is for this client, and not too often.
    pub(super) fn admit(&mut self, request: &request::Parts) -> Result<(), Fault> {
        let (Some(route), Some(index)) = (self.route(), self.route) else {
            return Err(Fault::DestinationNotFound);
        };
        let client = self.client.address;
        let access = route.access.as_ref();
        if access.is_some_and(|access| access.judge(client) == Verdict::Deny) {
            return Err(Fault::Forbidden);
        }
        if route.limit.is_some() {
            let filters = &self.view.site.filters;
            self.standing = filters.take(index, route, client, &request.headers, clock::now());
        }
        match self.standing.map(|standing| standing.admission) {
            None | Some(Admission::Admitted) => Ok(()),
            Some(Admission::Refused(_)) => Err(Fault::TooManyRequests),
        }
    }
}

/// Where the request is aimed, unless it is refused for what others may read in it.
fn target(view: &View, request: &request::Parts) -> Result<Target, Fault> {
    let settings = &view.site.requests;
    let target = Target::of(
        &request.method,
        &request.uri,
        request.version,
        &request.headers,
        settings.encoded_slashes,
    )?;
    let mut names = request.headers.keys();
    if settings.underscores == Underscores::Refuse && names.any(|name| name.as_str().contains('_'))
    {
        return Err(Fault::BadRequest(Malformed::Underscore));
    }
    Ok(target)
}
