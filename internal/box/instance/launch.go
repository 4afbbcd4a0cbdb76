package instance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

const (
	// maxLaunch is how many instances one call launches: as many as one
	// transaction can add without holding up others.
	maxLaunch = 200
	// maxLive is how many instances an account has in a region. AWS's limit is
	// of vCPUs and set by account.
	maxLive = 20_000
	// maxTries bounds how often a launch looks for addresses anew.
	maxTries = 5
	// maxToken is AWS's length of a client token.
	maxToken = 64
)

// LaunchRequest is what to launch.
type LaunchRequest struct {
	// Min to Max instances: as many as the limits allow, or none.
	Min, Max int
	// Token makes the request idempotent; empty without one.
	Token string
	// SubnetID and Zone may be empty.
	SubnetID, Zone string
	// PrivateIP asks for an address, for a single instance; empty leaves it.
	PrivateIP string
	Tags      map[string]string
	// Spot asks for Spot Instances.
	Spot bool
	// Launch is what the instances have in common; its ids, index and zone are set by Run.
	Launch Launch
}

var validImage = regexp.MustCompile(`^ami-([0-9a-f]{8}|[0-9a-f]{17})$`)

func (r *LaunchRequest) check() error {
	switch {
	case r.Min < 1:
		return errValue("Value (%d) for parameter minCount is invalid. It must be at least 1.", r.Min)
	case r.Max < r.Min:
		return errValue("Value (%d) for parameter maxCount is invalid. It must not be less than minCount.", r.Max)
	case r.Min > maxLaunch:
		return errValue("Value (%d) for parameter minCount is invalid. One request can launch at most %d instances.", r.Min, maxLaunch)
	case r.PrivateIP != "" && r.Max > 1:
		return errCombination("The parameter privateIpAddress cannot be specified when launching multiple instances.")
	case r.Launch.ImageID == "":
		return awsapi.Errorf("MissingParameter", "The request must contain the parameter ImageId")
	case !validImage.MatchString(r.Launch.ImageID):
		return awsapi.Errorf("InvalidAMIID.Malformed", `Invalid id: "%s" (expecting "ami-...")`, r.Launch.ImageID)
	case len(r.Token) > maxToken:
		return errValue("Value (%s) for parameter clientToken is invalid. It must be at most %d characters long.", r.Token, maxToken)
	case strings.IndexByte(r.Token, 0) >= 0: // PostgreSQL cannot keep it
		return errValue("Value (%s) for parameter clientToken is invalid. It must not hold the character U+0000.", r.Token)
	}
	return checkTags(nil, r.Tags)
}

// hash is what two requests with one token must have in common.
func (r *LaunchRequest) hash() (string, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("hash launch request: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// Run launches instances. Repeated with its token it returns those that it launched.
func (s *Instances) Run(ctx context.Context, p Place, r LaunchRequest) ([]*Instance, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	hash, err := r.hash()
	if err != nil {
		return nil, err
	}
	sub, err := networkOf(p).choose(r.SubnetID, r.Zone)
	if err != nil {
		return nil, err
	}
	var list []*Instance
	launch := func(tx *store.Tx) (err error) {
		if r.Token != "" {
			list, err = selectByToken(ctx, tx, p, r.Token)
			if err != nil {
				return err
			}
			if len(list) > 0 {
				awsapi.Made(ctx, list)
				return sameRequest(list[0], hash)
			}
		}
		list, err = s.prepare(ctx, tx, p, r, sub, hash)
		if err != nil {
			return err
		}
		awsapi.Made(ctx, list)
		return s.insert(ctx, tx, list)
	}
	err = s.db.Update(ctx, launch)
	for try := 1; store.IsUnique(err) && try < maxTries; try++ { // another launch took an address
		err = s.db.Update(ctx, launch)
	}
	return list, err
}

func sameRequest(i *Instance, hash string) error {
	if i.requestHash != hash {
		return awsapi.Errorf("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
	}
	return nil
}

// prepare makes the instances of a launch, with their addresses.
func (s *Instances) prepare(ctx context.Context, tx *store.Tx, p Place, r LaunchRequest, sub subnet, hash string) ([]*Instance, error) {
	live, err := countLive(ctx, tx, p)
	if err != nil {
		return nil, err
	}
	n := min(r.Max, maxLaunch, maxLive-live)
	if n < r.Min {
		return nil, awsapi.Errorf("InstanceLimitExceeded", "You have requested more instances (%d) than your current instance limit of %d allows for the specified instance type.", live+r.Min, maxLive)
	}
	private := []string{r.PrivateIP}
	if r.PrivateIP != "" {
		err = givenIP(ctx, tx, p, sub, r.PrivateIP)
	} else {
		private, err = privateIPs(ctx, tx, p, sub, n)
	}
	if err != nil {
		return nil, err
	}
	public, err := publicIPs(ctx, tx, n)
	if err != nil {
		return nil, err
	}
	list := make([]*Instance, n)
	reservation, now := newID("r"), s.opt.Now()
	for k := range list {
		i := &Instance{
			Place: p, ID: newID("i"), ReservationID: reservation, PrivateIP: private[k], PublicIP: public[k],
			Launched: now, Tags: r.Tags, Launch: r.Launch, clientToken: r.Token, requestHash: hash,
		}
		i.enter(Pending, "pending", "pending", "")
		i.Launch.Index, i.Launch.Zone = k, sub.Zone
		i.Launch.InterfaceID, i.Launch.AttachmentID, i.Launch.MAC = newID("eni"), newID("eni-attach"), newMAC()
		if r.Spot {
			i.Launch.SpotRequest = "sir-" + strconv.FormatUint(1<<39|rand.Uint64N(1<<39), 36)
		}
		list[k] = i
	}
	return list, nil
}

// newMAC returns a MAC address that is marked as locally administered.
func newMAC() string {
	n := rand.Uint64()
	return fmt.Sprintf("0a:%02x:%02x:%02x:%02x:%02x", byte(n), byte(n>>8), byte(n>>16), byte(n>>24), byte(n>>32))
}

// insert adds launched instances with their events and what follows.
func (s *Instances) insert(ctx context.Context, tx *store.Tx, list []*Instance) error {
	if err := insertInstances(ctx, tx, list); err != nil {
		return err
	}
	records := make([]event.Record, len(list))
	ids := make([]string, len(list))
	for k, i := range list {
		records[k], ids[k] = s.stateEvent(i), i.ID
	}
	if err := tx.Publish(ctx, records...); err != nil {
		return err
	}
	return s.follow(ctx, tx, map[State][]string{Pending: ids})
}

// launchTime is how AWS gives times of EC2.
func (i *Instance) launchTime() *time.Time { return new(i.Launched.UTC().Truncate(time.Second)) }
