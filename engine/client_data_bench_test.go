package engine

import (
	"runtime"
	"sync"
	"testing"
)

// BenchmarkClientData is what it takes to keep a value with each client, and to find it:
// in the client, and in tables of the embedding program's own. One op is a look.
func BenchmarkClientData(b *testing.B) {
	const n = 100_000
	value := any("ann")
	for _, tt := range []struct {
		name string
		make func() (set func(*Client), get func(*Client) any)
	}{
		{"field", func() (func(*Client), func(*Client) any) {
			return func(c *Client) { c.SetData(value) }, (*Client).Data
		}},
		{"RWMutex+map", func() (func(*Client), func(*Client) any) {
			var mu sync.RWMutex
			table := map[*Client]any{}
			return func(c *Client) {
					mu.Lock()
					table[c] = value
					mu.Unlock()
				}, func(c *Client) any {
					mu.RLock()
					defer mu.RUnlock()
					return table[c]
				}
		}},
		{"sync.Map", func() (func(*Client), func(*Client) any) {
			var table sync.Map
			return func(c *Client) { table.Store(c, value) }, func(c *Client) any {
				v, _ := table.Load(c)
				return v
			}
		}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			clients := make([]*Client, n)
			for i := range clients {
				clients[i] = new(Client)
			}
			set, get := tt.make()
			before := memoryHeld()
			for _, c := range clients {
				set(c)
			}
			each := float64(memoryHeld()-before) / n
			b.ResetTimer()
			for i := range b.N {
				if get(clients[i*7919%n]) == nil {
					b.Fatal("it is gone")
				}
			}
			if tt.name == "field" {
				each += 8 // the place
			}
			b.ReportMetric(each, "B/client")
			runtime.KeepAlive(clients)
		})
	}
}
