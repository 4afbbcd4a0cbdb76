package inventory

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/store"
)

// unprotectedAfter is how long a running instance may be without an agent before
// it is listed as unprotected.
const unprotectedAfter = 24 * time.Hour

// Servers lists servers by registration, at most count of those after the cursor
// given (empty for the first ones); backwards, those before it; with descending,
// the whole order is reversed. more reports whether there are others beyond, in
// the direction that was read. Cursor makes a cursor of a server.
func (v *Inventory) Servers(ctx context.Context, f ServerFilter, cursor string, count int, backwards, descending bool) (list []Server, more bool, err error) {
	from, err := parseCursor(cursor)
	if err != nil {
		return nil, false, err
	}
	now := v.now()
	chunk := count + 1
	if f.needsReading() {
		chunk = loadChunk
	}
	for {
		rows, err := listServers(ctx, v.db, f, from, descending != backwards, chunk)
		if err != nil {
			return nil, false, fmt.Errorf("list servers: %w", err)
		}
		for i := range rows {
			from = serverCursor{millis(rows[i].RegisteredAt), rows[i].ID}
			if !f.matches(&rows[i], now) {
				continue
			}
			if len(list) == count {
				more = true
				break
			}
			list = append(list, rows[i])
		}
		if more || len(rows) < chunk {
			break
		}
	}
	if backwards {
		slices.Reverse(list)
	}
	return list, more, nil
}

// needsReading: SQL alone cannot apply the filter.
func (f *ServerFilter) needsReading() bool {
	return f.AltNameContains != "" || f.State != "" || f.Unprotected || !f.Selector.Empty()
}

func (f *ServerFilter) matches(s *Server, now time.Time) bool {
	if f.State != "" && (f.State == "ACTIVE") != s.Active(now) {
		return false
	}
	if f.AltNameContains != "" && !slices.ContainsFunc(s.AltNames(), func(n string) bool { return strings.Contains(n, f.AltNameContains) }) {
		return false
	}
	if f.Unprotected && (s.Managed || s.EC2State != stateRunning || now.Sub(s.RegisteredAt) < unprotectedAfter) {
		return false
	}
	return f.Selector.Empty() || f.Selector.Matches(s.Labels())
}

// Cursor returns the place of a server in the list.
func (s *Server) Cursor() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(millis(s.RegisteredAt), 10) + "/" + s.ID))
}

func parseCursor(s string) (serverCursor, error) {
	if s == "" {
		return serverCursor{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	at, id, ok := strings.Cut(string(raw), "/")
	ms, err2 := strconv.ParseInt(at, 10, 64)
	if err != nil || err2 != nil || !ok || id == "" {
		return serverCursor{}, invalid("offset %q is not from a Link header of this list.", s)
	}
	return serverCursor{ms, id}, nil
}

// ServerID returns the id of the server that a caller names, by that id or by its
// EC2 instance id, of a project or of any for an empty one. A removed server
// keeps its id as long as its history.
func (v *Inventory) ServerID(ctx context.Context, project, name string) (string, error) {
	if !strings.HasPrefix(name, "i-") {
		return name, nil
	}
	id, found, err := serverIDOf(ctx, v.db, project, name)
	if err != nil {
		return "", fmt.Errorf("look for the server of instance %s: %w", name, err)
	}
	if !found {
		return "", notFound("There is no server of instance %s.", name)
	}
	return id, nil
}

// Server returns a server of a project, or of any project for an empty one. A
// removed one is ErrNotFound.
func (v *Inventory) Server(ctx context.Context, project, id string) (Server, error) {
	return serverIn(ctx, v.db, project, id)
}

func serverIn(ctx context.Context, q store.Querier, project, id string) (Server, error) {
	if project != "" {
		if _, err := projectNamed(ctx, q, project); err != nil {
			return Server{}, err
		}
	}
	s, found, err := loadServer(ctx, q, id)
	if err != nil {
		return Server{}, fmt.Errorf("load server %s: %w", id, err)
	}
	if !found || !s.DeletedAt.IsZero() || (project != "" && s.ProjectName != project) {
		return Server{}, notFound("Server %s does not exist.", id)
	}
	return s, nil
}

var hostnameForm = regexp.MustCompile(`^[\p{L}\p{N}]([\p{L}\p{N}._-]{0,251}[\p{L}\p{N}])?$`)

func (m *ManualFacts) validate() error {
	if !hostnameForm.MatchString(m.Hostname) {
		return invalid("hostname %q must be 1 to 253 letters, digits, hyphens, underscores and full stops.", m.Hostname)
	}
	if err := checkAddress("access_address", m.AccessAddress); err != nil {
		return err
	}
	if m.Bastion != "" && !hostnameForm.MatchString(m.Bastion) {
		return invalid("bastion %q is not a host's name.", m.Bastion)
	}
	return checkNames("alt_names", m.AltNames)
}

func checkAddress(field, s string) error {
	if s != "" && net.ParseIP(s) == nil && !hostnameForm.MatchString(s) {
		return invalid("%s %q is neither an IP address nor a host's name.", field, s)
	}
	return nil
}

const maxNames = 32

func checkNames(field string, names []string) error {
	if len(names) > maxNames {
		return invalid("%s has %d names, more than the %d allowed.", field, len(names), maxNames)
	}
	for _, n := range names {
		if !hostnameForm.MatchString(n) {
			return invalid("%s: %q is not a host's name.", field, n)
		}
	}
	return nil
}

// CreateServer makes an unmanaged record, such as that of an appliance or a
// bastion. It is active until it is deleted.
func (v *Inventory) CreateServer(ctx context.Context, project string, m ManualFacts, keyID string) (Server, error) {
	if err := m.validate(); err != nil {
		return Server{}, err
	}
	var s Server
	err := v.db.Update(ctx, func(tx *store.Tx) error {
		p, err := projectNamed(ctx, tx, project)
		if err != nil {
			return err
		}
		s = Server{ID: uuid.NewString(), ProjectID: p.ID, ProjectName: p.Name, RegisteredAt: v.now(), Facts: Facts{Manual: &m}}
		return v.saveChange(ctx, tx, changeAdded, AccountOptions{}, nil, &s, Cause{Kind: causeAPI, KeyID: keyID})
	})
	return s, err
}

// SetLabels replaces all labels of a server that were set through the API; those
// of other sources stay. A missing api. prefix is added.
func (v *Inventory) SetLabels(ctx context.Context, project, id string, labels map[string]string, keyID string) error {
	labels, err := checkLabels(labels)
	if err != nil {
		return err
	}
	return v.db.Update(ctx, func(tx *store.Tx) error {
		s, err := serverIn(ctx, tx, project, id)
		if err != nil {
			return err
		}
		before := s
		s.APILabels = labels
		if err := saveServer(ctx, tx, &s); err != nil {
			return err
		}
		return v.record(ctx, tx, changeLabeled, &before, &s, Cause{Kind: causeAPI, KeyID: keyID})
	})
}

// DeleteServer removes a server and revokes its agent. An instance that is still
// there comes back with the next full sync, unless ignore is set: then it stays
// away.
func (v *Inventory) DeleteServer(ctx context.Context, project, id string, ignore bool, keyID string) error {
	return v.db.Update(ctx, func(tx *store.Tx) error {
		s, err := serverIn(ctx, tx, project, id)
		if err != nil {
			return err
		}
		return v.removeServer(ctx, tx, s, tombstone{at: v.now(), reason: reasonManual, ignored: ignore},
			Cause{Kind: causeAPI, KeyID: keyID, Reason: reasonManual})
	})
}
