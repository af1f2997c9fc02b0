# In the network namespace of a host outside, on a kernel without VLAN devices: a switch in user space with eth0 as its
# trunk, the host's own address on its local port, and ADDRESS on a port that is tagged VLAN. Stays as long as the host.
set -eu
export OVS_RUNDIR=/run/openvswitch
mkdir -p "$OVS_RUNDIR" /var/log/openvswitch
db=$OVS_RUNDIR/conf.db
ovsdb-tool create "$db" /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server --remote=punix:"$OVS_RUNDIR/db.sock" --pidfile --detach "$db"
ovs-vsctl --no-wait init
# Containers hand over packets whose checksums are still to be filled in; with this the switch knows about it.
ovs-vsctl --no-wait set Open_vSwitch . other_config:userspace-tso-enable=true
ovs-vswitchd --pidfile --detach

read -r _ _ own _ < <(ip -brief -4 address show dev eth0)
gateway=$(ip -4 route show default | awk '{print $3; exit}')
mac=$(cat /sys/class/net/eth0/address)
ovs-vsctl \
  -- add-br out -- set bridge out datapath_type=netdev other_config:hwaddr="$mac" \
  -- add-port out eth0 \
  -- add-port out "vlan$VLAN" tag="$VLAN" -- set interface "vlan$VLAN" type=internal
ip address flush dev eth0
ip link set out up
ip address add "$own" dev out
[ -z "$gateway" ] || ip route replace default via "$gateway"
ip link set "vlan$VLAN" up
ip address add "$ADDRESS" dev "vlan$VLAN"
echo "the port is up"
# Its end is the switch's end.
exec tail --pid="$(cat "$OVS_RUNDIR/ovs-vswitchd.pid")" --follow /dev/null
