set -euo pipefail
[ -s /etc/NetworkManager/conf.d/10-trunkline.conf ]
systemctl is-active -q NetworkManager
