//! Rate limits: control plane protection for routers, and the meter that ACL logging names
//! (OVN-Kubernetes' `pkg/ovn/copp.go`).

use crate::names::{ACL_METER, COPP};
use crate::northbound::{Row, Table, name};

use super::Context;

const PROTOCOLS: [&str; 9] = [
    "arp",
    "arp-resolve",
    "bfd",
    "event-elb",
    "icmp4-error",
    "icmp6-error",
    "reject",
    "svc-monitor",
    "tcp-reset",
];

/// Packets per second and protocol.
const COPP_RATE: i64 = 25;
/// Log messages per second.
const ACL_RATE: i64 = 20;

pub(super) fn compile(cx: &mut Context) {
    let limiter = |protocol: &str| format!("{protocol}-rate-limiter");
    for protocol in PROTOCOLS {
        meter(cx, &limiter(protocol), COPP_RATE);
    }
    meter(cx, ACL_METER, ACL_RATE);
    let meters: Vec<_> = PROTOCOLS.map(|p| (p.to_owned(), limiter(p))).into();
    let row = Row::named(COPP).with("meters", crate::northbound::Value::map(meters));
    cx.add_named(Table::Copp, row);
}

fn meter(cx: &mut Context, meter: &str, rate: i64) {
    let band = Row::new()
        .with("action", "drop")
        .with("rate", rate)
        .with("burst_size", 0_i64);
    let band = cx.add(Table::MeterBand, name::band(meter), band);
    let row = Row::named(meter)
        .with("unit", "pktps")
        .with("fair", true)
        .with("bands", band);
    cx.add_named(Table::Meter, row);
}
