package ws

// maxPayload is the most that the frames of one message may carry.
func (d *Decoder) maxPayload(compressed bool) int64 { return d.limit() }

func (d *Decoder) inflate(ev Event) (Event, error) { return ev, nil }
