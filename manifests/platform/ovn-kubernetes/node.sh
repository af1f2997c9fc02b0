# OVN-Kubernetes forwards between its bridges and moves the node's addresses; Docker turns IPv6 off in its containers,
# and a move then loses the link-local address.
set -euo pipefail
sysctl -q --ignore -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.all.forwarding=1 net.ipv4.ip_forward=1
