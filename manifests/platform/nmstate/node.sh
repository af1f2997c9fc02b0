# NetworkManager for nmstate, in a node. It must leave every interface alone that nobody handed to it: the node's own
# address, the pods' devices and OVN's.
set -euo pipefail
if ! command -v NetworkManager >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends network-manager >/dev/null
fi
mkdir -p /etc/NetworkManager/conf.d
cat >/etc/NetworkManager/conf.d/10-trunkline.conf <<'CONF'
[main]
no-auto-default=*
dns=none
[keyfile]
unmanaged-devices=interface-name:eth0,interface-name:veth*,interface-name:genev_sys_*,interface-name:ovn-k8s-*,interface-name:breth0,interface-name:br-int
CONF
systemctl enable -q --now NetworkManager
systemctl restart NetworkManager
