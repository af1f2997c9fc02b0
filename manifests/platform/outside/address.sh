# In the network namespace of a host outside: gives it ADDRESS, on VLAN when that is not 0.
# Ends with 33 when the kernel has no VLAN devices.
set -eu
device=eth0
if [ "$VLAN" != 0 ]; then
  device=eth0.$VLAN
  if ! said=$(LC_ALL=C ip link add link eth0 name "$device" type vlan id "$VLAN" 2>&1); then
    case $said in
    *"Unknown device type"* | *"not supported"*) exit 33 ;;
    esac
    echo "$said" >&2
    exit 1
  fi
  ip link set "$device" up
fi
ip address add "$ADDRESS" dev "$device"
