package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/inputtransform"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// Archive keeps the events of a bus that match its pattern, to be replayed. It is
// filled by a rule of its own, which a user sees but cannot change.
type Archive struct {
	// Bus is the event bus whose events it keeps, of its own account and region.
	Bus  event.BusRef
	Name string
	// Description may be empty.
	Description string
	// Pattern is the event pattern exactly as it was submitted; empty for all events.
	Pattern string
	// RetentionDays is how long events are kept from their ingestion; 0 is for ever.
	RetentionDays int32
	CreatedAt     time.Time
	// Events is how many it holds, and Bytes the size of their JSON.
	Events, Bytes int64

	id, ruleID int64
	uuid       string // ends the ARN in the rule's template
}

// ArchiveEnabled is the state that an archive is in from its creation on. AWS has
// more, which it passes through on the way.
const ArchiveEnabled = "ENABLED"

// ARN returns the archive's ARN.
func (a Archive) ARN() string { return archiveARN(a.Bus, a.Name) }

func archiveARN(ref event.BusRef, name string) string {
	return "arn:" + event.Partition(ref.Region) + ":events:" + ref.Region + ":" + ref.Account + ":archive/" + name
}

// busNamed returns the bus that an ARN names.
func busNamed(text string) (event.BusRef, bool) {
	a, ok := parseARN(text)
	name, isBus := strings.CutPrefix(a.resource, "event-bus/")
	return event.BusRef{Account: a.account, Region: a.region, Name: name}, ok && a.service == "events" && isBus && busName.MatchString(name)
}

var archiveNameForm = regexp.MustCompile(`^[\.\-_A-Za-z0-9]{1,48}$`)

// archiveNamed returns the name in an archive's ARN, and whose it is.
func archiveNamed(text string) (owner arn, name string, ok bool) {
	owner, ok = parseARN(text)
	if !ok || owner.service != "events" {
		return arn{}, "", false
	}
	name, ok = strings.CutPrefix(owner.resource, "archive/")
	return owner, name, ok && archiveNameForm.MatchString(name)
}

// archivePages opens the tokens of listings of archives.
const archivePages = "a"

func noArchive(name string) error { return notFound("Archive %s does not exist.", name) }

// CreateArchive creates an archive of a.Bus with a's name, description, pattern and
// retention, and the rule that fills it, in one change: what is accepted from then
// on is kept. AWS: ResourceNotFoundException for the bus,
// ResourceAlreadyExistsException, InvalidEventPatternException,
// LimitExceededException.
func (b *Buses) CreateArchive(ctx context.Context, a Archive) (Archive, error) {
	if err := b.checkArchivePattern(a.Pattern); err != nil {
		return Archive{}, err
	}
	if err := checkText("Description", &a.Description); err != nil {
		return Archive{}, err
	}
	a.CreatedAt, a.uuid = b.now().UTC(), uuid.NewString()
	err := b.change(ctx, a.Bus, func(tx *store.Tx, version int64) ([]string, error) {
		if err := b.checkNewArchive(ctx, tx, a); err != nil {
			return nil, err
		}
		var err error
		if a.ruleID, err = saveArchiveRule(ctx, tx, a, version); err != nil {
			return nil, err
		}
		awsapi.Made(ctx, a)
		return []string{a.ruleName()}, insertArchive(ctx, tx, a)
	})
	return a, err
}

func (b *Buses) checkNewArchive(ctx context.Context, tx *store.Tx, a Archive) error {
	if _, err := b.bus(ctx, tx, a.Bus); err != nil {
		return err
	}
	_, exists, err := selectArchive(ctx, tx, a.Bus.Account, a.Bus.Region, a.Name)
	if err != nil {
		return err
	}
	if exists {
		return alreadyExists("Archive %s already exists.", a.Name)
	}
	n, err := countArchives(ctx, tx, a.Bus.Account, a.Bus.Region)
	if err != nil {
		return err
	}
	if n >= b.limits.Archives {
		return limitExceeded()
	}
	return nil
}

// DescribeArchive returns an archive. AWS: ResourceNotFoundException when there is
// none.
func (b *Buses) DescribeArchive(ctx context.Context, account, region, name string) (Archive, error) {
	return findArchive(ctx, b.db, account, region, name)
}

func findArchive(ctx context.Context, q store.Querier, account, region, name string) (Archive, error) {
	a, found, err := selectArchive(ctx, q, account, region, name)
	if err == nil && !found {
		err = noArchive(name)
	}
	return a, err
}

// ArchiveFilter selects archives; at most one of its members is set.
type ArchiveFilter struct {
	// Bus is of the account and region that is asked for.
	Bus        *event.BusRef
	NamePrefix string
	State      string
}

// ListArchives returns archives of an account and region by name. AWS:
// ResourceNotFoundException when the filter names a bus that does not exist.
func (b *Buses) ListArchives(ctx context.Context, account, region string, f ArchiveFilter, page Page) ([]Archive, string, error) {
	after, err := page.after(archivePages)
	if err != nil {
		return nil, "", err
	}
	bus := ""
	if f.Bus != nil {
		if _, err := b.Bus(ctx, *f.Bus); err != nil {
			return nil, "", err
		}
		bus = f.Bus.Name
	}
	if f.State != "" && f.State != ArchiveEnabled {
		return nil, "", nil
	}
	found, err := selectArchives(ctx, b.db, account, region, bus, f.NamePrefix, after, page.limit()+1)
	if err != nil {
		return nil, "", fmt.Errorf("list archives: %w", err)
	}
	found, next := cutPage(found, page, archivePages, func(a Archive) string { return a.Name })
	return found, next, nil
}

// ArchiveChange is what updating an archive sets. Nil members leave what is there,
// empty ones clear it.
type ArchiveChange struct {
	Description   *string
	Pattern       *string
	RetentionDays *int32
}

// UpdateArchive changes an archive and its rule. AWS: it asks for a change before
// it looks for the archive.
func (b *Buses) UpdateArchive(ctx context.Context, account, region, name string, change ArchiveChange) (Archive, error) {
	if change == (ArchiveChange{}) {
		return Archive{}, awsapi.ValidationException("At least one of EventPattern, RetentionDays or Description must be provided.")
	}
	if change.Pattern != nil {
		if err := b.checkArchivePattern(*change.Pattern); err != nil {
			return Archive{}, err
		}
	}
	if err := checkText("Description", change.Description); err != nil {
		return Archive{}, err
	}
	return b.changeArchive(ctx, account, region, name, func(tx *store.Tx, a *Archive, version int64) error {
		_, err := b.bus(ctx, tx, a.Bus) // it can be deleted once the rule was, by force
		if err != nil {
			return err
		}
		a.change(change)
		if a.ruleID, err = saveArchiveRule(ctx, tx, *a, version); err != nil {
			return err
		}
		return updateArchive(ctx, tx, *a)
	})
}

func (a *Archive) change(c ArchiveChange) {
	if c.Description != nil {
		a.Description = *c.Description
	}
	if c.Pattern != nil {
		a.Pattern = *c.Pattern
	}
	if c.RetentionDays != nil {
		a.RetentionDays = *c.RetentionDays
	}
}

// DeleteArchive deletes an archive and its rule. Its events go in the background;
// replays that read them fail.
func (b *Buses) DeleteArchive(ctx context.Context, account, region, name string) error {
	_, err := b.changeArchive(ctx, account, region, name, func(tx *store.Tx, a *Archive, _ int64) error {
		if err := deleteTargetsOf(ctx, tx, a.ruleID); err != nil {
			return err
		}
		if err := deleteRule(ctx, tx, a.ruleID); err != nil {
			return err
		}
		if err := deleteArchive(ctx, tx, a.id); err != nil {
			return err
		}
		return b.deleteLater(ctx, tx, a.id)
	})
	return err
}

// changeArchive changes an archive and its rule in one change of its bus.
func (b *Buses) changeArchive(ctx context.Context, account, region, name string, fn func(tx *store.Tx, a *Archive, version int64) error) (Archive, error) {
	known, err := findArchive(ctx, b.db, account, region, name)
	if err != nil {
		return Archive{}, err
	}
	var changed Archive
	err = b.change(ctx, known.Bus, func(tx *store.Tx, version int64) ([]string, error) {
		a, err := findArchive(ctx, tx, account, region, name)
		if err != nil {
			return nil, err
		}
		if a.id != known.id {
			return nil, events.ErrConcurrentModificationException("Archive %s was deleted and created again meanwhile.", name)
		}
		if err := fn(tx, &a, version); err != nil {
			return nil, err
		}
		changed = a
		awsapi.Made(ctx, changed)
		return []string{a.ruleName()}, nil
	})
	return changed, err
}

// replayName is the member of an envelope that only replayed events have.
const replayName = "replay-name"

// notReplayed is what the rules of all archives ask of it.
const notReplayed = `[{"exists":false}]`

// checkArchivePattern checks a pattern, empty for none, before an archive gets it.
// One that asks for replayed events would match nothing.
func (b *Buses) checkArchivePattern(text string) error {
	if text == "" {
		return nil
	}
	if err := b.checkPattern(text); err != nil {
		return err
	}
	members, _, ok := readPattern(text)
	if !ok {
		return events.ErrInvalidEventPatternException("Event pattern is not valid. Reason: its members cannot be told apart")
	}
	if !onlyNotReplayed(members) {
		return events.ErrInvalidEventPatternException("Event pattern is not valid. Reason: an archive takes no replayed events, so %s can only be %s", replayName, notReplayed)
	}
	_, err := compilePattern(Archive{Pattern: text}.rulePattern())
	return err
}

// readPattern returns a pattern's members, and its text without what stands around
// it, which AWS takes.
func readPattern(text string) (members map[string]json.RawMessage, bare string, ok bool) {
	dec := json.NewDecoder(strings.NewReader(text))
	if dec.Decode(&members) != nil {
		return nil, "", false
	}
	return members, strings.TrimSpace(text[:dec.InputOffset()]), true
}

// onlyNotReplayed says whether all that a pattern asks of the replay's name, in
// alternatives too, is that there is none: beside anything else an alternative would
// take the place of the rule's own condition.
func onlyNotReplayed(members map[string]json.RawMessage) bool {
	var own bytes.Buffer
	if name := members[replayName]; name != nil && (json.Compact(&own, name) != nil || own.String() != notReplayed) {
		return false
	}
	var alternatives []map[string]json.RawMessage
	if json.Unmarshal(members["$or"], &alternatives) != nil {
		return true // there are none
	}
	return !slices.ContainsFunc(alternatives, func(a map[string]json.RawMessage) bool { return !onlyNotReplayed(a) })
}

// ruleName is the name of the rule that fills the archive. AWS names it so.
func (a Archive) ruleName() string { return "Events-Archive-" + a.Name }

// archiveManager is who AWS says manages the rules of archives.
const archiveManager = "prod.vhs.events.aws.internal"

// rulePattern is the pattern of the archive's rule. AWS: the archive's own, and no
// replayed events.
func (a Archive) rulePattern() string {
	condition := `"` + replayName + `":` + notReplayed
	if a.Pattern == "" {
		return "{" + condition + "}"
	}
	members, bare, _ := readPattern(a.Pattern) // it was checked
	if members[replayName] != nil {
		return bare
	}
	return strings.TrimSuffix(bare, "}") + "," + condition + "}"
}

// ruleTarget is the one target of the archive's rule. AWS: the words are its own;
// what is stored is the event.
func (a Archive) ruleTarget() RuleTarget {
	template := `{"archive-arn": "` + a.ARN() + ":" + a.uuid +
		`","event": <aws.events.event.json>,"ingestion-time": <aws.events.event.ingestion-time>}`
	return RuleTarget{
		ID: a.ruleName(), ARN: "arn:" + event.Partition(a.Bus.Region) + ":events:" + a.Bus.Region + ":::", Kind: KindArchive,
		Input: inputtransform.Input{Template: &inputtransform.Template{Paths: map[string]string{}, Text: template}},
	}
}

// saveArchiveRule makes the archive's rule what it has to be, anew if it is gone,
// and returns its id.
func saveArchiveRule(ctx context.Context, tx *store.Tx, a Archive, version int64) (id int64, err error) {
	r := Rule{
		Bus: a.Bus, Name: a.ruleName(), Pattern: a.rulePattern(), State: RuleEnabled,
		ManagedBy: archiveManager, CreatedBy: a.Bus.Account, version: version,
	}
	old, exists, err := selectRule(ctx, tx, a.Bus, r.Name)
	if err != nil {
		return 0, err
	}
	if exists && old.ManagedBy != archiveManager {
		return 0, alreadyExists("Rule %s already exists on EventBus %s.", r.Name, a.Bus.Name)
	}
	if exists {
		r.id = old.id
		err = updateRule(ctx, tx, r)
	} else {
		err = insertRule(ctx, tx, r)
	}
	if err != nil {
		return 0, err
	}
	if old, _, err = selectRule(ctx, tx, a.Bus, r.Name); err != nil {
		return 0, err
	}
	t := a.ruleTarget()
	t.ruleID, t.version = old.id, version
	return old.id, saveTarget(ctx, tx, t)
}
