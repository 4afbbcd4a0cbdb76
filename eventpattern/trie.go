package eventpattern

import (
	"iter"
	"math/bits"
)

// trie maps 64-bit keys to values. A trie never changes: with and without return another that shares nearly all of this one,
// so that readers go on with the one they have while a writer makes the next. Keys should be well mixed, as hashes are.
type trie[V any] struct{ root *trieNode[V] }

const trieBits = 5 // of the key, a level

// trieNode holds the slots of one level that are in use, in order.
type trieNode[V any] struct {
	used  uint32
	slots []trieSlot[V]
}

// trieSlot is an entry, or a node one level down.
type trieSlot[V any] struct {
	key   uint64
	value V
	below *trieNode[V]
}

func (n *trieNode[V]) find(key uint64, shift uint) (index int, bit uint32, used bool) {
	bit = 1 << (key >> shift & (1<<trieBits - 1))
	return bits.OnesCount32(n.used & (bit - 1)), bit, n.used&bit != 0
}

func (t trie[V]) get(key uint64) (V, bool) {
	var none V
	n := t.root
	for shift := uint(0); n != nil; shift += trieBits {
		i, _, used := n.find(key, shift)
		if !used {
			return none, false
		}
		slot := &n.slots[i]
		if slot.below == nil {
			if slot.key != key {
				return none, false
			}
			return slot.value, true
		}
		n = slot.below
	}
	return none, false
}

func (t trie[V]) with(key uint64, value V) trie[V] {
	if t.root == nil {
		t.root = &trieNode[V]{}
	}
	return trie[V]{t.root.with(trieSlot[V]{key: key, value: value}, 0)}
}

func (n *trieNode[V]) with(entry trieSlot[V], shift uint) *trieNode[V] {
	i, bit, used := n.find(entry.key, shift)
	if !used {
		slots := make([]trieSlot[V], len(n.slots)+1)
		copy(slots, n.slots[:i])
		slots[i] = entry
		copy(slots[i+1:], n.slots[i:])
		return &trieNode[V]{n.used | bit, slots}
	}
	changed := &trieNode[V]{n.used, append([]trieSlot[V](nil), n.slots...)}
	old := changed.slots[i]
	switch {
	case old.below != nil:
		changed.slots[i].below = old.below.with(entry, shift+trieBits)
	case old.key == entry.key:
		changed.slots[i] = entry
	default:
		below := (&trieNode[V]{}).with(old, shift+trieBits).with(entry, shift+trieBits)
		changed.slots[i] = trieSlot[V]{below: below}
	}
	return changed
}

func (t trie[V]) without(key uint64) trie[V] {
	if t.root == nil {
		return t
	}
	return trie[V]{t.root.without(key, 0)}
}

// without returns nil when nothing is left.
func (n *trieNode[V]) without(key uint64, shift uint) *trieNode[V] {
	i, bit, used := n.find(key, shift)
	if !used {
		return n
	}
	slot := n.slots[i]
	if slot.below != nil {
		below := slot.below.without(key, shift+trieBits)
		if below == slot.below {
			return n
		}
		if below != nil {
			changed := &trieNode[V]{n.used, append([]trieSlot[V](nil), n.slots...)}
			changed.slots[i].below = below
			if len(below.slots) == 1 && below.slots[0].below == nil { // an entry alone moves up
				changed.slots[i] = below.slots[0]
			}
			return changed
		}
	} else if slot.key != key {
		return n
	}
	if len(n.slots) == 1 {
		return nil
	}
	slots := make([]trieSlot[V], 0, len(n.slots)-1)
	slots = append(append(slots, n.slots[:i]...), n.slots[i+1:]...)
	return &trieNode[V]{n.used &^ bit, slots}
}

// all yields every value, in no order that means anything.
func (t trie[V]) all() iter.Seq[V] {
	return func(yield func(V) bool) { t.root.each(yield) }
}

func (n *trieNode[V]) each(yield func(V) bool) bool {
	if n == nil {
		return true
	}
	for i := range n.slots {
		slot := &n.slots[i]
		if slot.below != nil {
			if !slot.below.each(yield) {
				return false
			}
			continue
		}
		if !yield(slot.value) {
			return false
		}
	}
	return true
}

// mixed spreads a number over all 64 bits; different numbers stay different.
func mixed(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
