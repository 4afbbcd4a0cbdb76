package eventpattern

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

func mustCompile(t testing.TB, pattern string) *Pattern {
	t.Helper()
	p, err := Compile([]byte(pattern))
	if err != nil {
		t.Fatalf("compile %s: %v", pattern, err)
	}
	return p
}

func matchSet(t testing.TB, s *Set, event string) []uint64 {
	t.Helper()
	ids, err := s.Match(nil, []byte(event))
	if err != nil {
		t.Fatalf("match %s: %v", event, err)
	}
	return ids
}

func TestSetMatchesInAscendingOrderEachOnce(t *testing.T) {
	s := NewSet()
	for _, id := range []uint64{9, 1 << 63, 3, 0, 5} {
		s.Add(id, mustCompile(t, `{"$or":[{"a":["x","y"]},{"b":["x"]},{"c":[{"exists":true}]}]}`))
	}
	s.Add(4, mustCompile(t, `{"a":["z"]}`))
	got := matchSet(t, s, `{"a":["x","y","x"],"b":"x","c":1}`)
	if want := []uint64{0, 3, 5, 9, 1 << 63}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestSetAppendsToWhatItIsGiven(t *testing.T) {
	var s Set
	s.Add(2, mustCompile(t, `{"a":["x"]}`))
	s.Add(1, mustCompile(t, `{"a":[{"prefix":"x"}]}`))
	got, err := s.Match([]uint64{9, 1}, []byte(`{"a":"x"}`))
	if err != nil || !slices.Equal(got, []uint64{9, 1, 1, 2}) {
		t.Fatalf("got %v, %v", got, err)
	}
}

func TestSetAddReplacesThePatternWithTheSameID(t *testing.T) {
	var s Set
	s.Add(1, mustCompile(t, `{"a":["x"],"gone":["x"]}`))
	s.Add(1, mustCompile(t, `{"b":["x"]}`))
	if got := matchSet(t, &s, `{"a":"x","gone":"x"}`); len(got) != 0 {
		t.Fatalf("the replaced pattern still matches: %v", got)
	}
	if got := matchSet(t, &s, `{"b":"x"}`); !slices.Equal(got, []uint64{1}) || s.Len() != 1 {
		t.Fatalf("got %v of %d", got, s.Len())
	}
}

func TestSetRemoveOfAnUnknownIDChangesNothing(t *testing.T) {
	var s Set
	s.Remove(1)
	s.Add(1, mustCompile(t, `{"a":[{"exists":false}]}`))
	s.Remove(2)
	if got := matchSet(t, &s, `{}`); !slices.Equal(got, []uint64{1}) {
		t.Fatalf("got %v", got)
	}
}

func TestEmptySetStillReadsTheEvent(t *testing.T) {
	var s Set
	if got := matchSet(t, &s, `{"a":1}`); got != nil {
		t.Fatalf("got %v", got)
	}
	if _, err := s.Match(nil, []byte(`[1]`)); err == nil {
		t.Fatal("a list was taken for an event")
	}
}

// TestSetForgetsWhatIsRemoved would fail if paths, index entries or names stayed behind.
func TestSetForgetsWhatIsRemoved(t *testing.T) {
	var s Set
	for round := range 3 {
		for i := range 500 {
			s.Add(uint64(i), mustCompile(t, fmt.Sprintf(`{"source":["s%d"],"detail":{"f%d.g":["v%d",%d],"h":{"k%d":[{"exists":false}]}}}`, i%7, i, i, round, i)))
		}
		for i := range 500 {
			s.Remove(uint64(i))
		}
		now := s.snapshot()
		if s.Len() != 0 || now.members.root != nil || now.index.root != nil || now.rest.root != nil || now.root.size != 0 || len(s.paths) != 0 {
			t.Fatalf("round %d: something is left: %+v", round, now)
		}
		if now.paths > 1001 {
			t.Fatalf("round %d: numbers of paths are not used again: %d", round, now.paths)
		}
	}
}

func TestSetWithManyNamesUnderOneObject(t *testing.T) {
	var s Set
	for i := range 3000 {
		s.Add(uint64(i), mustCompile(t, fmt.Sprintf(`{"detail":{"name-%d":["v"]}}`, i)))
	}
	for i := 0; i < 3000; i += 3 {
		s.Remove(uint64(i))
	}
	for _, i := range []int{0, 1, 2, 3, 4, 2998, 2999} {
		got := matchSet(t, &s, fmt.Sprintf(`{"detail":{"name-%d":"v"}}`, i))
		if want := i%3 != 0; (len(got) == 1 && got[0] == uint64(i)) != want {
			t.Fatalf("name-%d: got %v", i, got)
		}
	}
}

// TestSetReadersSeeEveryMomentWhole replaces a pattern by another one over and over, such that at any moment exactly one of the two
// values matches, while readers check just that.
func TestSetReadersSeeEveryMomentWhole(t *testing.T) {
	var s Set
	old, next := mustCompile(t, `{"a":["old"],"b":["1"]}`), mustCompile(t, `{"a":["new"]}`)
	s.Add(1, old)
	for i := range 100 {
		s.Add(uint64(100+i), mustCompile(t, fmt.Sprintf(`{"c":["v%d"]}`, i)))
	}
	both := []byte(`{"a":["old","new"],"b":"1","c":"v7"}`)
	var stop atomic.Bool
	var readers sync.WaitGroup
	for range max(4, runtime.GOMAXPROCS(0)) {
		readers.Go(func() {
			var ids []uint64
			for !stop.Load() {
				var err error
				ids, err = s.Match(ids[:0], both)
				if err != nil || len(ids) < 1 || ids[0] != 1 {
					t.Errorf("got %v, %v: neither the old pattern nor the new one", ids, err)
					return
				}
			}
		})
	}
	var writers sync.WaitGroup
	for w := range 3 {
		writers.Go(func() {
			for i := range 500 {
				s.Add(1, next)
				s.Add(uint64(1000*(w+2)+i), old)
				s.Remove(uint64(1000*(w+2) + i/2))
				s.Add(1, old)
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	readers.Wait()
}

func TestOnePatternServesManyGoroutines(t *testing.T) {
	p := mustCompile(t, `{"a":{"x":[1],"y":[{"wildcard":"*b*"}]}}`)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 300 {
				want := (g+i)%2 == 0
				event := fmt.Sprintf(`{"a":[{"x":1,"y":"c\u0061"},{"x":%d,"y":"a\u0062c"}]}`, (g+i)%2+1)
				if got, err := p.Match([]byte(event)); err != nil || got != want {
					t.Errorf("event %s: got %v, %v", event, got, err)
				}
			}
		})
	}
	all.Wait()
}
