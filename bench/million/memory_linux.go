package main

import (
	"fmt"
	"time"

	"carillon/bench/machine"
)

// stages are samples of the guest, from the first process of it.
type stages struct {
	server int // its process ID
	began  time.Time
	list   []stage
}

func (q *stages) add(name string) {
	const clients = 1
	m := machine.Memory()
	server, loader := machine.Process(q.server, false), machine.Process(clients, false)
	q.list = append(q.list, stage{
		Name: name, Seconds: time.Since(q.began).Seconds(),
		ServerRSS: server.RSS, ClientRSS: loader.RSS,
		Kernel:    m["MemTotal"] - m["MemFree"] - m["AnonPages"] - m["Cached"] - m["Buffers"],
		ServerCPU: server.CPU.Seconds(), ClientCPU: loader.CPU.Seconds(),
	})
	s := q.list[len(q.list)-1]
	fmt.Printf("%4.0f s: %s: server %d MB, clients %d MB, kernel %d MB\n", s.Seconds, name, s.ServerRSS>>20, s.ClientRSS>>20, s.Kernel>>20)
}

// perClient compares the first stage with the second, n clients later.
func (q *stages) perClient(n int) (none bytesByClient) {
	if len(q.list) < 2 {
		return none
	}
	a, b := q.list[0], q.list[1]
	each := func(before, after int64) float64 { return float64((after - before) / int64(n)) }
	return bytesByClient{each(a.ServerRSS, b.ServerRSS), each(a.ClientRSS, b.ClientRSS), each(a.Kernel, b.Kernel)}
}

func thisGuest() guest {
	m := machine.This()
	return guest{Kernel: m.Kernel, CPU: m.Model, CPUs: guestCPUs, Memory: m.Memory} // the process may use one of the CPUs
}
