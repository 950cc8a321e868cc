package engine

import (
	"errors"
	"reflect"
	"unsafe"

	"github.com/lesismal/nbio"
)

// nbio makes a connection of a net.Conn only: it duplicates the descriptor and
// closes the original, and keeps two addresses. That is half of the system calls of
// a connect, and 160 bytes of every idle client. newConn fills in what of
// nbio.Conn describes the descriptor, in the two fields that are not exported; a
// test holds nbio to them.

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
)

// checkConn reports whether nbio.Conn is as newConn assumes.
func checkConn() error {
	if connFD.Type != reflect.TypeFor[int]() || connTyp.Type != reflect.TypeFor[nbio.ConnType]() {
		return errors.New("engine: this release of nbio keeps its descriptors elsewhere: want v1.6.12, as in go.mod")
	}
	return nil
}
