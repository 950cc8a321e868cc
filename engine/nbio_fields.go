//go:build unix

package engine

import (
	"errors"
	"reflect"
	"unsafe"

	"github.com/lesismal/nbio"
)

// What nbio does not offer is reached through three of its fields that are not
// exported, here and nowhere else; tests hold nbio to them.
//
//   - fd and typ make a connection of a descriptor. nbio makes one of a net.Conn only:
//     it duplicates the descriptor and closes the original, and keeps two addresses.
//     That is half of the system calls of a connect, and 160 bytes of every idle client.
//   - the descriptor of the poller's epoll or kqueue. nbio has it watch each connection
//     for good, also for the peer's FIN, at which it closes whatever is still to be
//     read. With it a connection is watched for bytes alone, for nothing while these
//     must wait, and no longer when it goes to net/http.

// newConn makes a connection of a stream socket, which is not blocking and closed on
// exec. The descriptor is nbio's from here on. Its addresses are nil.
func newConn(fd int) *nbio.Conn {
	nc := new(nbio.Conn)
	*(*int)(unsafe.Add(unsafe.Pointer(nc), connFD.Offset)) = fd
	*(*nbio.ConnType)(unsafe.Add(unsafe.Pointer(nc), connTyp.Offset)) = nbio.ConnTypeTCP
	return nc
}

var (
	connFD, _  = reflect.TypeFor[nbio.Conn]().FieldByName("fd")
	connTyp, _ = reflect.TypeFor[nbio.Conn]().FieldByName("typ")
	connP, _   = reflect.TypeFor[nbio.Conn]().FieldByName("p")
)

var errNBIO = errors.New("engine: this release of nbio keeps its descriptors elsewhere: want v1.6.12, as in go.mod")

// checkConn reports whether nbio's structs are as they are used here.
func checkConn() error {
	if connFD.Type != reflect.TypeFor[int]() || connTyp.Type != reflect.TypeFor[nbio.ConnType]() ||
		connP.Type == nil || connP.Type.Kind() != reflect.Pointer {
		return errNBIO
	}
	if fd, ok := connP.Type.Elem().FieldByName(pollerField); !ok || fd.Type.Kind() != reflect.Int {
		return errNBIO
	}
	return nil
}

// pollerFD is the descriptor of the epoll or kqueue that watches nc, after AddConn.
func pollerFD(nc *nbio.Conn) int {
	return int(reflect.ValueOf(nc).Elem().FieldByIndex(connP.Index).Elem().FieldByName(pollerField).Int())
}
