# Succeeds when the node is as install.sh leaves it: neither routes nor the unit survive a restart of the node.
set -euo pipefail
grep -q "\"$POD_CIDR\"" /etc/cni/net.d/10-bridge.conflist
systemctl is-active -q kube-proxy
iptables -t nat -C POSTROUTING -s "$POD_CIDR" ! -d "$CLUSTER_CIDR" -o eth0 -j MASQUERADE
while read -r subnet via; do
  [ -z "$subnet" ] || ip route show exact "$subnet" | grep -qF "via $via "
done <<<"$PEERS"
