# Run in a node with bash. NODE: its name; POD_CIDR: its pods' subnet; CLUSTER_CIDR: all pods'; PEERS: a line
# "SUBNET NODE_ADDRESS" for each other node.
set -euo pipefail
ip link set eth0 up
while read -r subnet via; do
  [ -z "$subnet" ] || ip route replace "$subnet" via "$via"
done <<<"$PEERS"

mkdir -p /etc/cni/net.d
cat >/etc/cni/net.d/10-bridge.conflist.new <<CONFLIST
{
  "cniVersion": "0.4.0",
  "name": "bridge",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
      "ipam": {"type": "host-local", "ranges": [[{"subnet": "$POD_CIDR"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
CONFLIST
# containerd reads whatever it finds there, so the file appears whole.
mv /etc/cni/net.d/10-bridge.conflist.new /etc/cni/net.d/10-bridge.conflist

rule=(POSTROUTING -s "$POD_CIDR" ! -d "$CLUSTER_CIDR" -o eth0 -j MASQUERADE)
iptables -t nat -C "${rule[@]}" 2>/dev/null || iptables -t nat -A "${rule[@]}"

systemctl is-active -q kube-proxy || systemd-run -q --unit kube-proxy -p Restart=always \
  /usr/bin/kube-proxy --kubeconfig=/etc/kubernetes/kubelet.conf --proxy-mode=nftables \
  --cluster-cidr="$CLUSTER_CIDR" --hostname-override="$NODE" --conntrack-max-per-core=0
