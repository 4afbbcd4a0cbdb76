package inventory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	// MaxWebhookBody is the largest webhook body, in bytes. AWS: events were at
	// most 256 KiB for the rules that reach webhooks.
	MaxWebhookBody = 256 << 10
	// intakeTime bounds the storing of an event. AWS: EventBridge gives an API
	// destination five seconds.
	intakeTime = 4 * time.Second
	// maxIntake is how many webhook calls are stored at once; more are asked to
	// come again.
	maxIntake = 256
)

// Receipt says what became of an event that a webhook was called with.
type Receipt string

// The receipts.
const (
	// Stored: the event is durable and will be acted on.
	Stored Receipt = "stored"
	// Duplicate: it was stored before, by its id or by its meaning.
	Duplicate Receipt = "duplicate"
	// NotActedOn: it is valid, and not for the inventory.
	NotActedOn Receipt = "ignored"
)

// ErrForeignAccount: the event is of another account than the webhook's.
var ErrForeignAccount = errors.New("event of another account")

// Receive takes an event in for the webhook's cloud account, durably, and
// schedules what follows from it. It returns ErrInvalid with what is wrong with
// the event, or ErrForeignAccount; both are counted.
func (v *Inventory) Receive(ctx context.Context, webhookID string, body []byte) (r Receipt, eventID string, err error) {
	a, found, err := accountByWebhook(ctx, v.db, webhookID)
	if err != nil {
		return "", "", fmt.Errorf("find webhook %s: %w", webhookID, err)
	}
	if !found {
		return "", "", notFound("There is no webhook %s.", webhookID)
	}
	n, err := parseNotification(body)
	if not, ok := errors.AsType[notOurs](err); ok {
		return NotActedOn, n.ID, v.reject(ctx, a, "not_acted_on", "", string(not))
	}
	if err != nil {
		return "", n.ID, errors.Join(err, v.reject(ctx, a, "malformed", "", err.Error()))
	}
	if a, err = v.rightAccount(ctx, a, n); err != nil {
		return "", n.ID, err
	}
	stored, err := v.store(ctx, a, webhookID, n)
	if err != nil {
		return "", n.ID, fmt.Errorf("store event %s: %w", n.ID, err)
	}
	if !stored {
		v.counters.duplicates.Add(1)
		return Duplicate, n.ID, nil
	}
	v.counters.stored.Add(1)
	return Stored, n.ID, nil
}

// rightAccount returns the cloud account that an event is for: the webhook's own,
// or a sibling in its project where events are to be routed to siblings.
func (v *Inventory) rightAccount(ctx context.Context, a CloudAccount, n notification) (CloudAccount, error) {
	if n.Account == a.AccountID {
		return a, nil
	}
	if a.Options.RouteSiblings {
		siblings, err := listAccounts(ctx, v.db, a.ProjectID)
		if err != nil {
			return a, fmt.Errorf("find the cloud account of event %s: %w", n.ID, err)
		}
		for _, s := range siblings {
			if s.AccountID == n.Account {
				return s, nil
			}
		}
	}
	text := fmt.Sprintf("The event is of account %s; this webhook takes those of account %s. Look at the rule that forwards events here.", n.Account, a.AccountID)
	if err := v.reject(ctx, a, "foreign_account", n.Account, text); err != nil {
		return a, err
	}
	return a, refuse(ErrForeignAccount, "%s", text)
}

func (v *Inventory) reject(ctx context.Context, a CloudAccount, reason, subject, message string) error {
	v.counters.rejected.Add(1)
	return v.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		return countRejection(ctx, tx, a.ID, reason, subject, message, v.now())
	})
}

func (v *Inventory) store(ctx context.Context, a CloudAccount, webhookID string, n notification) (stored bool, err error) {
	now := v.now()
	err = v.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		var err error
		if stored, err = insertEvent(ctx, tx, a.ID, webhookID, n, now); err != nil {
			return err
		}
		if !stored {
			known, err := hasEvent(ctx, tx, a.ID, n.ID)
			if err != nil || known {
				return err
			}
			// Another event of the same meaning: an instance may have come to a state
			// twice within the second that is an event's resolution, and been read
			// between. It is a duplicate, but worth another read.
			return v.scheduleRead(ctx, tx, a, n)
		}
		if err := countEvent(ctx, tx, a.ID, n.Region, n.Time, now); err != nil {
			return err
		}
		return v.scheduleRead(ctx, tx, a, n)
	})
	return stored, err
}

// scheduleRead has the event's instance read after the event.
func (v *Inventory) scheduleRead(ctx context.Context, tx *store.Tx, a CloudAccount, n notification) error {
	// Replace: a read that waits or runs is followed by one that starts after
	// this event, and one is enough for all that wait.
	return v.o.Work.Enqueue(ctx, tx, work.NewJob{Queue: queueApply, Key: applyKey(a.ID, n.Region, n.InstanceID), Replace: true})
}

func applyKey(accountID, region, instanceID string) string {
	return accountID + "/" + region + "/" + instanceID
}

func splitApplyKey(key string) (accountID, region, instanceID string, err error) {
	p := strings.Split(key, "/")
	if len(p) != 3 {
		return "", "", "", fmt.Errorf("%q is not the key of an instance's job", key)
	}
	return p[0], p[1], p[2], nil
}

// Rejection counts the calls of a webhook that were refused or not acted on, by
// reason and, for foreign_account, by account.
type Rejection struct {
	// Reason is malformed, foreign_account or not_acted_on.
	Reason  string
	Subject string
	Count   int64
	LastAt  time.Time
	// Message is what the last caller was told.
	Message string
}
