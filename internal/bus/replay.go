package bus

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// ReplayState says how far a replay is.
type ReplayState string

// The states of a replay. The first three are those of an active one.
const (
	ReplayStarting   ReplayState = "STARTING"
	ReplayRunning    ReplayState = "RUNNING"
	ReplayCancelling ReplayState = "CANCELLING"
	ReplayCompleted  ReplayState = "COMPLETED"
	ReplayCancelled  ReplayState = "CANCELLED"
	ReplayFailed     ReplayState = "FAILED"
)

// Replay sends events of an archive again, to the bus that they were archived from.
type Replay struct {
	// Bus is the destination, of the replay's own account and region.
	Bus  event.BusRef
	Name string
	// Archive is the name of the archive, of the same account and region.
	Archive string
	// Rules are the ARNs of the only rules that get the events; empty for all.
	Rules []string
	// Description may be empty.
	Description string
	// From and Until bound the events by their own time: from From on, which is a
	// whole second, before Until.
	From, Until time.Time
	State       ReplayState
	// StateReason says why it failed; empty otherwise.
	StateReason string
	StartedAt   time.Time
	// EndedAt is zero while it is active.
	EndedAt time.Time
	// LastEventAt is the time of the event replayed last; zero before the first.
	LastEventAt time.Time
	// Total is how many events there were to replay when it began to run, and Replayed
	// how many were put on the bus. Events archived meanwhile may add to both.
	Total, Replayed int64

	id, archiveID int64
	cursor        archiveCursor
}

// archiveCursor is a place in an archive: behind the event with that time and id.
type archiveCursor struct {
	at int64 // unix milliseconds
	id string
}

// ARN returns the replay's ARN.
func (r Replay) ARN() string {
	return "arn:" + event.Partition(r.Bus.Region) + ":events:" + r.Bus.Region + ":" + r.Bus.Account + ":replay/" + r.Name
}

// ArchiveARN returns the ARN of the archive that is replayed.
func (r Replay) ArchiveARN() string { return archiveARN(r.Bus, r.Archive) }

const (
	// maxReplayRules bounds the rules that a replay names, which each of its events
	// carries through the log.
	maxReplayRules = 100
	// keepReplays is how long a replay is remembered after its end. AWS: its history,
	// and its name with it, for 90 days.
	keepReplays = 90 * 24 * time.Hour
	// forgetChunk is how many replays one transaction forgets.
	forgetChunk = 200
	// replayPages opens the tokens of listings of replays.
	replayPages = "p"
	// replayQueue holds a job for each active replay, under its number.
	replayQueue = "replay"
)

func noReplay(name string) error { return notFound("Replay %s does not exist.", name) }

// ReplayRequest asks for a replay.
type ReplayRequest struct {
	Name, Description string
	// Archive is the ARN of an archive of the caller's account and region.
	Archive string
	// Destination is the ARN of the bus that the archive is of.
	Destination string
	// Rules are the ARNs of the only rules that get the events; empty for all.
	Rules       []string
	From, Until time.Time
}

// StartReplay starts a replay, which then runs in the background until it ends,
// also over restarts. AWS: the errors are ValidationException,
// ResourceNotFoundException for the destination, ResourceAlreadyExistsException,
// also for the name of one that ended, and LimitExceededException.
func (b *Buses) StartReplay(ctx context.Context, account, region string, q ReplayRequest) (Replay, error) {
	asked, err := newReplay(account, region, q)
	if err != nil {
		return Replay{}, err
	}
	asked.StartedAt = b.now().UTC()
	var started Replay
	err = b.db.Update(ctx, func(tx *store.Tx) error {
		r := asked
		if err := b.checkReplay(ctx, tx, account, region, &r); err != nil {
			return err
		}
		created, err := insertReplay(ctx, tx, &r)
		if err != nil {
			return err
		}
		if !created {
			return alreadyExists("Replay %s already exists.", r.Name)
		}
		n, err := countActiveReplays(ctx, tx, account, region)
		if err != nil {
			return err
		}
		if n > b.limits.Replays {
			return limitExceeded()
		}
		started = r
		awsapi.Made(ctx, started)
		return b.enqueueReplay(ctx, tx, r.id)
	})
	if err != nil {
		return Replay{}, fmt.Errorf("start replay %s: %w", q.Name, err)
	}
	return started, nil
}

// newReplay reads what the request says by itself.
func newReplay(account, region string, q ReplayRequest) (Replay, error) {
	destination, ok := busNamed(q.Destination)
	if !ok {
		return Replay{}, awsapi.ValidationException("Parameter Destination.Arn is not valid. Reason: Must contain an event bus ARN.")
	}
	owner, archive, ok := archiveNamed(q.Archive)
	if !ok {
		return Replay{}, awsapi.ValidationException("Parameter EventSourceArn is not valid. Reason: Must contain an archive ARN.")
	}
	if owner.account != account || owner.region != region {
		return Replay{}, noArchiveToReplay(archive)
	}
	if err := checkText("Description", &q.Description); err != nil {
		return Replay{}, err
	}
	from := q.From.Truncate(time.Second) // as the times of events are: one of 10.7 s has 10 s
	return Replay{
		Bus: destination, Name: q.Name, Archive: archive, Rules: q.Rules,
		Description: q.Description, From: from, Until: q.Until, State: ReplayStarting,
		cursor: archiveCursor{at: from.UnixMilli()},
	}, nil
}

func noArchiveToReplay(name string) error {
	return awsapi.ValidationException("Parameter EventSourceArn is not valid. Reason: Archive %s does not exist.", name)
}

// checkReplay checks a replay against what there is.
func (b *Buses) checkReplay(ctx context.Context, tx *store.Tx, account, region string, r *Replay) error {
	if _, err := b.bus(ctx, tx, r.Bus); err != nil {
		return err
	}
	a, found, err := selectArchive(ctx, tx, account, region, r.Archive)
	if err != nil {
		return err
	}
	if !found {
		return noArchiveToReplay(r.Archive)
	}
	if a.Bus != r.Bus {
		return awsapi.ValidationException("Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted.")
	}
	if !r.From.Before(r.Until) {
		return awsapi.ValidationException("Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime.")
	}
	r.archiveID = a.id
	return checkReplayRules(ctx, tx, r)
}

// ruleNameForm is that of the names of rules, and of replays.
var ruleNameForm = regexp.MustCompile(`^[\.\-_A-Za-z0-9]{1,64}$`)

// checkReplayRules checks that the rules that are to get the events are rules of
// their bus.
func checkReplayRules(ctx context.Context, q store.Querier, r *Replay) error {
	if len(r.Rules) > maxReplayRules {
		return awsapi.ValidationException("Parameter Destination.FilterArns is not valid. Reason: It names %d rules, more than the %d allowed.", len(r.Rules), maxReplayRules)
	}
	prefix := ruleARN(r.Bus, "")
	for _, rule := range r.Rules {
		name, ok := strings.CutPrefix(rule, prefix)
		if !ok || !ruleNameForm.MatchString(name) {
			return awsapi.ValidationException("Parameter Destination.FilterArns is not valid. Reason: %s is not the ARN of a rule on EventBus %s.", rule, r.Bus.Name)
		}
		_, exists, err := selectRule(ctx, q, r.Bus, name)
		if err != nil {
			return err
		}
		if !exists {
			return awsapi.ValidationException("Parameter Destination.FilterArns is not valid. Reason: Rule %s does not exist on EventBus %s.", name, r.Bus.Name)
		}
	}
	return nil
}

func (b *Buses) enqueueReplay(ctx context.Context, tx *store.Tx, id int64) error {
	return b.jobs.Enqueue(ctx, tx, work.NewJob{Queue: replayQueue, Key: strconv.FormatInt(id, 10), Replace: true})
}

// DescribeReplay returns a replay. AWS: ResourceNotFoundException when there is
// none.
func (b *Buses) DescribeReplay(ctx context.Context, account, region, name string) (Replay, error) {
	return findReplay(ctx, b.db, account, region, name)
}

func findReplay(ctx context.Context, q store.Querier, account, region, name string) (Replay, error) {
	r, found, err := selectReplay(ctx, q, account, region, name)
	if err == nil && !found {
		err = noReplay(name)
	}
	return r, err
}

// ReplayFilter selects replays; at most one of its members is set.
type ReplayFilter struct {
	// Archive is the name of an archive of the account and region that is asked for.
	Archive    string
	NamePrefix string
	State      ReplayState
}

// ListReplays returns replays of an account and region by name.
func (b *Buses) ListReplays(ctx context.Context, account, region string, f ReplayFilter, page Page) ([]Replay, string, error) {
	after, err := page.after(replayPages)
	if err != nil {
		return nil, "", err
	}
	found, err := selectReplays(ctx, b.db, account, region, f, after, page.limit()+1)
	if err != nil {
		return nil, "", fmt.Errorf("list replays: %w", err)
	}
	found, next := cutPage(found, page, replayPages, func(r Replay) string { return r.Name })
	return found, next, nil
}

// CancelReplay asks a replay to end and returns it, being cancelled. What it has put
// on the bus is delivered. AWS: IllegalStatusException for one that has ended or is
// being cancelled.
func (b *Buses) CancelReplay(ctx context.Context, account, region, name string) (Replay, error) {
	var cancelled Replay
	err := b.db.Update(ctx, func(tx *store.Tx) error {
		r, err := findReplay(ctx, tx, account, region, name)
		if err != nil {
			return err
		}
		if r.State != ReplayStarting && r.State != ReplayRunning {
			return events.ErrIllegalStatusException("Replay %s is not in a valid state for this operation.", name)
		}
		r.State = ReplayCancelling
		if err := updateReplayState(ctx, tx, r); err != nil {
			return err
		}
		cancelled = r
		awsapi.Made(ctx, cancelled)
		return b.enqueueReplay(ctx, tx, r.id)
	})
	if err != nil {
		return Replay{}, fmt.Errorf("cancel replay %s: %w", name, err)
	}
	return cancelled, nil
}

// forgetReplays deletes the replays that ended long ago.
func (b *Buses) forgetReplays(ctx context.Context) error {
	before := b.now().Add(-keepReplays)
	for {
		// Most of the time there is none, which reading finds out for less.
		old, err := anyReplayEndedBefore(ctx, b.db, before)
		if err != nil || !old {
			return err
		}
		err = b.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error { return deleteReplays(ctx, tx, before, forgetChunk) })
		if err != nil {
			return err
		}
		if err := pause(ctx, sweepPause); err != nil {
			return err
		}
	}
}

// replayedID is the id under which a replay sends an event: not the event's own, and
// the same each time, so that what a stopped replay sends twice can be told.
func (r Replay) replayedID(original string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(r.ARN()+"\n"+original)).String()
}

// record is an archived event as the replay sends it: with an id of its own and the
// replay's name, and otherwise as it was.
func (r Replay) record(e archivedEvent) (event.Record, error) {
	envelope, err := unpackEvent(e.body, e.size)
	if err != nil {
		return event.Record{}, fmt.Errorf("read archived event %s: %w", e.id, err)
	}
	ev, err := event.Parse(envelope)
	if err != nil {
		return event.Record{}, fmt.Errorf("read archived event %s: %w", e.id, err)
	}
	origin := event.OriginReplay + " " + r.ARN() + " " + ev.ID
	ev.ID, ev.ReplayName = r.replayedID(ev.ID), r.Name
	return event.Record{
		Bus: r.Bus, ID: ev.ID, Origin: origin, ReplayRules: r.Rules, JSON: ev.AppendJSON(nil),
	}, nil
}
