package function

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// The states of an event source mapping, as AWS has them.
const (
	stateCreating  = "Creating"
	stateEnabling  = "Enabling"
	stateEnabled   = "Enabled"
	stateDisabling = "Disabling"
	stateDisabled  = "Disabled"
	stateUpdating  = "Updating"
	stateDeleting  = "Deleting"
)

// Mapping is an event source mapping: a queue whose messages a function gets. It is never
// changed once read.
type Mapping struct {
	UUID string
	// Function is what the messages are for, which may have been deleted since. Qualifier
	// is how it was named: "" or $LATEST.
	Function  Ref
	Qualifier string
	Source    queueARN
	settings  mappingSettings
	Tags      map[string]string
	// State is AWS's, Enabled what the mapping is to become, Result how the last batch went.
	State   string
	Enabled bool
	Result  string
	// Modified is in unix milliseconds.
	Modified int64

	id, version int64
}

// mappingARN is the ARN of a mapping of the account and region.
func mappingARN(account, region, id string) string {
	return "arn:" + event.Partition(region) + ":lambda:" + region + ":" + account + ":event-source-mapping:" + id
}

// ARN returns the mapping's ARN.
func (m *Mapping) ARN() string { return mappingARN(m.Function.Account, m.Function.Region, m.UUID) }

// functionARN is the function's ARN as the mapping names it.
func (m *Mapping) functionARN() string { return withQualifier(m.Function, m.Qualifier) }

// queueARN is the ARN of a queue in its parts.
type queueARN struct{ region, account, name string }

var (
	validQueue  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}(\.fifo)?$`)
	sourceParts = regexp.MustCompile(`^arn:[a-z-]+:([a-z0-9-]+):`)
)

// String returns the ARN.
func (q queueARN) String() string {
	return "arn:" + event.Partition(q.region) + ":sqs:" + q.region + ":" + q.account + ":" + q.name
}

func (q queueARN) fifo() bool { return strings.HasSuffix(q.name, ".fifo") }

// url is the queue's URL, as any of its service takes it.
func (q queueARN) url() string {
	return "https://sqs." + q.region + ".amazonaws.com/" + q.account + "/" + q.name
}

func parseQueueARN(arn string) (queueARN, bool) {
	p := strings.Split(arn, ":")
	if len(p) != 6 {
		return queueARN{}, false
	}
	q := queueARN{region: p[3], account: p[4], name: p[5]}
	return q, q.String() == arn && auth.IsAccount(q.account) && validQueue.MatchString(q.name) && len(q.name) <= 80
}

// parseSource reads the ARN of an event source. Those of other services than SQS
// are refused by name.
func parseSource(arn string) (queueARN, error) {
	if q, ok := parseQueueARN(arn); ok {
		return q, nil
	}
	if m := sourceParts.FindStringSubmatch(arn); m != nil && m[1] != "sqs" {
		return queueARN{}, errParameter("Event sources of service %s are not served by Rialto: an event source is an SQS queue.", m[1])
	}
	return queueARN{}, errParameter("Unrecognized event source: %s is not the ARN of an SQS queue.", arn)
}

func errNoMapping() error {
	return lambda.ErrResourceNotFoundException("The resource you requested does not exist.")
}

// createMapping makes the mapping; answer is told of it within the transaction.
func (f *Functions) createMapping(ctx context.Context, m *Mapping, answer func(*Mapping)) error {
	if err := f.checkMapping(ctx, m); err != nil {
		return err
	}
	m.UUID, m.State, m.Modified = uuid.NewString(), stateCreating, f.now()
	create := func(tx *store.Tx) error {
		if err := f.refuseSecond(ctx, tx, m); err != nil {
			return err
		}
		if err := insertMapping(ctx, tx, m); err != nil {
			return err
		}
		answer(m)
		return f.followMapping(ctx, tx, m.UUID)
	}
	err := f.db.Update(ctx, create)
	if store.IsUnique(err) { // another node made one meanwhile
		err = f.db.Update(ctx, create)
	}
	return err
}

// refuseSecond returns AWS's error where the function has a mapping of the queue already.
func (f *Functions) refuseSecond(ctx context.Context, tx *store.Tx, m *Mapping) error {
	other, err := findSameMapping(ctx, tx, m)
	if err != nil || other == "" || other == m.UUID {
		return err
	}
	name := m.Function.Name
	if m.Qualifier != "" {
		name += ":" + m.Qualifier
	}
	return lambda.ErrResourceConflictException(`An event source mapping with SQS arn (" %s ") and function (" %s ") already exists. Please update or delete the existing mapping with UUID %s`, m.Source, name, other)
}

// followMapping has whoever polls the mapping, or will, see to its new state.
func (f *Functions) followMapping(ctx context.Context, tx *store.Tx, id string) error {
	tx.OnCommit(func() { f.bells.ring(id) })
	return f.o.Jobs.Enqueue(ctx, tx, work.NewJob{Queue: mappingQueue, Key: id, Replace: true})
}

// findMapping returns the mapping of that id in the account and region.
func (f *Functions) findMapping(ctx context.Context, db store.Querier, account, region, id string) (*Mapping, error) {
	if uuid.Validate(id) != nil {
		return nil, errNoMapping()
	}
	m, err := mappingByUUID(ctx, db, strings.ToLower(id))
	if err != nil {
		return nil, err
	}
	if m == nil || m.Function.Account != account || m.Function.Region != region {
		return nil, errNoMapping()
	}
	return m, nil
}

// updateMapping makes the mapping what change makes of it. change may be called
// again.
func (f *Functions) updateMapping(ctx context.Context, account, region, id string, change func(*Mapping) error, answer func(*Mapping)) error {
	have, err := f.findMapping(ctx, f.db, account, region, id)
	if err != nil {
		return err
	}
	// Functions and queues are looked at before the transaction.
	next := *have
	if err := change(&next); err != nil {
		return err
	}
	if err := f.checkMapping(ctx, &next); err != nil {
		return err
	}
	err = f.db.Update(ctx, func(tx *store.Tx) error {
		now, err := f.findMapping(ctx, tx, account, region, id)
		if err != nil {
			return err
		}
		if now.State == stateDeleting {
			return lambda.ErrResourceInUseException("Cannot update the event source mapping because it is in use.")
		}
		was := now.Enabled
		if now.version != have.version {
			return errChanged
		}
		next := *now
		if err := change(&next); err != nil {
			return err
		}
		next.State, next.Modified = transition(was, next.Enabled), f.now()
		if err := f.refuseSecond(ctx, tx, &next); err != nil {
			return err
		}
		if err := updateMapping(ctx, tx, &next); err != nil {
			return err
		}
		answer(&next)
		return f.followMapping(ctx, tx, next.UUID)
	})
	if errors.Is(err, errChanged) {
		return lambda.ErrResourceInUseException("Cannot update the event source mapping because it is in use.")
	}
	return err
}

// errChanged says that a mapping was changed while another change was being checked.
var errChanged = errors.New("the mapping was changed meanwhile")

// transition is the state on the way from one to another.
func transition(was, enabled bool) string {
	switch {
	case was == enabled:
		return stateUpdating
	case enabled:
		return stateEnabling
	}
	return stateDisabling
}

// deleteMapping has the mapping deleted, which it is once its last batch has ended.
func (f *Functions) deleteMapping(ctx context.Context, account, region, id string, answer func(*Mapping)) error {
	return f.db.Update(ctx, func(tx *store.Tx) error {
		m, err := f.findMapping(ctx, tx, account, region, id)
		if err != nil {
			return err
		}
		if m.State == stateDeleting {
			return lambda.ErrResourceInUseException("Cannot delete the event source mapping because it is in use.")
		}
		m.State, m.Enabled, m.Modified = stateDeleting, false, f.now()
		if err := updateMapping(ctx, tx, m); err != nil {
			return err
		}
		answer(m)
		return f.followMapping(ctx, tx, m.UUID)
	})
}

// tagMapping changes the mapping's tags; change returns what they become.
func (f *Functions) tagMapping(ctx context.Context, account, region, id string, change func(map[string]string) (map[string]string, error)) error {
	return f.db.Update(ctx, func(tx *store.Tx) error {
		m, err := f.findMapping(ctx, tx, account, region, id)
		if err != nil {
			return err
		}
		tags, err := change(m.Tags)
		if err != nil {
			return err
		}
		return updateMappingTags(ctx, tx, m.id, tags)
	})
}

// resumeMappings sees to it that each mapping has its job.
func (f *Functions) resumeMappings(ctx context.Context) error {
	ids, err := mappingsToFollow(ctx, f.db)
	if err != nil {
		return err
	}
	const chunk = 500
	for len(ids) > 0 {
		part := ids[:min(chunk, len(ids))]
		ids = ids[len(part):]
		err := f.db.Update(ctx, func(tx *store.Tx) error {
			jobs := make([]work.NewJob, len(part))
			for i, id := range part {
				jobs[i] = work.NewJob{Queue: mappingQueue, Key: id}
			}
			return f.o.Jobs.Enqueue(ctx, tx, jobs...)
		})
		if err != nil {
			return fmt.Errorf("resume event source mappings: %w", err)
		}
	}
	return nil
}

// asFunction is the context of a call to another service that is made for a function, by
// its account. AWS: with the function's role.
func asFunction(ctx context.Context, r Ref, service, operation string) context.Context {
	return awsapi.WithCaller(ctx, awsapi.Caller{
		Account: r.Account, Region: r.Region, Role: string(auth.Operator), Service: service, Operation: operation, RequestID: uuid.NewString(),
	})
}
