package store

import "testing"

func TestBulkJobsComeWhenNoOthersWaitOrEnoughHaveGoneBefore(t *testing.T) {
	w := &writer{jobs: make(chan *job, 2*maxPassed), bulk: make(chan *job, 2)}
	other, bulk := &job{}, &job{}
	w.bulk <- bulk
	w.bulk <- bulk
	for range 2 * maxPassed {
		w.jobs <- other
	}
	for n := range 2*maxPassed + 2 {
		want := other
		if n%(maxPassed+1) == maxPassed {
			want = bulk
		}
		if w.next() != want {
			t.Errorf("job %d is another kind's", n)
		}
	}
	close(w.jobs)
	if w.next() != nil {
		t.Error("there is no end")
	}
}
