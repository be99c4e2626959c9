//! Addresses of the node's interfaces and the interface of the default route.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address of an interface that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkAddress {
    /// Interface.
    pub interface: String,
    /// Address.
    pub ip: IpAddr,
}

const ROUTE_UP: u32 = 1;

/// Interface of the default route with the lowest metric, of the text of `/proc/net/route`.
pub(super) fn default_interface(routes: &str) -> Option<String> {
    let default = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [interface, destination, _, flags, _, _, metric, mask, ..] = fields[..] else { return None };
        let up = u32::from_str_radix(flags, 16).ok()? & ROUTE_UP != 0;
        let is_default = up && destination == "00000000" && mask == "00000000";
        is_default.then_some((metric.parse::<u32>().ok()?, interface.to_owned()))
    };
    routes
        .lines()
        .skip(1)
        .filter_map(default)
        .min_by_key(|(metric, _)| *metric)
        .map(|(_, interface)| interface)
}

/// The node's address when none is configured: IPv4 before IPv6, the interface of the default route before others; never
/// a loopback or link-local one.
pub fn node_ip_guess(default_interface: Option<&str>, addresses: &[NetworkAddress]) -> Option<IpAddr> {
    let usable = |address: &&NetworkAddress| match address.ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unspecified(),
    };
    let rank = |address: &&NetworkAddress| {
        (default_interface != Some(address.interface.as_str()), !address.ip.is_ipv4())
    };
    addresses.iter().filter(usable).min_by_key(rank).map(|address| address.ip)
}

/// Addresses of the interfaces that are up; none when the system does not tell.
#[allow(unsafe_code)]
pub(super) fn addresses() -> Vec<NetworkAddress> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: getifaddrs stores a list of its own in `list`; it is read only after success and freed once below.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut next = list;
    // SAFETY: `next` is null or an element of the list, which lives until freeifaddrs.
    while let Some(element) = unsafe { next.as_ref() } {
        let is_up = element.ifa_flags & u32::try_from(libc::IFF_UP).unwrap_or_default() != 0;
        // SAFETY: ifa_addr is null or points to an address of the list.
        if let (true, Some(ip)) = (is_up, unsafe { ip_of(element.ifa_addr) }) {
            // SAFETY: ifa_name is a string of the list, ended by a zero byte.
            let name = unsafe { std::ffi::CStr::from_ptr(element.ifa_name) };
            found.push(NetworkAddress { interface: name.to_string_lossy().into_owned(), ip });
        }
        next = element.ifa_next;
    }
    // SAFETY: `list` came from getifaddrs and nothing borrowed from it is left.
    unsafe { libc::freeifaddrs(list) };
    found
}

/// IP address of a socket address of the Internet families.
///
/// # Safety
/// `address` is null or points to a socket address as large as its family needs.
#[allow(unsafe_code)]
unsafe fn ip_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller guarantees a socket address, so its family can be read, and for these families an address of the
    // matching type is there; it is read without assuming its alignment.
    unsafe {
        match i32::from(address.as_ref()?.sa_family) {
            libc::AF_INET => {
                let v4 = address.cast::<libc::sockaddr_in>().read_unaligned();
                Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
            }
            libc::AF_INET6 => {
                let v6 = address.cast::<libc::sockaddr_in6>().read_unaligned();
                Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_with_the_lowest_metric_counts() {
        let routes = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
            wlan0 00000000 0100A8C0 0003 0 0 600 00000000 0 0 0\n\
            eth0 00000000 010200C0 0003 0 0 100 00000000 0 0 0\n\
            eth1 00000000 010200C0 0002 0 0 0 00000000 0 0 0\n\
            eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n";
        assert_eq!(default_interface(routes).as_deref(), Some("eth0"));
        assert_eq!(default_interface(""), None);
    }

    #[test]
    fn the_guess_prefers_ipv4_of_the_default_interface() {
        let address = |interface: &str, ip: &str| NetworkAddress {
            interface: interface.into(),
            ip: ip.parse().unwrap(),
        };
        let all = [
            address("lo", "127.0.0.1"),
            address("lo", "::1"),
            address("br0", "10.88.0.1"),
            address("eth0", "fe80::1"),
            address("eth0", "2001:db8::1"),
            address("eth0", "192.0.2.16"),
        ];
        let guess =
            |interface, list: &[NetworkAddress]| node_ip_guess(interface, list).map(|ip| ip.to_string());
        assert_eq!(guess(Some("eth0"), &all).as_deref(), Some("192.0.2.16"));
        assert_eq!(guess(Some("eth0"), &all[..5]).as_deref(), Some("2001:db8::1"));
        assert_eq!(guess(None, &all).as_deref(), Some("10.88.0.1"));
        assert_eq!(guess(Some("eth0"), &all[..2]), None);
    }

    #[test]
    fn this_node_has_a_loopback() {
        assert!(addresses().iter().any(|address| address.ip.is_loopback()));
    }
}
