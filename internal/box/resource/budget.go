package resource

import (
	"errors"
	"sync"
)

// maxCost bounds what it takes to check one model. A small schema whose
// alternatives refer to one another can ask for more than any machine does.
const maxCost = 200_000

// errTooCostly says that the bound is met.
var errTooCostly = errors.New("the schema takes too many steps to check this model")

// budget counts the steps of one validation at a time. The library has neither a
// context nor a bound; but it asks for the format of a value each time it applies a schema.
type budget struct {
	mu   sync.Mutex
	left int
}

// spend runs check with a full budget. It returns errTooCostly if that was not enough.
func (b *budget) spend(check func() error) (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = maxCost
	defer func() {
		v := recover()
		if v != nil && v != any(errTooCostly) {
			panic(v)
		}
		if v != nil {
			err = errTooCostly
		}
	}()
	return check()
}

// take pays for a schema that is applied to a value: its price is how many
// schemas it holds, and large values cost more.
func (b *budget) take(price int, v any) {
	size := 0
	switch v := v.(type) {
	case string:
		size = len(v)
	case []any:
		size = len(v)
	case map[string]any:
		size = len(v)
		for name := range v {
			size += len(name) // patterns are matched with them
		}
	}
	if b.left -= price * (1 + size/64); b.left < 0 {
		panic(errTooCostly)
	}
}
