#!/bin/sh
# A million connections to one server process, in a virtual machine: it needs no
# privileges of its own, whatever the host's limit for descriptors is.
#
#	bench/million/run.sh                      # 20,000 clients, half a minute
#	bench/million/run.sh -n 1000000 -json f   # 14 GiB of memory; 20 minutes and more
#	bench/million/run.sh -install             # first get what is missing; as root for QEMU
#	bench/million/run.sh -h
#
# Files are named from the top of the repository. It needs Go, QEMU, and a kernel: the
# file KERNEL, or Debian's for virtual machines. Nothing is installed or fetched unless
# -install asks for it: then QEMU is Debian's qemu-system-x86, and the kernel is taken
# out of its package and kept in the cache, both from the host's package sources.
set -eu
fail() { echo "run.sh: $*" >&2; exit 1; }

install= help=
for arg; do # the others are the program's
	shift
	case $arg in
	-install | --install) install=yes ;;
	-h | -help | --help) help=yes ;;
	*) set -- "$@" "$arg" ;;
	esac
done
if [ "$help" ]; then
	sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
	command -v go >/dev/null || fail "want go: see https://go.dev/dl/"
	cd "$(dirname "$0")/../.."
	exec go run ./bench/million -h
fi

[ "$(uname -m)" = x86_64 ] || fail "want an x86-64 machine, as the guest is one"
cd "$(dirname "$0")/../.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/carillon-million
kernel=${KERNEL:-$(find "$cache" -name 'vmlinuz-*' 2>/dev/null | head -n 1)}

command -v go >/dev/null || fail "want go: see https://go.dev/dl/"
if ! command -v qemu-system-x86_64 >/dev/null; then
	[ "$install" ] || fail "want qemu-system-x86_64: install Debian's qemu-system-x86, or have -install do it, as root"
	[ "$(id -u)" = 0 ] || fail "-install: want root to install qemu-system-x86"
	apt-get update -q >&2
	apt-get install -y -q --no-install-recommends qemu-system-x86 >&2
fi
if [ -z "$kernel" ]; then
	[ "$install" ] || fail "want a kernel: name its file in KERNEL, or have -install fetch Debian's for virtual machines"
	package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-.*\)/\1/p' | head -n 1)
	[ -n "$package" ] || fail "no package linux-image-cloud-amd64; try apt-get update, or give a kernel in KERNEL"
	mkdir -p "$cache"
	unpacked=$(mktemp -d -p "$cache")
	(cd "$unpacked" && apt-get download -q "$package" >&2 && dpkg-deb -x *.deb . && mv boot/vmlinuz-* "$cache")
	rm -rf "$unpacked"
	kernel=$(find "$cache" -name 'vmlinuz-*' | head -n 1)
fi

mkdir -p "$cache"
export CGO_ENABLED=0 # there is no C library in the guest
go build -o "$cache/server" ./cmd/server
go build -o "$cache/million" ./bench/million
exec "$cache/million" -kernel "$kernel" -server "$cache/server" "$@"
