package main

// defaultSources are few enough for every machine, and so many that no address uses
// more than a third of its 28,000 ports: then finding a free one is quick.
func defaultSources(conns int) int { return max(16, conns/10_000) }
