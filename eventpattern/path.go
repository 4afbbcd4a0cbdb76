package eventpattern

import (
	"hash/maphash"
	"strings"
)

// hashSeed makes the hashes of this process unlike those of any other, so that no one can prepare names or values that collide.
var hashSeed = maphash.MakeSeed()

// noPath is the number of a node that is only on the way to others.
const noPath = -1

// fewChildren is up to how many names under a node are searched one by one.
const fewChildren = 8

// pathNode is a node in the tree of names that patterns ask for. Nodes are never changed once others can see them: with and without
// return a changed copy that shares what is unchanged.
//
// A dot in a name separates steps, in patterns and in events alike: the key "a.b" is the same path as "b" inside "a" (AWS).
type pathNode struct {
	name    string
	path    int32 // number of the path that ends here, or noPath
	indexed bool  // a Set looks values at this path up in its index

	few  []*pathNode // children, while they are few
	many trie[[]*pathNode]
	size int // number of children
}

func newPathNode(name string) *pathNode { return &pathNode{name: name, path: noPath} }

func (n *pathNode) child(name []byte) *pathNode {
	for _, child := range n.few {
		if child.name == string(name) {
			return child
		}
	}
	if n.size <= fewChildren {
		return nil
	}
	same, _ := n.many.get(maphash.Bytes(hashSeed, name))
	for _, child := range same {
		if child.name == string(name) {
			return child
		}
	}
	return nil
}

// walk follows an event's key, which may name several steps at once.
func (n *pathNode) walk(key []byte) *pathNode {
	if found := n.child(key); found != nil || n.size == 0 {
		return found
	}
	from := 0
	for i, c := range key {
		if c == '.' {
			if n = n.child(key[from:i]); n == nil {
				return nil
			}
			from = i + 1
		}
	}
	if from == 0 {
		return nil
	}
	return n.child(key[from:])
}

// with returns the tree with a path in it, changed by set at the path's end.
func (n *pathNode) with(path string, set func(*pathNode)) *pathNode {
	step, rest, more := strings.Cut(path, ".")
	child := n.child([]byte(step))
	if child == nil {
		child = newPathNode(step)
	}
	if more {
		child = child.with(rest, set)
	} else {
		changed := *child
		set(&changed)
		child = &changed
	}
	return n.put(child)
}

// without returns the tree with nothing wanted at a path; nodes that lead nowhere are dropped.
func (n *pathNode) without(path string) *pathNode {
	step, rest, more := strings.Cut(path, ".")
	child := n.child([]byte(step))
	if child == nil {
		return n
	}
	if more {
		child = child.without(rest)
	} else {
		changed := *child
		changed.path, changed.indexed = noPath, false
		child = &changed
	}
	if child.path == noPath && child.size == 0 {
		return n.drop(step)
	}
	return n.put(child)
}

// put returns a copy of the node with a child added or replaced.
func (n *pathNode) put(child *pathNode) *pathNode {
	changed := *n
	changed.few = nil
	replaced := n.child([]byte(child.name)) != nil
	if !replaced {
		changed.size++
	}
	if changed.size <= fewChildren {
		changed.few = append(changed.few, n.few...)
		if replaced {
			changed.few[indexOfName(changed.few, child.name)] = child
		} else {
			changed.few = append(changed.few, child)
		}
		return &changed
	}
	for _, other := range n.few { // just became too many
		changed.many = putSameHash(changed.many, other)
	}
	changed.many = putSameHash(changed.many, child)
	return &changed
}

func (n *pathNode) drop(name string) *pathNode {
	changed := *n
	changed.size--
	changed.few = nil
	if n.size <= fewChildren {
		at := indexOfName(n.few, name)
		changed.few = append(append(changed.few, n.few[:at]...), n.few[at+1:]...)
		return &changed
	}
	hash := maphash.String(hashSeed, name)
	same, _ := n.many.get(hash)
	at := indexOfName(same, name)
	if rest := append(append([]*pathNode(nil), same[:at]...), same[at+1:]...); len(rest) > 0 {
		changed.many = n.many.with(hash, rest)
	} else {
		changed.many = n.many.without(hash)
	}
	if changed.size == fewChildren { // few again
		for same := range changed.many.all() {
			changed.few = append(changed.few, same...)
		}
		changed.many = trie[[]*pathNode]{}
	}
	return &changed
}

func putSameHash(m trie[[]*pathNode], child *pathNode) trie[[]*pathNode] {
	hash := maphash.String(hashSeed, child.name)
	same, _ := m.get(hash)
	same = append([]*pathNode(nil), same...)
	if at := indexOfName(same, child.name); at >= 0 {
		same[at] = child
	} else {
		same = append(same, child)
	}
	return m.with(hash, same)
}

func indexOfName(nodes []*pathNode, name string) int {
	for i, n := range nodes {
		if n.name == name {
			return i
		}
	}
	return -1
}
