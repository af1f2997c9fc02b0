//! What a lease says, as DHCP options.

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, DhcpOptions, OptionCode, UnknownOption};
use ipnet::Ipv4Net;

use super::super::NetworkError;
use super::{LEASE, Lease};
use trunkline_fabric::Reach;

/// Options hold no more.
const LONGEST: usize = 255;
/// Options that everybody may define for themselves, as far as KubeVirt passes them on.
const PRIVATE: std::ops::RangeInclusive<u8> = 224..=254;

/// The same in every answer, whatever the client asks for.
pub(super) fn of(lease: &Lease) -> Result<DhcpOptions, NetworkError> {
    let told = &lease.told;
    let mut options = DhcpOptions::new();
    options.insert(DhcpOption::ServerIdentifier(lease.server));
    let seconds = u32::try_from(LEASE.as_secs()).unwrap_or(u32::MAX);
    options.insert(DhcpOption::AddressLeaseTime(seconds));
    options.insert(DhcpOption::SubnetMask(mask(lease)));
    options.insert(DhcpOption::DomainNameServer(told.resolver.v4.clone()));
    let mtu = u16::try_from(told.mtu).unwrap_or(u16::MAX);
    options.insert(DhcpOption::InterfaceMtu(mtu));
    if let Some(router) = lease.router {
        options.insert(DhcpOption::Router(vec![router]));
    }
    if !lease.routes.is_empty() {
        options.insert(DhcpOption::ClasslessStaticRoute(routes(&lease.routes)));
    }
    options.insert(searches(&told.resolver.searches)?);
    options.insert(DhcpOption::Hostname(told.hostname.clone()));
    if let Some(domain) = told.resolver.domain() {
        options.insert(DhcpOption::DomainName(domain.to_owned()));
    }
    custom(&mut options, lease)?;
    Ok(options)
}

fn mask(lease: &Lease) -> Ipv4Addr {
    Ipv4Net::new(lease.address, lease.prefix).map_or(Ipv4Addr::BROADCAST, |net| net.netmask())
}

/// The default route comes last: its gateway may be behind one of the others.
fn routes(routes: &[Reach]) -> Vec<(Ipv4Net, Ipv4Addr)> {
    let (defaults, others): (Vec<&Reach>, Vec<&Reach>) = routes
        .iter()
        .partition(|reach| reach.dest.prefix_len() == 0);
    others
        .into_iter()
        .chain(defaults)
        .map(|reach| (reach.dest, reach.via.unwrap_or(Ipv4Addr::UNSPECIFIED)))
        .collect()
}

/// Uncompressed, which every client understands.
fn searches(domains: &[String]) -> Result<DhcpOption, NetworkError> {
    let mut bytes = Vec::new();
    for domain in domains {
        if !is_domain(domain) {
            return Err(NetworkError::SearchDomain(domain.clone()));
        }
        for label in domain.split('.') {
            bytes.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
    }
    if bytes.len() > LONGEST {
        return Err(NetworkError::SearchDomains(bytes.len()));
    }
    Ok(raw(OptionCode::DomainSearch, bytes))
}

/// Labels of lower-case letters, digits, dashes and underscores, the last of which begins with a letter.
fn is_domain(domain: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let edge = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
        (1..=63).contains(&bytes.len())
            && bytes.iter().all(|byte| inner(*byte) || *byte == b'_')
            && edge(bytes.first())
            && edge(bytes.last())
    };
    let last = domain.rsplit('.').next().unwrap_or_default();
    domain.len() <= 253
        && domain.split('.').all(label)
        && last.starts_with(|first: char| first.is_ascii_lowercase())
}

/// What the machine's object adds.
fn custom(options: &mut DhcpOptions, lease: &Lease) -> Result<(), NetworkError> {
    let own = &lease.told.options;
    let texts = [
        (OptionCode::TFTPServerName, &own.tftp_server_name),
        (OptionCode::BootfileName, &own.boot_file_name),
    ];
    for (code, text) in texts {
        if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
            options.insert(fitting(code, text)?);
        }
    }
    let mut servers: Vec<Ipv4Addr> = Vec::new();
    for server in &own.ntp_servers {
        let refused = |_| NetworkError::NtpServer(server.clone());
        servers.push(server.parse().map_err(refused)?);
    }
    if !servers.is_empty() {
        options.insert(DhcpOption::NtpServers(servers));
    }
    for private in &own.private_options {
        let code = u8::try_from(private.option).unwrap_or_default();
        if PRIVATE.contains(&code) {
            options.insert(fitting(code.into(), &private.value)?);
        }
    }
    Ok(())
}

fn fitting(code: OptionCode, text: &str) -> Result<DhcpOption, NetworkError> {
    if text.len() > LONGEST {
        return Err(NetworkError::LongOption(code.into()));
    }
    Ok(raw(code, text.as_bytes().to_vec()))
}

fn raw(code: OptionCode, bytes: Vec<u8>) -> DhcpOption {
    DhcpOption::Unknown(UnknownOption::new(code, bytes))
}
