// Package registry indexes the clients of a server by id, by system and by
// group within a system, for a million clients that come and go while messages
// are fanned out to them.
//
// A [Registry] holds one [Member] per client. Join, Leave, Bind and Unbind
// change it; Lookup, the sets All, System and Group, and the walks over them
// read it. A [Set] is read as a sequence ([Set.Members], which can start after a
// [Cursor]) or in slices by the fan-out worker that owns a part of it
// ([Set.Walk]).
//
// # Concurrency
//
// Every method may be called from any goroutine, except that a [Walk] belongs to
// one goroutine at a time. Readers make atomic loads only: they take no lock, do
// not allocate (but for a walk of all where pages are behind pages, see below), and
// never wait for a writer. Writers copy the small piece of a list that they change
// and publish it with an atomic store; in the index of ids they store a member in
// its slot.
//
// A client appears and disappears as a whole. Join puts the member into every
// index while its state is "joining", which readers skip, and then flips it to
// "live"; Leave flips it to "gone" before it takes it out. The flip is the one
// moment at which all readers, in all indexes, begin or cease to see it:
//
//	unused ─▶ claimed ─▶ joining ─▶ live ─▶ gone
//	         (fields     (enters    (seen)  (leaves
//	          written)    indexes)           indexes)
//
// What the caller wrote to its record before Join is visible to every reader
// that obtains the member.
//
// # Structure
//
// There are two structures, both extendible hash tables. A table, for the members of
// a list and for the names of lists, has immutable leaves in the order of a 64-bit
// key, which is good for walks and takes little for a list of three. An idTable, for
// the ids, has pages of cache lines that are changed in place, which is good for
// lookups and leaves no garbage. There are 256 tables of ids, 256 of systems, 256 of
// groups, and one for the members of each system and each group. The file key.go says
// what the keys are.
//
//	Registry ─┬─ ids     [256]idTable ─▶ Member
//	          ├─ systems [256]table ─▶ list ── table ─▶ Member
//	          └─ groups  [256]table ─▶ list ── table ─▶ Member
//
// # Lock order
//
// member lock ▶ list lock. Both come in 256 stripes, chosen by the top byte of a
// hash; no call holds two stripes of the same kind.
//
//   - A member lock guards one of the tables of ids, and the state and group
//     memberships of the members in it.
//   - A list lock guards one of the tables of systems and of groups, and the
//     members of every list in those two tables.
//
// Work under a lock is a copy of one leaf, at most 448 bytes, or now and then of one
// page to two or of two to one, 1 KiB each. Only a directory that doubles or halves
// costs more: a copy of at most 4,096 entries, which takes about a tenth of a
// millisecond. A table that needs more has directories below directories, and an
// idTable, at some 60 million members in all, pages behind pages, so that the longest
// wait for a lock does not grow with them. Such pages are not merged before they are
// empty.
package registry
