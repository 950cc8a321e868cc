package registry

import (
	"encoding/binary"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"
)

// A grouped is a structure under measurement that has what a server needs: the
// clients by id, those of its one system, and those of each group.
type grouped interface {
	load(records []*record, groups func(i int) []string) // joins them all
	join(c *record, groups []string)
	leave(c *record, groups []string)
	get(id uint64) *record
	walk(group string) int // visits every record and returns how many there are
}

var allGrouped = []struct {
	name string
	make func() grouped
}{
	{"Registry", func() grouped { return registeredGroups{New[*record](benchOwners)} }},
	{"RWMutex+map", newMapGroups},
	{"sync.Map", newSyncMapGroups},
	{"persistent B-tree", newBTreeGroups},
}

type registeredGroups struct{ r *Registry[*record] }

func (x registeredGroups) load(records []*record, groups func(i int) []string) {
	joinAll(x, records, groups)
}

func (x registeredGroups) join(c *record, groups []string) {
	if err := x.r.Join(&c.Member, c.id, int(c.id>>12)%benchOwners, "system", groups...); err != nil {
		panic(err)
	}
}

func (x registeredGroups) leave(c *record, _ []string) {
	if !x.r.Leave(&c.Member) {
		panic("not there")
	}
}

func (x registeredGroups) get(id uint64) *record { return registered(x).get(id) }

func (x registeredGroups) walk(group string) int {
	return registered(x).walkSet(x.r.Group("system", group))
}

// joinAll is load for all to which it makes no difference.
func joinAll(x grouped, records []*record, groups func(i int) []string) {
	for i, c := range records {
		x.join(c, groups(i))
	}
}

// mapGroups is Go maps under one lock, which readers share.
type mapGroups struct {
	sync.RWMutex
	ids, system map[uint64]*record
	groups      map[string]map[uint64]*record
}

func newMapGroups() grouped {
	return &mapGroups{
		ids: make(map[uint64]*record), system: make(map[uint64]*record), groups: make(map[string]map[uint64]*record),
	}
}

func (x *mapGroups) load(records []*record, groups func(i int) []string) { joinAll(x, records, groups) }

func (x *mapGroups) join(c *record, groups []string) {
	x.Lock()
	defer x.Unlock()
	x.ids[c.id], x.system[c.id] = c, c
	for _, name := range groups {
		g := x.groups[name]
		if g == nil {
			g = make(map[uint64]*record)
			x.groups[name] = g
		}
		g[c.id] = c
	}
}

func (x *mapGroups) leave(c *record, groups []string) {
	x.Lock()
	defer x.Unlock()
	for _, name := range groups {
		g := x.groups[name]
		delete(g, c.id)
		if len(g) == 0 {
			delete(x.groups, name)
		}
	}
	delete(x.system, c.id)
	delete(x.ids, c.id)
}

func (x *mapGroups) get(id uint64) *record {
	x.RLock()
	defer x.RUnlock()
	return x.ids[id]
}

func (x *mapGroups) walk(group string) (n int) {
	x.RLock()
	defer x.RUnlock()
	for _, c := range x.groups[group] {
		if c.id != 0 {
			n++
		}
	}
	return n
}

// syncMapGroups is sync.Maps. A group stays when it is empty: to take it out
// needs a lock.
type syncMapGroups struct {
	ids, system syncMap
	groups      sync.Map // *syncMap by name
}

func newSyncMapGroups() grouped { return new(syncMapGroups) }

func (x *syncMapGroups) load(records []*record, groups func(i int) []string) {
	joinAll(x, records, groups)
}

func (x *syncMapGroups) join(c *record, groups []string) {
	x.ids.put(c)
	x.system.put(c)
	for _, name := range groups {
		g, ok := x.groups.Load(name)
		if !ok {
			g, _ = x.groups.LoadOrStore(name, new(syncMap))
		}
		g.(*syncMap).put(c)
	}
}

func (x *syncMapGroups) leave(c *record, groups []string) {
	for _, name := range groups {
		if g, ok := x.groups.Load(name); ok {
			g.(*syncMap).del(c)
		}
	}
	x.system.del(c)
	x.ids.del(c)
}

func (x *syncMapGroups) get(id uint64) *record { return x.ids.get(id) }

func (x *syncMapGroups) walk(group string) int {
	if g, ok := x.groups.Load(group); ok {
		return g.(*syncMap).walk()
	}
	return 0
}

// bTreeGroups is persistent B-trees, published together. The one for all groups
// is ordered by name and id.
type bTreeGroups struct {
	mu      sync.Mutex
	current atomic.Pointer[bTreeVersion]
}

type bTreeVersion struct {
	ids, system *btree.Map[uint64, *record]
	groups      *btree.Map[string, *record]
}

func newBTreeGroups() grouped {
	x := new(bTreeGroups)
	x.current.Store(&bTreeVersion{
		new(btree.Map[uint64, *record]), new(btree.Map[uint64, *record]), new(btree.Map[string, *record]),
	})
	return x
}

// inGroup returns the key of a client in a group.
func inGroup(group string, id uint64) string {
	return string(binary.BigEndian.AppendUint64(append([]byte(group), 0), id))
}

func (x *bTreeGroups) change(f func(*bTreeVersion)) {
	x.mu.Lock()
	v := x.current.Load()
	next := &bTreeVersion{v.ids.Copy(), v.system.Copy(), v.groups.Copy()}
	f(next)
	x.current.Store(next)
	x.mu.Unlock()
}

func (v *bTreeVersion) join(c *record, groups []string) {
	v.ids.Set(c.id, c)
	v.system.Set(c.id, c)
	for _, name := range groups {
		v.groups.Set(inGroup(name, c.id), c)
	}
}

func (x *bTreeGroups) join(c *record, groups []string) {
	x.change(func(v *bTreeVersion) { v.join(c, groups) })
}

// load makes one version of it, because a version for each takes minutes.
func (x *bTreeGroups) load(records []*record, groups func(i int) []string) {
	x.change(func(v *bTreeVersion) {
		for i, c := range records {
			v.join(c, groups(i))
		}
	})
}

func (x *bTreeGroups) leave(c *record, groups []string) {
	x.change(func(v *bTreeVersion) {
		for _, name := range groups {
			v.groups.Delete(inGroup(name, c.id))
		}
		v.system.Delete(c.id)
		v.ids.Delete(c.id)
	})
}

func (x *bTreeGroups) get(id uint64) *record {
	c, _ := x.current.Load().ids.Get(id)
	return c
}

func (x *bTreeGroups) walk(group string) (n int) {
	x.current.Load().groups.Ascend(group+"\x00", func(key string, c *record) bool {
		if !strings.HasPrefix(key, group) || key[len(group)] != 0 {
			return false
		}
		if c.id != 0 {
			n++
		}
		return true
	})
	return n
}
