package inventory

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// Enrollment is what an agent asks for: to be bound to a server.
type Enrollment struct {
	// TokenID and Secret are those of an enrollment token.
	TokenID string
	Secret  string
	// PublicKey is the agent's ed25519 key, whose private half signed the request.
	PublicKey []byte
	// Instance is zero for a machine that is no EC2 instance.
	Instance InstanceIdentity
	Facts    AgentFacts
}

// InstanceIdentity is which EC2 instance an agent says it runs on.
type InstanceIdentity struct {
	AccountID        string `json:"account_id"`
	Region           string `json:"region"`
	InstanceID       string `json:"instance_id"`
	AvailabilityZone string `json:"availability_zone,omitempty"`
	InstanceType     string `json:"instance_type,omitempty"`
	ImageID          string `json:"image_id,omitempty"`
	PrivateIP        string `json:"private_ip,omitempty"`
}

// Enrolled is the answer to an enrollment.
type Enrolled struct {
	AgentID string
	Server  Server
	// New: the record was made by this enrollment, not found.
	New bool
}

// reasonMoved: the server was enrolled in another project.
const reasonMoved = "moved"

func (i *InstanceIdentity) validate() error {
	switch {
	case !accountForm.MatchString(i.AccountID):
		return invalid("instance.account_id %q is not 12 digits.", i.AccountID)
	case !event.IsRegion(i.Region):
		return invalid("instance.region %q does not look like us-east-1.", i.Region)
	case !instanceIDForm.MatchString(i.InstanceID):
		return invalid("instance.instance_id %q does not look like i-0abcd1234ef567890.", i.InstanceID)
	case len(i.AvailabilityZone) > 64 || len(i.InstanceType) > 64 || len(i.ImageID) > 64:
		return invalid("A field of instance is longer than 64 bytes.")
	}
	return checkAddress("instance.private_ip", i.PrivateIP)
}

func (f *AgentFacts) validate() error {
	if !hostnameForm.MatchString(f.Hostname) {
		return invalid("hostname %q must be 1 to 253 letters, digits, hyphens, underscores and full stops.", f.Hostname)
	}
	if f.CanonicalName != "" && !hostnameForm.MatchString(f.CanonicalName) {
		return invalid("canonical_name %q is not a host's name.", f.CanonicalName)
	}
	if f.Bastion != "" && !hostnameForm.MatchString(f.Bastion) {
		return invalid("bastion %q is not a host's name.", f.Bastion)
	}
	if err := checkAddress("access_address", f.AccessAddress); err != nil {
		return err
	}
	if err := checkNames("alt_names", f.AltNames); err != nil {
		return err
	}
	switch f.OSType {
	case "", "linux", "windows", "darwin", "freebsd":
	default:
		return invalid("os_type must be linux, windows, darwin or freebsd, not %q.", f.OSType)
	}
	if len(f.OS) > 256 || len(f.Version) > 64 || !utf8.ValidString(f.OS) || !utf8.ValidString(f.Version) {
		return invalid("os or version is too long.")
	}
	for _, s := range f.Services {
		if s != "ssh" && s != "rdp" && s != "broker" {
			return invalid("Service %q is none of ssh, rdp and broker.", s)
		}
	}
	if len(f.Services) > 3 || len(f.SSHHostKeys) > 16 {
		return invalid("There are too many services or ssh_host_keys.")
	}
	for _, k := range f.SSHHostKeys {
		if len(k) > 4096 {
			return invalid("An ssh_host_key is longer than 4096 bytes.")
		}
	}
	_, err := checkLabels(f.Labels)
	return err
}

// Enroll binds an agent's key to a server of its token's project: to the record
// that discovery made of its instance, or to a new one. It returns ErrCredential
// for a bad token, ErrRevoked for an instance that was removed for good,
// ErrForbidden where another key is bound already, ErrInvalid.
func (v *Inventory) Enroll(ctx context.Context, e Enrollment) (Enrolled, error) {
	if err := e.Facts.validate(); err != nil {
		return Enrolled{}, err
	}
	hasInstance := e.Instance != InstanceIdentity{}
	if hasInstance {
		if err := e.Instance.validate(); err != nil {
			return Enrolled{}, err
		}
	}
	// The token is checked before anything is read on the caller's behalf.
	token, err := checkToken(ctx, v.db, e.TokenID, e.Secret)
	if err != nil {
		return Enrolled{}, fmt.Errorf("enroll: %w", err)
	}
	accounts, err := listAccounts(ctx, v.db, token.ProjectID)
	if err != nil {
		return Enrolled{}, fmt.Errorf("enroll: %w", err)
	}
	b := binding{v: v, e: e, key: base64.StdEncoding.EncodeToString(e.PublicKey), projectID: token.ProjectID}
	for _, a := range accounts {
		if hasInstance && a.AccountID == e.Instance.AccountID {
			b.account = a
			b.read = v.readInstance(ctx, a, e.Instance.Region, e.Instance.InstanceID)
		}
	}
	if err := b.checkRead(); err != nil {
		return Enrolled{}, err
	}
	var out Enrolled
	err = v.db.Update(ctx, func(tx *store.Tx) error {
		// Again, as it may have been deleted meanwhile.
		_, err := checkToken(ctx, tx, e.TokenID, e.Secret)
		if err != nil {
			return err
		}
		if out, err = b.bind(ctx, tx, hasInstance); err != nil {
			return err
		}
		return countTokenUse(ctx, tx, e.TokenID, v.now())
	})
	if errors.Is(err, errOtherKey) {
		err = errors.Join(refuse(ErrForbidden, "Instance %s is bound to the key of another agent. If that agent is gone, delete the server and enroll again.", e.Instance.InstanceID),
			v.alertOtherKey(ctx, b))
	}
	if err != nil {
		return Enrolled{}, fmt.Errorf("enroll: %w", err)
	}
	return out, nil
}

// errOtherKey: the server is bound to another key.
var errOtherKey = errors.New("bound to another key")

// binding is one enrollment in progress.
type binding struct {
	v         *Inventory
	e         Enrollment
	key       string
	projectID string
	// account is zero where the project has not connected the instance's account;
	// then nothing is read.
	account CloudAccount
	read    reading
}

func (b *binding) checkRead() error {
	if b.account.ID == "" {
		return nil
	}
	id := b.e.Instance.InstanceID
	switch {
	case b.read.outcome == readNotFound:
		return refuse(ErrForbidden, "Account %s does not know instance %s yet. Try again in a moment; if it is a real account, configure its credentials or set trust_events.", b.account.AccountID, id)
	case b.read.outcome == readFound && !isLive(b.read.instance.State):
		return refuse(ErrRevoked, "Instance %s is %s.", id, b.read.instance.State)
	}
	return nil
}

func (b *binding) bind(ctx context.Context, tx *store.Tx, hasInstance bool) (Enrolled, error) {
	if !hasInstance {
		return b.bindMachine(ctx, tx)
	}
	k := InstanceKey{b.projectID, b.e.Instance.AccountID, b.e.Instance.Region, b.e.Instance.InstanceID}
	tomb, err := loadTombstone(ctx, tx, k)
	if err != nil {
		return Enrolled{}, err
	}
	server, found, err := serverOf(ctx, tx, k)
	if err != nil {
		return Enrolled{}, err
	}
	if found {
		return b.bindTo(ctx, tx, server, false)
	}
	if tomb != nil {
		if tomb.final || tomb.ignored || (tomb.reason == reasonTerminated && b.read.outcome != readFound) {
			return Enrolled{}, refuse(ErrRevoked, "Instance %s was removed from the inventory (%s).", k.InstanceID, tomb.reason)
		}
		if err := deleteTombstone(ctx, tx, k); err != nil {
			return Enrolled{}, err
		}
	}
	if b.account.ID == "" {
		if moved, ok, err := b.moveHere(ctx, tx, k); err != nil || ok {
			return moved, err
		}
	}
	return b.bindTo(ctx, tx, b.newServer(k), true)
}

// moveHere takes over the record of an instance from a project that discovered
// it, when the token's project has not connected the account itself. The other
// project's syncs leave it alone from then on.
func (b *binding) moveHere(ctx context.Context, tx *store.Tx, k InstanceKey) (Enrolled, bool, error) {
	others, err := elsewhere(ctx, tx, k)
	if err != nil || len(others) == 0 {
		return Enrolled{}, false, err
	}
	s := others[0]
	old := InstanceKey{s.ProjectID, k.AccountID, k.Region, k.InstanceID}
	if err := saveTombstone(ctx, tx, old, s.ID, tombstone{at: b.v.now(), reason: reasonMoved, ignored: true}); err != nil {
		return Enrolled{}, false, err
	}
	before := s
	s.ProjectID, s.CloudAccountID = b.projectID, ""
	if s.ProjectName, err = projectName(ctx, tx, b.projectID); err != nil {
		return Enrolled{}, false, err
	}
	out, err := b.bindFrom(ctx, tx, &before, s)
	return out, true, err
}

func (b *binding) newServer(k InstanceKey) Server {
	now := b.v.now()
	s := Server{
		ID: uuid.NewString(), ProjectID: k.ProjectID, CloudAccountID: b.account.ID,
		AccountID: k.AccountID, Region: k.Region, InstanceID: k.InstanceID,
		RegisteredAt: now, ToldAt: now, EC2State: stateRunning, Facts: Facts{DiscoveredBy: causeAgent},
	}
	i := b.e.Instance
	s.Facts.EC2 = &Instance{ID: i.InstanceID, State: stateRunning, AvailabilityZone: i.AvailabilityZone, Type: i.InstanceType, ImageID: i.ImageID, PrivateIP: i.PrivateIP}
	if b.account.ID != "" && b.read.outcome == readFound {
		s.Facts.EC2, s.EC2State, s.ConfirmedAt = &b.read.instance, b.read.instance.State, b.read.started
	}
	return s
}

// bindMachine enrolls a machine that is no instance: its key is its identity.
func (b *binding) bindMachine(ctx context.Context, tx *store.Tx) (Enrolled, error) {
	agent, found, err := enrolledWith(ctx, tx, b.projectID, b.key)
	if err != nil {
		return Enrolled{}, err
	}
	if !found {
		return b.bindTo(ctx, tx, Server{ID: uuid.NewString(), ProjectID: b.projectID, RegisteredAt: b.v.now(), Facts: Facts{DiscoveredBy: causeAgent}}, true)
	}
	server, _, err := loadServer(ctx, tx, agent.ServerID)
	if err != nil {
		return Enrolled{}, err
	}
	return b.bindTo(ctx, tx, server, false)
}

func (b *binding) bindTo(ctx context.Context, tx *store.Tx, server Server, isNew bool) (Enrolled, error) {
	if isNew {
		name, err := projectName(ctx, tx, server.ProjectID)
		if err != nil {
			return Enrolled{}, err
		}
		server.ProjectName = name
		out, err := b.bindFrom(ctx, tx, nil, server)
		out.New = true
		return out, err
	}
	before := server
	return b.bindFrom(ctx, tx, &before, server)
}

// bindFrom binds the key to a server, which was as before says. A key may be
// bound to several servers, as machines cloned from one disk have the same; a
// server is bound to one key.
func (b *binding) bindFrom(ctx context.Context, tx *store.Tx, before *Server, server Server) (Enrolled, error) {
	now := b.v.now()
	agent, found, err := agentOf(ctx, tx, server.ID)
	if err != nil {
		return Enrolled{}, err
	}
	if found && agent.PublicKey != b.key {
		return Enrolled{}, errOtherKey
	}
	server.Managed, server.LastSeen = true, now
	facts := b.e.Facts
	server.Facts.Agent = &facts
	if !found {
		agent = enrolledAgent{ID: uuid.NewString(), ServerID: server.ID, PublicKey: b.key, CreatedAt: now}
	}
	options := b.account.Options
	if b.account.ID == "" {
		options = DefaultAccountOptions()
	}
	if err := b.v.saveChange(ctx, tx, changeEnrolled, options, before, &server, Cause{Kind: causeAgent, AgentID: agent.ID}); err != nil {
		return Enrolled{}, err
	}
	if !found {
		if err := insertAgent(ctx, tx, agent); err != nil {
			return Enrolled{}, err
		}
	}
	return Enrolled{AgentID: agent.ID, Server: server}, nil
}

// alertOtherKey publishes that an agent tried to take over another's server.
func (v *Inventory) alertOtherKey(ctx context.Context, b binding) error {
	return v.db.Update(ctx, func(tx *store.Tx) error {
		a := b.account
		if a.ID == "" {
			a = CloudAccount{AccountID: b.e.Instance.AccountID, ProjectID: b.projectID, Regions: []string{b.e.Instance.Region}}
		}
		return v.announce(ctx, tx, a, "server.enroll_refused", map[string]any{
			"instance_id": b.e.Instance.InstanceID, "region": b.e.Instance.Region, "reason": "another agent key is bound to the instance",
		})
	})
}

// Heartbeat is an agent's sign of life.
type Heartbeat struct {
	AgentID string
	// SignedAt is when the agent signed it; each must be later than the last.
	SignedAt time.Time
	// InstanceID is the instance that the agent runs on now.
	InstanceID string
	Facts      AgentFacts
}

// AgentKey returns the public key of an agent, to check its signature with. It
// returns ErrRevoked for an agent that is not, or no longer, bound to a server.
func (v *Inventory) AgentKey(ctx context.Context, agentID string) ([]byte, error) {
	agent, found, err := loadAgent(ctx, v.db, agentID)
	if err != nil {
		return nil, fmt.Errorf("load agent %s: %w", agentID, err)
	}
	if !found || !agent.RevokedAt.IsZero() {
		return nil, refuse(ErrRevoked, "Agent %s is not bound to a server of the inventory; enroll again.", agentID)
	}
	return base64.StdEncoding.DecodeString(agent.PublicKey)
}

// Beat takes a heartbeat whose signature was checked: the server is active from
// then on, and shows what its agent says. Errors are ErrRevoked where the server
// was removed, ErrCredential for a heartbeat that was sent before or comes from
// another instance.
func (v *Inventory) Beat(ctx context.Context, h Heartbeat) (Server, error) {
	if err := h.Facts.validate(); err != nil {
		return Server{}, err
	}
	var s Server
	err := v.db.Update(ctx, func(tx *store.Tx) error {
		agent, found, err := loadAgent(ctx, tx, h.AgentID)
		if err != nil {
			return err
		}
		if found {
			s, found, err = loadServer(ctx, tx, agent.ServerID)
		}
		if err != nil {
			return err
		}
		if !found || !agent.RevokedAt.IsZero() || !s.DeletedAt.IsZero() {
			return refuse(ErrRevoked, "The server of agent %s was removed from the inventory; enroll again.", h.AgentID)
		}
		if h.InstanceID != s.InstanceID {
			return refuse(ErrCredential, "Agent %s belongs to instance %q and runs on %q; enroll again.", h.AgentID, s.InstanceID, h.InstanceID)
		}
		if later, err := markSigned(ctx, tx, agent.ID, h.SignedAt); err != nil || !later {
			if err == nil {
				err = refuse(ErrCredential, "A heartbeat of this time or a later one was accepted already.")
			}
			return err
		}
		return v.seen(ctx, tx, &s, h)
	})
	if err != nil {
		return Server{}, fmt.Errorf("heartbeat: %w", err)
	}
	return s, nil
}

func (v *Inventory) seen(ctx context.Context, tx *store.Tx, s *Server, h Heartbeat) error {
	now := v.now()
	before := *s
	s.LastSeen = now
	if s.Facts.Agent != nil && reflect.DeepEqual(*s.Facts.Agent, h.Facts) {
		return markSeen(ctx, tx, s.ID, now)
	}
	s.Facts.Agent = &h.Facts
	options := DefaultAccountOptions()
	if s.CloudAccountID != "" {
		a, found, err := loadAccount(ctx, tx, s.CloudAccountID)
		if err != nil {
			return err
		}
		if found {
			options = a.Options
		}
	}
	return v.saveChange(ctx, tx, changeUpdated, options, &before, s, Cause{Kind: causeAgent, AgentID: h.AgentID})
}
