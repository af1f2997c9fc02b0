#!/bin/bash
# Stands in for kind: notes how it was called; its nodes are a file that the stand-in for Docker reads.
echo "kind $*" >>"$STANDIN/calls"
verb=$1
while [ $# -gt 0 ]; do
  case $1 in
  --config) config=$2 ;;
  --kubeconfig) kubeconfig=$2 ;;
  esac
  shift
done
case $verb in
create)
  if [ -e "$STANDIN/kind.fails" ]; then
    cat "$STANDIN/kind.fails" >&2
    exit 1
  fi
  cp "$config" "$STANDIN/nodes.json"
  if [ -e "$STANDIN/kind.hangs" ]; then
    touch "$STANDIN/kind.hanging"
    while :; do
      echo " • still at it" || exit 1
      sleep 0.1
    done
  fi
  echo " ✓ Preparing nodes 📦"
  cp "$STANDIN/kubeconfig" "$kubeconfig"
  ;;
delete) rm -f "$STANDIN/nodes.json" ;;
esac
