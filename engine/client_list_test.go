package engine

import "testing"

// Clients come out in their order, whatever is taken in between, and a list that is
// emptied each time does not allocate.
func TestClientList(t *testing.T) {
	var l clientList
	var block *clientBlock
	added, taken := uint32(0), uint32(0)
	take := func() {
		block = l.take(block)
		block.each(func(c *Client) {
			if c.due != taken {
				t.Fatalf("client %d comes in the place of %d", c.due, taken)
			}
			taken++
		})
	}
	for n := range 20 {
		for range n * 100 {
			l.add(&Client{due: added})
			added++
		}
		if take(); n%3 == 0 {
			take()
		}
	}
	for !l.empty() {
		take()
	}
	if taken != added {
		t.Errorf("%d of %d clients came out", taken, added)
	}
	for _, c := range block.clients {
		if c != nil {
			t.Fatal("a client is kept in a block that is done")
		}
	}
	c := new(Client)
	if allocs := testing.AllocsPerRun(100, func() {
		l.add(c)
		block = l.take(block)
		block.each(func(*Client) {})
	}); allocs > 0 {
		t.Errorf("%v allocations a client", allocs)
	}
}
