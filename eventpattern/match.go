package eventpattern

import "sync"

// readings are kept for reuse: reading an event allocates nothing once its memory has grown.
var readings = sync.Pool{New: func() any { return new(reading) }}

// maxKeptEntries is how much of anything a reading may hold on to for the next event: what was grown for a huge event is let go.
const maxKeptEntries = 1 << 15

func takeReading() *reading { return readings.Get().(*reading) }

func (r *reading) release() {
	r.data = nil
	c := &r.consistency
	for _, entries := range []int{cap(r.text) / 64, cap(r.values), cap(r.frames), cap(r.keys), cap(c.spots), cap(c.groups), cap(c.masks), cap(c.offers)} {
		if entries > maxKeptEntries {
			return
		}
	}
	clear(r.values) // they point into the event
	readings.Put(r)
}

// verdict is what is known of one leaf of a pattern for one event.
type verdict uint8

const (
	unknown   verdict = iota
	refused           // no value satisfies it
	anywhere          // satisfied, whatever the other fields need
	somewhere         // satisfied only by values inside array elements
)

// matches reports whether the event that was read matches a pattern, whose paths have the given numbers in this reading.
func (r *reading) matches(p *Pattern, paths []int32) bool {
	if len(r.verdicts) < len(p.leaves) {
		r.verdicts = make([]verdict, len(p.leaves))
	}
	verdicts := r.verdicts[:len(p.leaves)]
	clear(verdicts)
	for _, branch := range p.branches {
		if r.matchesBranch(p, paths, branch, verdicts) {
			return true
		}
	}
	return false
}

func (r *reading) matchesBranch(p *Pattern, paths []int32, branch []int32, verdicts []verdict) bool {
	inElements := 0
	for _, i := range branch {
		if verdicts[i] == unknown {
			leaf := &p.leaves[i]
			verdicts[i] = r.judge(leaf, paths[leaf.path])
		}
		switch verdicts[i] {
		case refused:
			return false
		case somewhere:
			inElements++
		}
	}
	if inElements < 2 {
		return true
	}
	c := &r.consistency
	c.start(r.frames, inElements)
	bit := 0
	for _, i := range branch {
		if verdicts[i] != somewhere {
			continue
		}
		leaf := &p.leaves[i]
		for at := r.first[paths[leaf.path]]; at != none; at = r.values[at].next {
			if v := &r.values[at]; leaf.accepts(v) {
				c.offer(bit, v.frame)
			}
		}
		bit++
	}
	return c.possible()
}

func (r *reading) judge(l *leaf, path int32) verdict {
	at := r.first[path]
	if at == none {
		if l.absent {
			return anywhere
		}
		return refused
	}
	result := refused
	for ; at != none; at = r.values[at].next {
		v := &r.values[at]
		if !l.accepts(v) {
			continue
		}
		if v.frame == 0 {
			return anywhere
		}
		result = somewhere
	}
	return result
}
