package registry_test

import (
	"fmt"

	"carillon/registry"
)

// A conn is a caller's own record, with its place in the registry inside.
type conn struct {
	registry.Member[*conn]
	addr string
}

func newConn(addr string) *conn {
	c := &conn{addr: addr}
	c.Value = c // so that a member found leads back to its connection
	return c
}

func Example() {
	r := registry.New[*conn](1)
	c := newConn("192.0.2.1:4711")
	if err := r.Join(&c.Member, 42, 0, "shop", "vip", "berlin"); err != nil {
		fmt.Println(err)
	}
	fmt.Println(r.Lookup(42).Value.addr)
	for m := range r.Group("shop", "vip").Members(registry.Cursor{}) {
		fmt.Println(m.ID(), m.System(), m.Groups())
	}
	fmt.Println(r.Leave(&c.Member), r.Lookup(42), r.Groups())
	// Output:
	// 192.0.2.1:4711
	// 42 shop [vip berlin]
	// true <nil> 0
}

func ExampleRegistry_Bind() {
	r := registry.New[*conn](1)
	c := newConn("192.0.2.1:4711")
	fmt.Println(r.Bind(&c.Member, "vip"))
	_ = r.Join(&c.Member, 42, 0, "shop")
	fmt.Println(r.Bind(&c.Member, "vip"))
	fmt.Println(r.Bind(&c.Member, "vip"))
	fmt.Println(r.Unbind(&c.Member, "vip"))
	// Output:
	// false registry: member is not live
	// true <nil>
	// false <nil>
	// true <nil>
}

// A page ends with a cursor, and the next page starts after it, whoever came or
// went in between.
func ExampleSet_Members() {
	r := registry.New[int](1)
	for id := range uint64(5) {
		_ = r.Join(new(registry.Member[int]), id, 0, "shop")
	}
	var last string // as a client would send it back
	for {
		after, err := registry.ParseCursor(last)
		if err != nil {
			fmt.Println(err)
			return
		}
		page := 0
		for m := range r.System("shop").Members(after) {
			last = m.Cursor().String()
			if page++; page == 2 {
				break
			}
		}
		fmt.Println("page of", page)
		if page < 2 {
			return
		}
	}
	// Output:
	// page of 2
	// page of 2
	// page of 1
}

// A worker takes its own part of a system, some members at a time, and can do
// something else in between.
func ExampleWalk() {
	const workers = 2
	r := registry.New[int](workers)
	for id := range uint64(1000) {
		_ = r.Join(new(registry.Member[int]), id, int(id)%workers, "shop")
	}
	worker := 1
	walk := r.System("shop").Walk(worker)
	slice := make([]*registry.Member[int], 64)
	sent := 0
	for n := walk.Next(slice); n > 0; n = walk.Next(slice) {
		for range slice[:n] {
			sent++
		}
	}
	fmt.Println(sent)
	// Output: 500
}
