//! The tables and columns that OVN-Kubernetes writes. Columns that OVN itself fills in (`up`,
//! `status`, `hv_cfg`…) are not here, so they are neither compared nor ever touched.

/// A table of the Northbound database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    Acl,
    AddressSet,
    ChassisTemplateVar,
    Copp,
    GatewayChassis,
    LoadBalancer,
    LoadBalancerGroup,
    LogicalRouter,
    LogicalRouterPolicy,
    LogicalRouterPort,
    LogicalRouterStaticRoute,
    LogicalSwitch,
    LogicalSwitchPort,
    Meter,
    MeterBand,
    Nat,
    PortGroup,
    Qos,
    StaticMacBinding,
}

/// A column that is written, and what it holds.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plain,
    References(Table),
}

impl Table {
    pub const ALL: [Table; 19] = [
        Table::Acl,
        Table::AddressSet,
        Table::ChassisTemplateVar,
        Table::Copp,
        Table::GatewayChassis,
        Table::LoadBalancer,
        Table::LoadBalancerGroup,
        Table::LogicalRouter,
        Table::LogicalRouterPolicy,
        Table::LogicalRouterPort,
        Table::LogicalRouterStaticRoute,
        Table::LogicalSwitch,
        Table::LogicalSwitchPort,
        Table::Meter,
        Table::MeterBand,
        Table::Nat,
        Table::PortGroup,
        Table::Qos,
        Table::StaticMacBinding,
    ];

    /// The name in the schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Table::Acl => "ACL",
            Table::AddressSet => "Address_Set",
            Table::ChassisTemplateVar => "Chassis_Template_Var",
            Table::Copp => "Copp",
            Table::GatewayChassis => "Gateway_Chassis",
            Table::LoadBalancer => "Load_Balancer",
            Table::LoadBalancerGroup => "Load_Balancer_Group",
            Table::LogicalRouter => "Logical_Router",
            Table::LogicalRouterPolicy => "Logical_Router_Policy",
            Table::LogicalRouterPort => "Logical_Router_Port",
            Table::LogicalRouterStaticRoute => "Logical_Router_Static_Route",
            Table::LogicalSwitch => "Logical_Switch",
            Table::LogicalSwitchPort => "Logical_Switch_Port",
            Table::Meter => "Meter",
            Table::MeterBand => "Meter_Band",
            Table::Nat => "NAT",
            Table::PortGroup => "Port_Group",
            Table::Qos => "QoS",
            Table::StaticMacBinding => "Static_MAC_Binding",
        }
    }

    pub fn parse(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.as_str() == name)
    }

    pub fn column(self, name: &str) -> Option<Column> {
        self.columns().into_iter().find(|c| c.name == name)
    }

    /// The columns that are written.
    pub fn columns(self) -> Vec<Column> {
        let plain = self.plain().iter().map(|name| Column {
            name,
            kind: Kind::Plain,
        });
        let references = self.references().iter().map(|(name, table)| Column {
            name,
            kind: Kind::References(*table),
        });
        plain.chain(references).collect()
    }

    fn plain(self) -> &'static [&'static str] {
        match self {
            Table::Acl => &[
                "action",
                "direction",
                "external_ids",
                "label",
                "log",
                "match",
                "meter",
                "name",
                "options",
                "priority",
                "severity",
                "tier",
            ],
            Table::AddressSet => &["addresses", "external_ids", "name"],
            Table::ChassisTemplateVar => &["chassis", "external_ids", "variables"],
            Table::Copp => &["external_ids", "meters", "name"],
            Table::GatewayChassis => &[
                "chassis_name",
                "external_ids",
                "name",
                "options",
                "priority",
            ],
            Table::LoadBalancer => &[
                "external_ids",
                "name",
                "options",
                "protocol",
                "selection_fields",
                "vips",
            ],
            Table::LoadBalancerGroup => &["name"],
            Table::LogicalRouter => &["external_ids", "name", "options"],
            Table::LogicalRouterPolicy => &[
                "action",
                "external_ids",
                "match",
                "nexthop",
                "nexthops",
                "options",
                "priority",
            ],
            Table::LogicalRouterPort => &[
                "external_ids",
                "ipv6_ra_configs",
                "mac",
                "name",
                "networks",
                "options",
                "peer",
            ],
            Table::LogicalRouterStaticRoute => &[
                "external_ids",
                "ip_prefix",
                "nexthop",
                "options",
                "output_port",
                "policy",
                "route_table",
            ],
            Table::LogicalSwitch => &["external_ids", "name", "other_config"],
            Table::LogicalSwitchPort => &[
                "addresses",
                "enabled",
                "external_ids",
                "name",
                "options",
                "port_security",
                "tag_request",
                "type",
            ],
            Table::Meter => &["external_ids", "fair", "name", "unit"],
            Table::MeterBand => &["action", "burst_size", "external_ids", "rate"],
            Table::Nat => &[
                "external_ids",
                "external_ip",
                "external_mac",
                "external_port_range",
                "logical_ip",
                "logical_port",
                "match",
                "options",
                "priority",
                "type",
            ],
            Table::PortGroup => &["external_ids", "name"],
            Table::Qos => &[
                "action",
                "bandwidth",
                "direction",
                "external_ids",
                "match",
                "priority",
            ],
            Table::StaticMacBinding => &["ip", "logical_port", "mac", "override_dynamic_mac"],
        }
    }

    fn references(self) -> &'static [(&'static str, Table)] {
        match self {
            Table::LoadBalancerGroup => &[("load_balancer", Table::LoadBalancer)],
            Table::LogicalRouter => &[
                ("copp", Table::Copp),
                ("load_balancer", Table::LoadBalancer),
                ("load_balancer_group", Table::LoadBalancerGroup),
                ("nat", Table::Nat),
                ("policies", Table::LogicalRouterPolicy),
                ("ports", Table::LogicalRouterPort),
                ("static_routes", Table::LogicalRouterStaticRoute),
            ],
            Table::LogicalRouterPort => &[("gateway_chassis", Table::GatewayChassis)],
            Table::LogicalSwitch => &[
                ("acls", Table::Acl),
                ("load_balancer", Table::LoadBalancer),
                ("load_balancer_group", Table::LoadBalancerGroup),
                ("ports", Table::LogicalSwitchPort),
                ("qos_rules", Table::Qos),
            ],
            Table::Meter => &[("bands", Table::MeterBand)],
            Table::PortGroup => &[("acls", Table::Acl), ("ports", Table::LogicalSwitchPort)],
            _ => &[],
        }
    }
}
