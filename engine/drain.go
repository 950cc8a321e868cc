package engine

import (
	"context"
	"fmt"
	"time"

	"carillon/registry"
)

const (
	// minDrainRate is what any server can take in reconnects a second.
	minDrainRate = 1000
	// reconnectAfter is the time for another server to take over.
	reconnectAfter = time.Second
)

// drain waits for the pushes, then closes the clients at a pace, and waits for
// them to go, all as long as ctx allows.
func (e *Engine) drain(ctx context.Context) error {
	select {
	case <-e.fanout.pushes.idle:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := e.closeAll(ctx, e.drainRate(ctx)); err != nil {
		return err
	}
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for e.open.Load() > 0 { // handshakes under way are not worth the wait
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// drainRate is how many clients to close a second. By default the closing takes
// three quarters of the time there is, so that the last ones have some, too.
func (e *Engine) drainRate(ctx context.Context) float64 {
	if e.opts.DrainRate > 0 {
		return float64(e.opts.DrainRate)
	}
	end, ok := ctx.Deadline()
	if !ok {
		return minDrainRate
	}
	window := max(time.Until(end)*3/4, time.Millisecond)
	return max(minDrainRate, float64(e.reg.Len())/window.Seconds())
}

// closeAll tells the n-th client to come back reconnectAfter and n/rate after the
// beginning, whenever its turn came: so the reconnects are as even as the closes.
func (e *Engine) closeAll(ctx context.Context, rate float64) error {
	start, n := time.Now(), 0
	for m := range e.reg.All().Members(registry.Cursor{}) {
		if n%64 == 0 && ctx.Err() != nil { // also if the closing falls behind its pace
			return ctx.Err()
		}
		turn := start.Add(time.Duration(float64(n) / rate * float64(time.Second)))
		if wait := time.Until(turn); wait > 5*time.Millisecond {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		m.Value.endForShutdown(time.Until(turn) + reconnectAfter)
		n++
	}
	return nil
}

func (c *Client) endForShutdown(reconnect time.Duration) {
	reconnect += time.Millisecond - 1 // rounded up: nobody comes back early
	c.end(CloseShutdown, fmt.Sprintf(`{"reconnect_ms":%d}`, max(0, reconnect.Milliseconds())))
}
