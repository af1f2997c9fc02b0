//! The client against a real ovsdb-server.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::Server;
use futures::StreamExt;
use ovsdb::{Atom, Client, Condition, Datum, Error, Monitor, Mutation, Row, Transaction};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(10);

fn bridge(name: &str) -> Row {
    Row::new()
        .with("name", name)
        .with("mode", "secure")
        .with("ids", Datum::map([("a", "1"), ("b", "2")]))
        .with("weight", 0.5)
}

async fn insert_bridge(client: &Client, name: &str) -> ovsdb::Uuid {
    let mut tx = Transaction::new();
    let row = tx.insert("Bridge", bridge(name));
    client.transact(tx).await.unwrap().uuid(&row).unwrap()
}

#[tokio::test]
async fn a_transaction_is_seen_by_select_and_replica() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client().await;
    let replica = client
        .monitor(Monitor::everything(client.schema()))
        .await
        .unwrap();

    let mut tx = Transaction::new();
    let port = tx.insert("Port", Row::new().with("name", "p0"));
    let br = tx.insert("Bridge", bridge("br0").with("ports", [&port]));
    let read = tx.select(
        "Bridge",
        Condition::eq("name", "br0"),
        ["name", "ids", "_uuid"],
    );
    let outcome = client.transact(tx).await.unwrap();

    let (uuid, row) = &outcome.rows(read)[0];
    assert_eq!(Some(*uuid), outcome.uuid(&br));
    assert_eq!(row.key("ids", "b"), Some("2"));

    let port = outcome.uuid(&port).unwrap();
    let row = timeout(
        LIMIT,
        replica.wait_for(|db| db.row("Bridge", *uuid).cloned()),
    )
    .await
    .unwrap()
    .unwrap();
    assert_eq!(row.uuids("ports").collect::<Vec<_>>(), [port]);
    assert_eq!(row.get("weight"), Some(&Datum::from(0.5)));
    assert_eq!(row.integer("seq"), Some(0));
    assert_eq!(
        replica.snapshot().row("Port", port).unwrap().get("up"),
        Some(&Datum::empty())
    );
}

#[tokio::test]
async fn mutate_update_and_delete_reach_the_replica_as_changes() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client().await;
    let uuid = insert_bridge(&client, "br0").await;
    let replica = client
        .monitor(Monitor::new().columns("Bridge", ["ids", "seq"]))
        .await
        .unwrap();
    let mut changes = replica.changes();

    let mut tx = Transaction::new();
    let all = Condition::uuid(uuid);
    tx.mutate(
        "Bridge",
        all.clone(),
        vec![
            Mutation::add("seq", 5),
            Mutation::delete("ids", ["a"]),
            Mutation::insert("ids", Datum::map([("c", "3")])),
        ],
    );
    let outcome = client.transact(tx).await.unwrap();
    assert_eq!(outcome.count(0), 1);
    let change = timeout(LIMIT, changes.next()).await.unwrap().unwrap();
    assert_eq!(change.old.unwrap().integer("seq"), Some(0));
    let new = change.new.unwrap();
    assert_eq!(new.integer("seq"), Some(5));
    assert_eq!(new.get("ids"), Some(&Datum::map([("b", "2"), ("c", "3")])));
    // Only what was asked for.
    assert_eq!(new.get("name"), None);

    let mut tx = Transaction::new();
    tx.update(
        "Bridge",
        all.clone(),
        Row::new().with("ids", Datum::map::<&str, &str>([])),
    );
    client.transact(tx).await.unwrap();
    let change = timeout(LIMIT, changes.next()).await.unwrap().unwrap();
    assert!(change.new.unwrap().get("ids").unwrap().is_empty());

    let mut tx = Transaction::new();
    tx.delete("Bridge", all);
    client.transact(tx).await.unwrap();
    let change = timeout(LIMIT, changes.next()).await.unwrap().unwrap();
    assert!(change.new.is_none());
    assert_eq!(replica.snapshot().rows("Bridge").count(), 0);
}

#[tokio::test]
async fn a_condition_limits_the_replica() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client().await;
    let monitor = Monitor::new()
        .table("Bridge")
        .only("Bridge", Condition::eq("name", "br1"));
    let replica = client.monitor(monitor).await.unwrap();
    insert_bridge(&client, "br0").await;
    insert_bridge(&client, "br1").await;
    timeout(
        LIMIT,
        replica.wait_for(|db| db.find("Bridge", "name", "br1").map(drop)),
    )
    .await
    .unwrap()
    .unwrap();
    assert!(replica.snapshot().find("Bridge", "name", "br0").is_none());
}

#[tokio::test]
async fn bad_values_are_refused_before_they_are_sent_and_named() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client().await;
    let try_row = async |table: &str, row: Row| {
        let mut tx = Transaction::new();
        tx.insert(table, row);
        client.transact(tx).await.unwrap_err().to_string()
    };
    assert_eq!(
        try_row("Brigde", Row::new()).await,
        "no table Brigde in database Test"
    );
    assert_eq!(
        try_row("Bridge", Row::new().with("nam", "x")).await,
        "no column nam in table Bridge"
    );
    assert_eq!(
        try_row("Bridge", Row::new().with("seq", "x")).await,
        "table Bridge, column seq: x is not an integer"
    );
    assert_eq!(
        try_row("Bridge", Row::new().with("mode", "loose")).await,
        "table Bridge, column mode: loose is not one of secure, standalone"
    );
    assert_eq!(
        try_row("Bridge", Row::new().with("name", ["a", "b"])).await,
        "table Bridge, column name: 2 values where at most 1 is allowed"
    );
}

#[tokio::test]
async fn a_refused_operation_names_its_table_and_undoes_the_rest() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client().await;
    insert_bridge(&client, "br0").await;

    // The index of the schema is checked when the transaction commits.
    let mut tx = Transaction::new();
    tx.insert("Bridge", bridge("br1"));
    tx.insert("Bridge", bridge("br0"));
    let error = client.transact(tx).await.unwrap_err();
    assert!(
        matches!(&error, Error::Commit { error, .. } if error == "constraint violation"),
        "{error}"
    );

    // A guard that does not hold stops at its operation.
    let mut tx = Transaction::new();
    tx.insert("Bridge", bridge("br2"));
    tx.require(
        "Bridge",
        Condition::eq("name", "br0"),
        vec![Row::new().with("seq", 9)],
    );
    let error = client.transact(tx).await.unwrap_err();
    assert!(
        matches!(&error, Error::Refused { index: 1, table, .. } if table == "Bridge"),
        "{error}"
    );

    let mut tx = Transaction::new();
    tx.select("Bridge", Condition::all(), ["name"]);
    let names = client.transact(tx).await.unwrap();
    assert_eq!(names.rows(0).len(), 1);
}

#[tokio::test]
async fn a_replica_survives_the_server() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let client = server.client().await;
    insert_bridge(&client, "br0").await;
    let replica = client
        .monitor(Monitor::new().table("Bridge"))
        .await
        .unwrap();
    let mut changes = replica.changes();
    server.kill();
    server.restart();
    // Queued until the connection is back.
    let second = timeout(LIMIT, async {
        loop {
            let mut tx = Transaction::new();
            let row = tx.insert("Bridge", bridge("br1"));
            match client.transact(tx).await {
                Ok(outcome) => break outcome.uuid(&row).unwrap(),
                // Sent before the end of the old server was noticed.
                Err(Error::Disconnected { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
    .unwrap();
    timeout(
        LIMIT,
        replica.wait_for(|db| db.row("Bridge", second).map(drop)),
    )
    .await
    .unwrap()
    .unwrap();
    let names: Vec<_> = replica
        .snapshot()
        .rows("Bridge")
        .filter_map(|(_, row)| row.str("name").map(str::to_owned))
        .collect();
    assert_eq!(names.len(), 2);
    // What was there before is no news.
    let change = timeout(LIMIT, changes.next()).await.unwrap().unwrap();
    assert_eq!(change.uuid, second);
}

#[tokio::test]
async fn many_clients_and_updates_at_once_arrive_complete() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client().await;
    let replica = client
        .monitor(Monitor::new().table("Bridge"))
        .await
        .unwrap();
    let writers = (0..8).map(|writer| {
        let client = client.clone();
        async move {
            for n in 0..25 {
                insert_bridge(&client, &format!("br-{writer}-{n}")).await;
            }
        }
    });
    futures::future::join_all(writers).await;
    timeout(
        LIMIT,
        replica.wait_for(|db| (db.rows("Bridge").count() == 200).then_some(())),
    )
    .await
    .unwrap()
    .unwrap();
}

#[tokio::test]
async fn missing_sockets_and_databases_are_named() {
    let Some(server) = Server::start() else {
        return;
    };
    server.client().await;
    let error = Client::connect(server.socket(), "Other").await.unwrap_err();
    assert!(
        error.to_string().contains("database Other is not served"),
        "{error}"
    );
    let nowhere = server.socket().with_file_name("nowhere");
    let error = Client::connect(&nowhere, "Test").await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot connect to the OVSDB socket"),
        "{error}"
    );
}

#[tokio::test]
async fn echo_and_atoms() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = server.client().await;
    client.echo().await.unwrap();
    assert_eq!(Atom::from("x").as_str(), Some("x"));
}
