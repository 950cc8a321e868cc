//go:build !linux

package main

import (
	"errors"
	"net"
)

func startFloor(net.Listener, bool) (stop func(), err error) {
	return nil, errors.New("the floor is written for epoll: want Linux")
}
