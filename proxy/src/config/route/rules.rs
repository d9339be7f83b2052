//! What a route asks for beside its pattern and its action.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;
use ipnet::IpNet;

use crate::config::reader::{Node, Table};
use crate::config::value::{self, Refusal};
use crate::route::{
    Access, BasicAuth, Credentials, ErrorPages, Expression, LimitBy, LimitSettings, PathPattern,
    Pattern, Rewrite, RouteTimeouts,
};

/// `allow`, `deny`
pub(super) fn access(route: &mut Table<'_>) -> Option<Access> {
    let mut networks = |key| -> Option<Vec<IpNet>> {
        let list = route.take(key)?;
        let nodes = list.list();
        if nodes.is_empty() || nodes.len() > NETWORKS_MAX {
            list.refuse(Refusal::invalid(
                format!("holds {} networks", nodes.len()),
                format!("name 1 to {NETWORKS_MAX} networks, or remove it"),
            ));
        }
        Some(
            nodes
                .iter()
                .filter_map(|node| node.read(value::network))
                .collect(),
        )
    };
    let (allow, deny) = (networks("allow"), networks("deny"));
    if allow.is_none() && deny.is_none() {
        return None;
    }
    Some(Access::new(
        &allow.unwrap_or_default(),
        &deny.unwrap_or_default(),
    ))
}

/// `limit`
pub(super) fn limit(route: &mut Table<'_>) -> Option<LimitSettings> {
    let mut table = route.take("limit")?.table()?;
    let requests = table
        .required("requests", "100")
        .and_then(|node| node.integer(REQUESTS));
    let per = table.duration(
        "per",
        Duration::from_secs(1),
        Duration::from_millis(100)..=Duration::from_hours(24),
    );
    let burst = table.take("burst").and_then(|node| node.integer(REQUESTS));
    let by = table.take("by").and_then(|node| node.read(limit_by));
    table.finish(&[]);
    Some(LimitSettings {
        requests: requests?,
        per,
        burst: burst.or(requests)?,
        by: by.unwrap_or(LimitBy::ClientIp),
    })
}

fn limit_by(text: &str) -> Result<LimitBy, Refusal> {
    match text.split_once(':') {
        None if text == "client-ip" => Ok(LimitBy::ClientIp),
        None if text == "route" => Ok(LimitBy::Route),
        Some(("header", name)) => super::pattern::field_name(name).map(LimitBy::Field),
        _ => Err(Refusal::invalid(
            "not what requests can be told apart by",
            "write \"client-ip\", \"header:NAME\" or \"route\"",
        )),
    }
}

/// `basic_auth`
pub(super) fn basic_auth(route: &mut Table<'_>) -> Option<BasicAuth> {
    let mut table = route.take("basic_auth")?.table()?;
    let file = table
        .required("file", "\"/etc/weir/users\"")
        .and_then(|node| node.read(value::absolute_path));
    let realm = table.take("realm").and_then(|node| node.read(realm));
    let forward = table.boolean("forward", false);
    table.finish(&[]);
    Some(BasicAuth {
        file: file?,
        realm: realm.unwrap_or_else(|| "weir".to_owned()),
        credentials: if forward {
            Credentials::Forward
        } else {
            Credentials::Keep
        },
    })
}

fn realm(text: &str) -> Result<String, Refusal> {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if text.len() <= 64 && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(Refusal::invalid(
            "not what a browser could show",
            "write at most 64 ASCII characters without quotes and backslashes",
        ))
    }
}

/// `strip_prefix`
pub(super) fn strip_prefix(route: &mut Table<'_>, pattern: &Pattern) -> bool {
    let Some(node) = route.take("strip_prefix") else {
        return false;
    };
    let strip = node.boolean().unwrap_or(false);
    if strip && !matches!(pattern.path, PathPattern::Prefix(_)) {
        node.refuse(Refusal::conflict(
            "the path of this route is no prefix",
            "use rewrite",
        ));
    }
    strip
}

/// `rewrite`
pub(super) fn rewrite(route: &mut Table<'_>) -> Option<Rewrite> {
    let mut table = route.take("rewrite")?.table()?;
    let from = table
        .required("from", "\"^/old/(.*)$\"")
        .and_then(|node| node.read(super::pattern::expression));
    let to = table
        .required("to", "\"/new/$1\"")
        .and_then(|node| rewritten(&node, from?));
    table.finish(&[]);
    to
}

fn rewritten(node: &Node<'_>, from: Expression) -> Option<Rewrite> {
    node.read(|to| {
        if to.contains(['?', '#', '\\']) || !to.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Refusal::invalid(
                "rewrites the path alone, to characters that a path has",
                "leave out ? and #, write other characters percent-encoded",
            ));
        }
        Rewrite::new(from, to).map_err(|error| {
            Refusal::invalid(
                error.to_string(),
                "write ${1} before letters and digits, $$ for a dollar sign",
            )
        })
    })
}

/// `timeouts`
pub(super) fn timeouts(route: &mut Table<'_>) -> RouteTimeouts {
    let mut table = route.section("timeouts");
    let mut timeout = |key| {
        let node = table.take(key)?;
        node.duration(Duration::from_millis(10)..=Duration::from_hours(24))
    };
    let timeouts = RouteTimeouts {
        response: timeout("response"),
        stream: timeout("stream"),
    };
    table.finish(&[]);
    timeouts
}

/// `max_body`
pub(super) fn content_bytes_max(route: &mut Table<'_>) -> Option<u64> {
    route.take("max_body")?.size(0..=1 << 40)
}

/// `error_pages` of a route or of the file.
pub(in crate::config) fn error_pages(table: &mut Table<'_>) -> ErrorPages {
    let node = table.take("error_pages");
    let entries = node.and_then(|node| node.entries()).unwrap_or_default();
    let entries = entries.iter();
    entries
        .filter_map(|(status, file)| {
            let path: PathBuf = file.read(value::absolute_path)?;
            let number = status
                .parse()
                .ok()
                .filter(|number| (400..=599).contains(number));
            let status = number.and_then(|number| StatusCode::from_u16(number).ok());
            if status.is_none() {
                file.refuse(Refusal::invalid(
                    "not the status of an error",
                    "write a status from 400 to 599, such as 502 = \"/etc/weir/502.html\"",
                ));
            }
            Some((status?, path))
        })
        .collect()
}

/// Requests of a limit, on average and at once.
const REQUESTS: std::ops::RangeInclusive<u64> = 1..=1_000_000;
/// Most networks of a list: more than that is what the shield is for.
const NETWORKS_MAX: usize = 10_000;
