// Command million connects a million clients to one server process, on a machine
// whose processes may not have that many descriptors: it boots a kernel of its own,
// where they may, in QEMU. It keeps them connected, pushes one message to all of
// them, pings the server from each of them, and writes what that took as JSON.
// bench/million/run.sh builds and runs it, and with -install gets what it needs; see there.
//
// The program is both sides. On the host (boot_linux.go) it packs itself and the
// server into an initial file system, starts QEMU, and waits for a line with the
// result on the guest's console. In the guest (init_linux.go) it is the first
// process: it sets what a million connections need, starts the server, and becomes
// the clients (load_linux.go). Server and clients have a CPU each.
package main
