package template

// order returns names so that each comes after those it needs, and otherwise as given. If some need one another, cycle is
// one such circle, from the name that was met first.
func order(names []string, needs map[string][]string) (sorted, cycle []string) {
	const (
		unseen = iota
		open
		done
	)
	state := make(map[string]int, len(names))
	type step struct {
		name string
		next int // of its needs
	}
	for _, root := range names {
		if state[root] != unseen {
			continue
		}
		state[root] = open
		way := []step{{name: root}}
		for len(way) > 0 {
			at := &way[len(way)-1]
			if at.next == len(needs[at.name]) {
				state[at.name] = done
				sorted = append(sorted, at.name)
				way = way[:len(way)-1]
				continue
			}
			need := needs[at.name][at.next]
			at.next++
			switch state[need] {
			case unseen:
				state[need] = open
				way = append(way, step{name: need})
			case open:
				for i := range way {
					if way[i].name == need || cycle != nil {
						cycle = append(cycle, way[i].name)
					}
				}
				return nil, cycle
			}
		}
	}
	return sorted, nil
}
