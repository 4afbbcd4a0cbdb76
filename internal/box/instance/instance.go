// Package instance is the box's EC2: instances that are launched, stopped,
// started and terminated, change their state as AWS's do and tell of it in
// events. No machine stands behind them.
//
// Instances implements the generated ec2.Service. What would need a machine, a
// disk or a network to honour is refused by name: a parameter is never stored
// and ignored.
package instance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"regexp"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// Options configure Instances.
type Options struct {
	// Transition is how long an instance stays pending, stopping or shutting-down; 0
	// means 20 ms.
	Transition time.Duration
	// Logger takes what goes wrong in the background. Nil discards it.
	Logger *slog.Logger
	// Now is the clock of what is told of instances; nil means time.Now.
	Now func() time.Time
}

// Instances are all instances of this installation. Its methods are safe for
// concurrent use.
type Instances struct {
	db   *store.DB
	jobs *work.Runner
	opt  Options
}

// New returns the instances kept in db. It registers its job queues with jobs,
// whose Run changes the instances' states and must not have begun.
func New(db *store.DB, jobs *work.Runner, opt Options) *Instances {
	if opt.Transition <= 0 {
		opt.Transition = 20 * time.Millisecond
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	s := &Instances{db: db, jobs: jobs, opt: opt}
	jobs.Handle(transitionQueue, work.QueueOptions{}, s.transition)
	jobs.Handle(purgeQueue, work.QueueOptions{Concurrency: 1}, s.purge)
	return s
}

// Place is an account and a region: what instances are kept under.
type Place struct{ Account, Region string }

// State is where an instance is in its life.
type State string

// The states, with AWS's names.
const (
	Pending      State = "pending"
	Running      State = "running"
	Stopping     State = "stopping"
	Stopped      State = "stopped"
	ShuttingDown State = "shutting-down"
	Terminated   State = "terminated"
)

// Code is AWS's number of the state.
func (s State) Code() int32 {
	switch s {
	case Running:
		return 16
	case ShuttingDown:
		return 32
	case Terminated:
		return 48
	case Stopping:
		return 64
	case Stopped:
		return 80
	}
	return 0
}

// Instance is an instance as it was read.
type Instance struct {
	Place
	// ID is i- and 17 hexadecimal digits, never used again.
	ID            string
	ReservationID string
	State         State
	// PrivateIP is empty once terminated, PublicIP unless the instance runs or is about to.
	PrivateIP, PublicIP string
	// ReasonCode and ReasonMessage say why the state changed last; TransitionReason
	// adds when, if a user asked for it.
	ReasonCode, ReasonMessage, TransitionReason string
	// Launched is the last launch or start.
	Launched time.Time
	Tags     map[string]string
	Launch   Launch

	seq         int64
	tagVersion  int64
	clientToken string
	requestHash string
}

// Launch is what a launch fixed for an instance's life.
type Launch struct {
	Index        int    `json:"index"`
	ImageID      string `json:"image"`
	Type         string `json:"type"`
	KeyName      string `json:"key,omitempty"`
	Zone         string `json:"zone"`
	Profile      string `json:"profile,omitempty"` // name of the instance profile
	SpotRequest  string `json:"spot,omitempty"`    // id; set on Spot Instances
	Monitoring   bool   `json:"monitoring,omitempty"`
	EbsOptimized bool   `json:"ebsOptimized,omitempty"`
	// InterfaceID and MAC are those of the primary network interface.
	InterfaceID  string `json:"eni"`
	AttachmentID string `json:"attachment"`
	MAC          string `json:"mac"`
	// Metadata are the options of the metadata service.
	Metadata Metadata `json:"metadata"`
}

// Metadata are the options of the instance metadata service, in AWS's words.
type Metadata struct {
	Tokens   string `json:"tokens"`
	Endpoint string `json:"endpoint"`
	IPv6     string `json:"ipv6"`
	Tags     string `json:"tags"`
	HopLimit int32  `json:"hops"`
}

// ARN returns the instance's ARN.
func (i *Instance) ARN() string {
	return "arn:" + event.Partition(i.Region) + ":ec2:" + i.Region + ":" + i.Account + ":instance/" + i.ID
}

// live says whether the instance still has its addresses.
func (i *Instance) live() bool { return i.State != Terminated }

// newID returns a resource id of AWS's form: the prefix, a hyphen and 17
// hexadecimal digits.
func newID(prefix string) string {
	var b [9]byte
	rand.Read(b[:])
	return prefix + "-" + hex.EncodeToString(b[:])[:17]
}

var validID = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)

// checkIDs says whether all are instance ids by their form.
func checkIDs(ids []string) error {
	for _, id := range ids {
		if !validID.MatchString(id) {
			return errMalformed(id)
		}
	}
	return nil
}

// find returns the instances with the ids, in their order, or AWS's error that
// names those that do not exist.
func find(ctx context.Context, db store.Querier, p Place, ids []string, lock string) ([]*Instance, error) {
	if err := checkIDs(ids); err != nil {
		return nil, err
	}
	found, err := selectByID(ctx, db, p, ids, lock)
	if err != nil {
		return nil, err
	}
	var list []*Instance
	var missing []string
	seen := map[string]bool{}
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		if i := found[id]; i != nil {
			list = append(list, i)
		} else {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		return nil, errNotFound(missing)
	}
	return list, nil
}
