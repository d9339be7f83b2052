//! The query component (RFC 3986 §3.4) of admin requests. Unknown parameters are errors, not silence.

use ipnet::IpNet;

use super::{Failure, FailureKind, api, check, network};

/// The query of `GET /v1/sources`.
pub(super) fn sources(query: &str) -> Result<api::SourcesQuery, Failure> {
    let mut wanted = api::SourcesQuery {
        network: None,
        top: check::TOP_DEFAULT,
        sort: api::SourceOrder::default(),
    };
    for pair in pairs(query) {
        let (name, value) = pair?;
        match name {
            "network" => wanted.network = Some(one_network(&value)?),
            "top" => {
                wanted.top = value
                    .parse()
                    .ok()
                    .filter(|top| (1..=check::TOP_MAX).contains(top))
                    .ok_or_else(|| {
                        invalid(format!("`{value}` is no value for top"), "1 to 10000")
                    })?;
            }
            "sort" => {
                wanted.sort = serde_json::from_value(serde_json::Value::String(value.clone()))
                    .map_err(|_unknown_word| {
                        invalid(
                            format!("`{value}` is no value for sort"),
                            "packets, bytes, syns or dropped",
                        )
                    })?;
            }
            other => return Err(unknown_parameter(other, "network, top or sort")),
        }
    }
    Ok(wanted)
}

/// The query of `DELETE /v1/blocks` and `DELETE /v1/allows`.
pub(super) fn networks(query: &str) -> Result<api::NetworksRequest, Failure> {
    let mut networks = Vec::new();
    for pair in pairs(query) {
        match pair? {
            ("network", value) => networks.push(one_network(&value)?),
            (other, _) => return Err(unknown_parameter(other, "network")),
        }
    }
    let request = api::NetworksRequest { networks };
    request.check()?;
    Ok(request)
}

/// The query of `DELETE /v1/drain`.
pub(super) fn server(query: &str) -> Result<api::DrainRequest, Failure> {
    let (mut upstream, mut server) = (None, None);
    for pair in pairs(query) {
        match pair? {
            ("upstream", value) => upstream = Some(value),
            ("server", value) => server = Some(value),
            (other, _) => return Err(unknown_parameter(other, "upstream, server")),
        }
    }
    match (upstream, server) {
        (Some(upstream), Some(server)) => Ok(api::DrainRequest { upstream, server }),
        _ => Err(invalid(
            "which server is missing".to_owned(),
            "add ?upstream=app&server=10.0.0.11:8080",
        )),
    }
}

fn one_network(text: &str) -> Result<IpNet, Failure> {
    network::parse(text)
        .map(|parsed| parsed.network)
        .map_err(|refused| invalid(refused.message, refused.hint))
}

/// `name=value` pairs with percent-encoded values (RFC 3986 §2.1). Names are never encoded here.
fn pairs(query: &str) -> impl Iterator<Item = Result<(&str, String), Failure>> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode(value).ok_or_else(|| {
                invalid(
                    format!("`{value}` is not percent-encoded text"),
                    "write %2F for a slash, or the slash itself",
                )
            })?;
            Ok((name, value))
        })
}

fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (high, low) = (*rest.first()?, *rest.get(1)?);
        let digit = |byte: u8| char::from(byte).to_digit(16);
        decoded.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(decoded).ok()
}

fn unknown_parameter(name: &str, known: &str) -> Failure {
    invalid(
        format!("there is no parameter `{name}` here"),
        format!("known: {known}"),
    )
}

fn invalid(error: String, hint: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Invalid, error, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_decoded_and_what_is_cut_short_refused() {
        for (text, decoded) in [
            ("192.0.2.0%2F24", Some("192.0.2.0/24")),
            ("2001%3adb8%3A%3a/32", Some("2001:db8::/32")),
            ("plain", Some("plain")),
            ("%", None),
            ("%2", None),
            ("%+1", None),
            ("%ff", None),
        ] {
            assert_eq!(percent_decode(text).as_deref(), decoded, "{text}");
        }
    }

    #[test]
    fn repeated_networks_are_all_taken() {
        let request = networks("network=192.0.2.7&network=2001:db8::/32").expect("valid");
        let named: Vec<_> = request.networks.iter().map(ToString::to_string).collect();
        assert_eq!(named, ["192.0.2.7/32", "2001:db8::/32"]);
    }
}
