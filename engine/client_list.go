package engine

// A clientList is a queue of clients in blocks. It may get a million of them at once,
// and whoever adds one is a poller: so nothing is ever copied, and whoever takes them
// does it by the block, which is soon done. The zero list is empty. Its owner has the
// lock.
type clientList struct {
	first, last *clientBlock
	spare       *clientBlock // so that few clients at a time cost no allocation
}

// A clientBlock is 2 KB.
type clientBlock struct {
	next    *clientBlock
	n       int
	clients [254]*Client
}

func (l *clientList) empty() bool { return l.first == nil }

func (l *clientList) add(c *Client) {
	b := l.last
	if b == nil || b.n == len(b.clients) {
		b, l.spare = l.spare, nil
		if b == nil {
			b = new(clientBlock)
		}
		if l.first == nil {
			l.first = b
		} else {
			l.last.next = b
		}
		l.last = b
	}
	b.clients[b.n] = c
	b.n++
}

// take gives back the block that was taken before, if any, and takes the next one,
// nil if there is none.
func (l *clientList) take(done *clientBlock) *clientBlock {
	if done != nil {
		l.spare = done
	}
	b := l.first
	if b != nil {
		if l.first, b.next = b.next, nil; l.first == nil {
			l.last = nil
		}
	}
	return b
}

// each calls f for the clients of b, which may be nil, and leaves b empty.
func (b *clientBlock) each(f func(*Client)) {
	if b == nil {
		return
	}
	for _, c := range b.clients[:b.n] {
		f(c)
	}
	clear(b.clients[:b.n])
	b.n = 0
}
