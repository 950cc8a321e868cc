package engine

import (
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"syscall"
	"testing"
	"unsafe"

	"github.com/lesismal/nbio"
)

// Connections that the event loop does not take, such as files, are counted out once.
func TestUnwatchable(t *testing.T) {
	e := newEngine(t, Options{MaxPerIP: 100})
	const n = 3
	for range n {
		fd, err := syscall.Open(t.TempDir(), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		e.add(fd, netip.MustParseAddrPort("192.0.2.1:1"))
	}
	eventually(t, "they are refused", func() bool { return e.Stats().Refused[labelUnwatched] == n })
	shutdown(t, e)
	if got := e.conns.Load(); got != 0 {
		t.Errorf("%d sockets are counted", got)
	}
	for ip, count := range e.addrs.byIP {
		if count.open != 0 {
			t.Errorf("%v counts as %+v", ip, count)
		}
	}
	if got := e.Stats().Refused[labelUnwatched]; got != n {
		t.Errorf("%d refused, want %d", got, n)
	}
}

// A connection that newConn makes is what nbio makes of a net.Conn, but for the
// addresses.
func TestNewConnIsNBIOs(t *testing.T) {
	e := newEngine(t, Options{})
	conn, err := net.Dial("tcp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := nbio.NBConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours := newConn(theirs.Hash())
	type fields [unsafe.Sizeof(*ours)]byte
	got, want := *(*fields)(unsafe.Pointer(ours)), *(*fields)(unsafe.Pointer(theirs))
	for _, addr := range []string{"lAddr", "rAddr"} {
		f, ok := reflect.TypeFor[nbio.Conn]().FieldByName(addr)
		if !ok {
			t.Fatalf("nbio.Conn has no %s", addr)
		}
		clear(want[f.Offset:][:f.Type.Size()])
	}
	if got != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// The peer's address is what the kernel says, over IPv6 too, and IPv4 stays IPv4.
func TestPeerAddr(t *testing.T) {
	for _, tt := range []struct{ listen, dial string }{{"[::]:0", "127.0.0.1"}, {"[::1]:0", "::1"}, {"127.0.0.1:0", "127.0.0.1"}} {
		if ln, err := net.Listen("tcp", tt.listen); err != nil {
			t.Logf("%s is not here: %v", tt.listen, err)
			continue
		} else {
			ln.Close()
		}
		seen := make(chan net.Addr, 1)
		e := newEngine(t, Options{Addr: tt.listen, OnOpen: func(c *Client) { seen <- c.RemoteAddr() }})
		conn, err := net.Dial("tcp", net.JoinHostPort(tt.dial, fmt.Sprint(e.Addr().(*net.TCPAddr).Port)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, upgrade, "system_id=1")
		if got := <-seen; got.String() != conn.LocalAddr().String() {
			t.Errorf("listening at %s: %v, want %v", tt.listen, got, conn.LocalAddr())
		}
	}
}

// What Go sets for a connection that it accepts is set, and closed on exec is one
// of TestSocketsAreNotInherited.
func TestAcceptedSocket(t *testing.T) {
	e := newEngine(t, Options{})
	p := dial(t, e, "system_id=1")
	c, _ := e.Client(p.id)
	fd := c.nc.Hash()
	if on, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY); err != nil || on == 0 {
		t.Errorf("TCP_NODELAY: %d, %v", on, err)
	}
	if on, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE); err != nil || on != 0 {
		t.Errorf("SO_KEEPALIVE: %d, %v", on, err)
	}
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFL, 0)
	if errno != 0 || flags&syscall.O_NONBLOCK == 0 {
		t.Errorf("flags %#x, %v: want O_NONBLOCK", flags, errno)
	}
}
