package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/target"
	"github.com/rialto-bus/rialto/internal/work"
)

// DeadLetter is a delivery that was given up and that no dead-letter queue took:
// its target has none, or the queue could not be written.
type DeadLetter struct {
	// ID is above that of every dead letter before it.
	ID           int64
	Subscription int64
	Bus          event.BusRef // of the rule
	RuleName     string
	RuleARN      string
	TargetID     string
	TargetARN    string
	EventID      string
	Source       string // of the event
	DetailType   string
	// Code is one of AWS's ERROR_CODE values, Message its explanation.
	Code, Message string
	// Exhausted is MaximumRetryAttempts or MaximumEventAgeInSeconds when retries
	// ran out, empty when the failure was final at once.
	Exhausted string
	Attempts  int
	// Redriven counts how often the event was put on its way again before.
	Redriven int
	// QueueARN is the target's own dead-letter queue and QueueError why it did not
	// take the event; both are empty where the target has none.
	QueueARN, QueueError string
	// At is when the delivery was given up.
	At time.Time
	// Size is how much the letter counts against the store's limit, in bytes.
	Size int64

	// The event's place in the log, by which a delivery that is repeated makes no
	// second letter.
	sequence uint64
	index    int

	// spells, Record and Body are only read for one letter.
	spells []spell
	Record event.Record
	// Body is what the target got or would have got; nil where it is the event.
	Body []byte
}

// FirstAttempt returns when the first attempt began; the zero time without one.
func (l *DeadLetter) FirstAttempt() time.Time {
	if len(l.spells) == 0 {
		return time.Time{}
	}
	return l.spells[0].First
}

// LastAttempt returns when the last attempt began; the zero time without one.
func (l *DeadLetter) LastAttempt() time.Time {
	if len(l.spells) == 0 {
		return time.Time{}
	}
	return l.spells[len(l.spells)-1].Last
}

const (
	// letterOverhead is what a letter takes beside its texts, about, in bytes, and
	// spellOverhead what each of its spells does.
	letterOverhead = 512
	spellOverhead  = 160
	// maxLetterMessage bounds the message of a letter, in bytes.
	maxLetterMessage = 4096
	// maxLetterText bounds its other texts.
	maxLetterText = 2048
)

// letter is the pair as a dead letter that is written now. The failure is that of
// the target's own dead-letter queue; nil without one.
func (d *Delivery) letter(p *pair, reason target.DeadLetterReason, queue *target.Failure) *DeadLetter {
	l := &DeadLetter{
		Subscription: p.sub.ID, Bus: p.sub.Bus, RuleName: p.sub.RuleName, RuleARN: p.sub.RuleARN,
		TargetID: p.sub.Target.ID, TargetARN: cleanText(p.sub.Target.ARN, maxLetterText), EventID: cleanText(p.rec.ID, maxLetterText),
		Code: reason.Code, Message: cleanText(reason.Message, maxLetterMessage), Exhausted: reason.Exhausted,
		Attempts: p.tries, At: d.Now().UTC(), sequence: p.seq, index: p.index, spells: p.spells, Record: p.rec, Body: p.body,
	}
	l.Source, l.DetailType = sourceOf(p.rec.JSON)
	if queue != nil {
		l.QueueARN, l.QueueError = p.sub.Target.DeadLetterARN, cleanText(queue.Error(), maxLetterMessage)
	}
	if p.redrive != nil {
		l.Redriven = p.redrive.Count
	}
	l.Size = l.weigh()
	return l
}

// weigh returns how much the letter counts against the store's limit.
func (l *DeadLetter) weigh() int64 {
	n := letterOverhead + len(l.Record.JSON) + len(l.Body)
	texts := []string{l.Message, l.QueueError, l.QueueARN, l.TargetARN, l.Source, l.DetailType, l.Record.Trace, l.Record.Origin}
	for _, text := range append(texts, l.Record.ReplayRules...) {
		n += len(text)
	}
	for _, s := range l.spells {
		n += spellOverhead + len(s.Code) + len(s.Message)
	}
	return int64(n)
}

// sourceOf reads source and detail-type of an event.
func sourceOf(envelope []byte) (source, detailType string) {
	var e struct {
		Source     string `json:"source"`
		DetailType string `json:"detail-type"`
	}
	if json.Unmarshal(envelope, &e) != nil {
		return "", "" // then the letter says why it could not be delivered
	}
	return cleanText(e.Source, maxLetterText), cleanText(e.DetailType, maxLetterText)
}

// event is the letter's event as JSON has it; its text if it is no JSON.
func (l *DeadLetter) event() any {
	if json.Valid(l.Record.JSON) {
		return json.RawMessage(l.Record.JSON)
	}
	return string(l.Record.JSON)
}

// keep stores the pair as a dead letter. While the store refuses, the delivery stays
// and is given up again later.
func (d *Delivery) keep(ctx context.Context, p *pair, reason target.DeadLetterReason, queue *target.Failure) verdict {
	id, err := d.letters.add(ctx, d.letter(p, reason, queue))
	if err == nil {
		d.counters.kept.Add(1)
		d.traceEnd(p, StepKept, strconv.FormatInt(id, 10), reason)
		return verdict{kind: verdictDone}
	}
	if ctx.Err() != nil {
		return verdict{kind: verdictStopped}
	}
	p.deadLetterFailed()
	if p.deadLetterTries == 1 { // once for each event, not for each try
		d.Logger.Error("a dead letter was not stored; trying again", "event", p.rec.ID, "rule", p.sub.RuleARN, "target", p.sub.Target.ARN, "error", err)
	}
	return verdict{kind: verdictLater, wait: work.Backoff(p.deadLetterTries, backoffBase, backoffMax, nil)}
}

// keeps reports whether there is a built-in store.
func (d *Delivery) keeps() bool { return d.DeadLetters.Bytes > 0 }

// ErrNoDeadLetter says that there is no such dead letter, or no more.
var ErrNoDeadLetter = errors.New("there is no such dead letter")

// DeadLetter returns one dead letter of an account with all that is known of it,
// or ErrNoDeadLetter.
func (d *Delivery) DeadLetter(ctx context.Context, account string, id int64) (*DeadLetter, error) {
	return d.letterStore.letter(ctx, account, id)
}

// DeadLetterFilter says which dead letters are meant: those for which all that is
// set holds.
type DeadLetterFilter struct {
	// Rule is a rule's name or ARN, Target a target's id or ARN.
	Region  string `json:"region,omitempty"`
	Bus     string `json:"bus,omitempty"`
	Rule    string `json:"rule,omitempty"`
	Target  string `json:"target,omitempty"`
	Code    string `json:"code,omitempty"`
	EventID string `json:"event_id,omitempty"`
	// Since and Until bound when they were given up: not before Since, before Until.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// IDs are the only letters that are meant; empty for all.
	IDs []int64 `json:"ids,omitempty"`

	// upTo, if set, leaves out letters that came later than the one with that id.
	upTo int64
}

// place is where a page of dead letters begins: after the letter given up at the
// time with the id. The zero place is the first page's.
type place struct{ at, id int64 }

// cursor is the place as a caller gets it.
func (p place) cursor() string {
	return strconv.FormatInt(p.at, 10) + "." + strconv.FormatInt(p.id, 10)
}

// ErrCursor says that a cursor is not one of a list's.
var ErrCursor = errors.New("the cursor is not from this list")

// parsePlace reads what cursor wrote; the empty cursor is the first page's.
func parsePlace(cursor string) (p place, err error) {
	if cursor == "" {
		return p, nil
	}
	at, id, _ := strings.Cut(cursor, ".")
	if p.at, err = strconv.ParseInt(at, 10, 64); err == nil {
		p.id, err = strconv.ParseInt(id, 10, 64)
	}
	if err != nil || p.at <= 0 || p.id <= 0 {
		return place{}, ErrCursor
	}
	return p, nil
}

// DeadLetterPage returns at most count dead letters of an account after a cursor, the
// newest first, without their events, and the cursor of the next page; that is empty
// after the last. The empty cursor is the first page's. It returns ErrCursor.
func (d *Delivery) DeadLetterPage(ctx context.Context, account string, f DeadLetterFilter, cursor string, count int) (list []DeadLetter, next string, err error) {
	after, err := parsePlace(cursor)
	if err != nil {
		return nil, "", err
	}
	list, err = d.letterStore.list(ctx, account, f, after, count+1)
	if err != nil {
		return nil, "", fmt.Errorf("list dead letters: %w", err)
	}
	if len(list) > count {
		list = list[:count]
		last := list[count-1]
		next = place{last.At.UnixMilli(), last.ID}.cursor()
	}
	return list, next, nil
}

// DeadLetterTotal is what is kept of one subscription.
type DeadLetterTotal struct {
	Region, BusName, RuleName, RuleARN, TargetID string
	Letters, Bytes                               int64
	// Oldest and Newest are when the first and the last of them were given up.
	Oldest, Newest time.Time
}

// DroppedLetters says what of one rule and target was dropped for one reason since
// records of it began.
type DroppedLetters struct {
	RuleARN, TargetID string
	// Reason is DroppedForAge or DroppedForSize.
	Reason         string
	Letters, Bytes int64
	// Oldest and Newest are when the first and the last of them were given up.
	Oldest, Newest time.Time
	// LastAt is when some were dropped last.
	LastAt time.Time
}

// maxSummary bounds the lists of a summary.
const maxSummary = 1000

// DeadLetterSummary is what is kept of an account, and what was dropped.
type DeadLetterSummary struct {
	// Totals are of one subscription each, the most letters first; at most 1,000.
	Totals []DeadLetterTotal
	// Dropped are the latest records; at most 1,000.
	Dropped []DroppedLetters
	// MoreTotals and MoreDropped say that there are more than these.
	MoreTotals, MoreDropped bool
	// Limits are those of the store, which all accounts share.
	Limits DeadLetterLimits
}

// DeadLetterSummary returns what is kept of an account, and what was dropped.
func (d *Delivery) DeadLetterSummary(ctx context.Context, account string) (s DeadLetterSummary, err error) {
	s.Limits = d.DeadLetters
	if s.Totals, err = d.letterStore.totals(ctx, account, maxSummary+1); err != nil {
		return s, fmt.Errorf("count dead letters: %w", err)
	}
	if s.Dropped, err = d.letterStore.dropped(ctx, account, maxSummary+1); err != nil {
		return s, fmt.Errorf("read which dead letters were dropped: %w", err)
	}
	s.Totals, s.MoreTotals = firstOf(s.Totals, maxSummary)
	s.Dropped, s.MoreDropped = firstOf(s.Dropped, maxSummary)
	return s, nil
}

// firstOf returns at most n of a list, and whether there are more.
func firstOf[T any](list []T, n int) (first []T, more bool) {
	return list[:min(len(list), n)], len(list) > n
}

// KeptDeadLetters returns how many dead letters all accounts have, and how many bytes
// they count.
func (d *Delivery) KeptDeadLetters(ctx context.Context) (letters, bytes int64, err error) {
	return d.letterStore.bytes(ctx)
}

// The reasons for which dead letters are dropped.
const (
	DroppedForAge  = "age"
	DroppedForSize = "size"
)
