set -euo pipefail
[ "$(sysctl -n net.ipv4.ip_forward)" = 1 ]
# A node without IPv6 in its kernel has nothing to switch on.
[ ! -e /proc/sys/net/ipv6/conf/all/disable_ipv6 ] || [ "$(sysctl -n net.ipv6.conf.all.disable_ipv6)" = 0 ]
