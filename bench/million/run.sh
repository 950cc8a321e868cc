#!/bin/sh
# A million connections to one server process, in a virtual machine: it needs no
# privileges of its own, whatever the host's limit for descriptors is.
#
#	bench/million/run.sh                      # 20,000 clients, half a minute
#	bench/million/run.sh -n 1000000 -json f   # 14 GiB of memory; 20 minutes and more
#	bench/million/run.sh -h
#
# Files are named from the top of the repository. It needs Go, QEMU (Debian's
# qemu-system-x86, installed here if root runs this), and a kernel: the file KERNEL, or
# Debian's for virtual machines, which is taken out of its package the first time, and
# kept. Both come from the host's package sources.
set -eu
[ "$(uname -m)" = x86_64 ] || { echo "run.sh: want an x86-64 machine, as the guest is one" >&2; exit 1; }
cd "$(dirname "$0")/../.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/carillon-million
mkdir -p "$cache"

if ! command -v qemu-system-x86_64 >/dev/null; then
	[ "$(id -u)" = 0 ] || { echo "run.sh: want qemu-system-x86_64: install Debian's qemu-system-x86" >&2; exit 1; }
	apt-get update -q >&2
	apt-get install -y -q --no-install-recommends qemu-system-x86 >&2
fi

kernel=${KERNEL:-$(find "$cache" -name 'vmlinuz-*' | head -n 1)}
if [ -z "$kernel" ]; then
	package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-.*\)/\1/p' | head -n 1)
	[ -n "$package" ] || { echo "run.sh: no package linux-image-cloud-amd64; try apt-get update, or give a kernel in KERNEL" >&2; exit 1; }
	unpacked=$(mktemp -d -p "$cache")
	(cd "$unpacked" && apt-get download -q "$package" >&2 && dpkg-deb -x *.deb . && mv boot/vmlinuz-* "$cache")
	rm -rf "$unpacked"
	kernel=$(find "$cache" -name 'vmlinuz-*' | head -n 1)
fi

export CGO_ENABLED=0 # there is no C library in the guest
go build -o "$cache/server" ./cmd/server
go build -o "$cache/million" ./bench/million
exec "$cache/million" -kernel "$kernel" -server "$cache/server" "$@"
