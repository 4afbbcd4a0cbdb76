package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// RunAction is what a run does with dead letters.
type RunAction string

// What a run may do.
const (
	// ActionRedrive puts their events on their way again.
	ActionRedrive RunAction = "redrive"
	// ActionDiscard deletes them.
	ActionDiscard RunAction = "discard"
)

// RunStatus says how far a run is.
type RunStatus string

// The statuses of a run.
const (
	RunRunning   RunStatus = "running"
	RunDone      RunStatus = "done"
	RunCancelled RunStatus = "cancelled"
)

// LetterRun redrives or discards many dead letters: those that its filter meant when
// it was made. It goes on after a restart.
type LetterRun struct {
	ID      string // a UUID
	Account string
	Action  RunAction
	Filter  DeadLetterFilter
	// Rate is how many letters it takes a second, at most.
	Rate   float64
	Status RunStatus
	// Total is how many letters were meant, Done how many of them are redriven or
	// discarded, Refused how many stay since their rule or target is gone. Others may
	// be gone otherwise before the run comes to them.
	Total, Done, Refused int64
	// Refusals names the rules and targets that are gone, the first of them.
	Refusals []Refusal
	// CreatedBy is the id of the access key that asked for it.
	CreatedBy string
	CreatedAt time.Time
	// FinishedAt is zero while it runs.
	FinishedAt time.Time

	upTo  int64 // the id of the last letter that was meant
	after place // how far it is
}

// Refusal counts letters whose rule or target is gone.
type Refusal struct {
	RuleARN  string `json:"rule_arn"`
	TargetID string `json:"target_id"`
	Letters  int64  `json:"letters"`
}

const (
	// runQueue is the queue of runs.
	runQueue = "dead-letters"
	// MaxRunRate is the most dead letters a second that a run takes, DefaultRunRate what
	// it takes unless told: each is a parked delivery afterwards, and those of others
	// are to go on beside them.
	MaxRunRate     = 10_000
	DefaultRunRate = 500
	// MinRunRate is the least: about one letter in a quarter of an hour.
	MinRunRate = 0.001
	// MaxOpenRuns is how many runs of an account may be under way at once.
	MaxOpenRuns = 20
	// MaxRunIDs is how many letters one run may name.
	MaxRunIDs = 1000
	// runTurn is how long one run is worked on before others have their turn.
	runTurn = 5 * time.Second
	// maxRefusals is how many rules and targets Refusals names.
	maxRefusals = 20
	// discardChunk is how many letters one transaction discards.
	discardChunk = 200
)

// The reasons for which a run is not begun.
var (
	ErrTooManyRuns = errors.New("too many runs over dead letters are under way")
	errNotRunning  = errors.New("the run is not under way any more")
)

// CountError says that other dead letters are meant than the caller believed.
type CountError struct{ Count, Expected int64 }

// Error says how many.
func (e *CountError) Error() string {
	return fmt.Sprintf("%d dead letters are meant, not %d.", e.Count, e.Expected)
}

// CountDeadLetters returns how many dead letters of the account are meant.
func (d *Delivery) CountDeadLetters(ctx context.Context, account string, f DeadLetterFilter) (int64, error) {
	n, _, err := d.letterStore.count(ctx, account, f)
	if err != nil {
		return 0, fmt.Errorf("count dead letters: %w", err)
	}
	return n, nil
}

// NewRun is a run to begin.
type NewRun struct {
	Account, CreatedBy string
	Action             RunAction
	Filter             DeadLetterFilter
	// Rate is MinRunRate to MaxRunRate; 0 stands for DefaultRunRate. It is of redrives
	// only.
	Rate float64
	// Count, if not negative, is how many letters the caller believes are meant.
	Count int64
}

// StartRun begins to redrive or discard the letters that are meant now. It returns
// a *CountError, and ErrTooManyRuns.
func (d *Delivery) StartRun(ctx context.Context, n NewRun) (*LetterRun, error) {
	total, last, err := d.letterStore.count(ctx, n.Account, n.Filter)
	if err != nil {
		return nil, fmt.Errorf("count dead letters: %w", err)
	}
	if n.Count >= 0 && total != n.Count {
		return nil, &CountError{Count: total, Expected: n.Count}
	}
	r := &LetterRun{
		ID: uuid.NewString(), Account: n.Account, Action: n.Action, Filter: n.Filter, Rate: n.Rate, Status: RunRunning,
		Total: total, CreatedBy: n.CreatedBy, CreatedAt: d.Now().UTC().Truncate(time.Millisecond), upTo: last,
	}
	switch {
	case r.Action == ActionDiscard:
		r.Rate = MaxRunRate
	case r.Rate == 0:
		r.Rate = DefaultRunRate
	}
	if total == 0 {
		r.Status, r.FinishedAt = RunDone, r.CreatedAt
	}
	err = d.DB.Update(ctx, func(tx *store.Tx) error {
		open, err := d.letterStore.openRuns(ctx, tx, n.Account)
		if err != nil {
			return err
		}
		if open >= MaxOpenRuns {
			return ErrTooManyRuns
		}
		if err := d.letterStore.insertRun(ctx, tx, r); err != nil || total == 0 {
			return err
		}
		return d.Work.Enqueue(ctx, tx, work.NewJob{Queue: runQueue, Key: r.ID})
	})
	if err != nil {
		return nil, fmt.Errorf("begin to %s dead letters: %w", n.Action, err)
	}
	return r, nil
}

// CancelRun ends a run; what it has done stays done. It returns the run as it is then,
// also if it had ended before, and ErrNoRun.
func (d *Delivery) CancelRun(ctx context.Context, account, id string) (*LetterRun, error) {
	if uuid.Validate(id) != nil {
		return nil, ErrNoRun
	}
	err := d.DB.Update(ctx, func(tx *store.Tx) error {
		cancelled, err := d.letterStore.endRun(ctx, tx, account, id, RunCancelled, d.Now())
		if err != nil || !cancelled {
			return err
		}
		_, err = d.Work.Cancel(ctx, tx, runQueue, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cancel run %s: %w", id, err)
	}
	return d.LetterRun(ctx, account, id)
}

// ErrNoRun says that there is no such run over dead letters, or no more.
var ErrNoRun = errors.New("there is no such run over dead letters")

// LetterRun returns a run of an account, or ErrNoRun. Runs are forgotten some time
// after they ended.
func (d *Delivery) LetterRun(ctx context.Context, account, id string) (*LetterRun, error) {
	if uuid.Validate(id) != nil {
		return nil, ErrNoRun
	}
	r, err := d.letterStore.run(ctx, id)
	if err != nil {
		return nil, err
	}
	if r.Account != account {
		return nil, ErrNoRun
	}
	return r, nil
}

// maxRuns is how many runs LetterRuns returns.
const maxRuns = 100

// LetterRuns returns the latest 100 runs of an account, the last first.
func (d *Delivery) LetterRuns(ctx context.Context, account string) ([]*LetterRun, error) {
	list, err := d.letterStore.runs(ctx, account, maxRuns)
	if err != nil {
		return nil, fmt.Errorf("list runs over dead letters: %w", err)
	}
	return list, nil
}

// workOn is the job of a run: it goes on with it for a while.
func (d *Delivery) workOn(ctx context.Context, job work.Job) work.Outcome {
	r, err := d.letterStore.run(ctx, job.Key)
	if errors.Is(err, ErrNoRun) || err == nil && r.Status != RunRunning {
		return work.Done()
	}
	if err != nil {
		return work.Retry(err.Error())
	}
	next, turn := time.Now(), time.Now().Add(runTurn)
	for next.Before(turn) {
		if !sleep(ctx, time.Until(next)) {
			return work.Retry("the process is stopping")
		}
		taken, err := d.step(ctx, r)
		if errors.Is(err, errNotRunning) {
			return work.Done()
		}
		if err != nil {
			return work.Retry(err.Error())
		}
		next = next.Add(time.Duration(float64(taken) / r.Rate * float64(time.Second)))
	}
	return work.RetryAt(next, "other runs have their turn")
}

// chunk is how many letters the run takes in one step: what its rate allows in about
// a quarter of a second.
func (r *LetterRun) chunk() int {
	most := jobChunk
	if r.Action == ActionDiscard {
		most = discardChunk
	}
	return min(max(int(r.Rate/4), 1), most)
}

// step takes the next letters of a run, and ends it when there are none. It returns
// how many it looked at.
func (d *Delivery) step(ctx context.Context, r *LetterRun) (taken int, err error) {
	f := r.Filter
	f.upTo = r.upTo
	letters, err := d.letterStore.next(ctx, r.Account, f, r.after, r.chunk(), r.Action == ActionRedrive)
	if err != nil {
		return 0, fmt.Errorf("read dead letters: %w", err)
	}
	if len(letters) == 0 {
		return 0, d.finishRun(ctx, r)
	}
	last := letters[len(letters)-1]
	s := runStep{after: place{last.At.UnixMilli(), last.ID}}
	if r.Action == ActionRedrive {
		err = d.redriveLetters(ctx, r, letters, s)
	} else {
		err = d.discardLetters(ctx, r, letters, s)
	}
	return len(letters), err
}

// runStep is what one step changes about its run.
type runStep struct {
	refusals []Refusal // each of one letter
	after    place
}

func (d *Delivery) finishRun(ctx context.Context, r *LetterRun) error {
	err := d.DB.Update(ctx, func(tx *store.Tx) error {
		_, err := d.letterStore.endRun(ctx, tx, r.Account, r.ID, RunDone, d.Now())
		return err
	})
	if err != nil {
		return fmt.Errorf("end run %s: %w", r.ID, err)
	}
	return errNotRunning
}

func (d *Delivery) redriveLetters(ctx context.Context, r *LetterRun, letters []DeadLetter, s runStep) error {
	pairs := map[int64]*pair{}
	for i := range letters {
		p, err := d.again(ctx, &letters[i])
		if gone, ok := errors.AsType[*GoneError](err); ok {
			s.refusals = append(s.refusals, Refusal{gone.RuleARN, gone.TargetID, 1})
			continue
		}
		if err != nil {
			return err
		}
		pairs[letters[i].ID] = p
	}
	return d.updateRun(ctx, r, s, func(tx *store.Tx) (int, error) {
		if len(pairs) == 0 {
			return 0, nil
		}
		return d.putAgain(ctx, tx, r.Account, pairs)
	})
}

func (d *Delivery) discardLetters(ctx context.Context, r *LetterRun, letters []DeadLetter, s runStep) error {
	ids := make([]int64, len(letters))
	for i := range letters {
		ids[i] = letters[i].ID
	}
	return d.updateRun(ctx, r, s, func(tx *store.Tx) (int, error) {
		gone, err := d.letterStore.delete(ctx, tx, r.Account, ids)
		tx.OnCommit(func() { d.counters.discarded.Add(int64(len(gone))) })
		return len(gone), err
	})
}

// updateRun does a step and stores in the same transaction how far the run is.
func (d *Delivery) updateRun(ctx context.Context, r *LetterRun, s runStep, do func(tx *store.Tx) (int, error)) error {
	var after *LetterRun
	err := d.DB.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		now, err := d.letterStore.lockRun(ctx, tx, r.ID)
		if err != nil {
			return err
		}
		n, err := do(tx)
		if err != nil {
			return err
		}
		now.Done += int64(n)
		for _, refusal := range s.refusals {
			now.refuse(refusal)
		}
		now.after = s.after
		after = now
		return d.letterStore.updateRun(ctx, tx, now)
	})
	if err != nil {
		return fmt.Errorf("%s dead letters: %w", r.Action, err)
	}
	*r = *after
	return nil
}

// refuse counts a letter that stays.
func (r *LetterRun) refuse(refusal Refusal) {
	r.Refused++
	for i := range r.Refusals {
		if have := &r.Refusals[i]; have.RuleARN == refusal.RuleARN && have.TargetID == refusal.TargetID {
			have.Letters++
			return
		}
	}
	if len(r.Refusals) < maxRefusals {
		r.Refusals = append(r.Refusals, refusal)
	}
}
