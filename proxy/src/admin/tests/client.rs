//! The client against the server.

use super::super::api;
use super::super::client::{Client, ClientError};
use super::running::{nets, unix};

#[test]
fn the_client_edits_and_reads_back_more_networks_than_one_request_holds() {
    let (dir, _running) = unix();
    let client = Client::new(&dir.0);
    let many: Vec<ipnet::IpNet> = (0..1200_u16)
        .map(|i| {
            ipnet::IpNet::from(std::net::IpAddr::from([
                198,
                18,
                i.to_be_bytes()[0],
                i.to_be_bytes()[1],
            ]))
        })
        .collect();
    let request = api::BlockRequest {
        networks: many.clone(),
        seconds: Some(60),
        reason: "scan".into(),
    };
    let changed = client.block(&request).expect("blocks");
    assert!(
        changed
            .changes
            .iter()
            .map(|c| c.network)
            .eq(many.iter().copied())
    );
    let removed = client.unblock(&many).expect("unblocks");
    assert!(
        removed
            .changes
            .iter()
            .all(|c| c.change == api::ChangeKind::Removed)
    );
    let again = client.unblock(&nets(&["198.18.0.1/32"])).expect("asks");
    assert_eq!(again.changes[0].change, api::ChangeKind::Absent);
}

#[test]
fn the_client_tells_refusals_apart() {
    let (dir, running) = unix();
    let client = Client::new(&dir.0);
    assert_eq!(client.status().expect("status").pid, 7);
    match client.reload() {
        Err(ClientError::Reload(failed)) => assert_eq!(failed.problems[0].line, 3),
        other => panic!("{other:?}"),
    }
    match client.entries(api::List::Allow) {
        Err(ClientError::Refused { status, error }) => {
            assert_eq!((status.as_u16(), error.error.as_str()), (503, "no shield"));
        }
        other => panic!("{other:?}"),
    }
    drop(running);
    assert!(matches!(
        client.status(),
        Err(ClientError::NotRunning { .. })
    ));
}
