package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// machine is an agent on a machine of its own.
type machine struct {
	*Agent
	identity InstanceIdentity
	facts    AgentFacts
	cancel   context.CancelFunc
	done     chan error
}

func newMachine(t *testing.T, instance string) *machine {
	m := &machine{facts: AgentFacts{Hostname: "web-1", OS: "Debian 13", OSType: "linux", Version: "1.0", Labels: map[string]string{"rack": "7"}}}
	if instance != "" {
		m.identity = InstanceIdentity{AccountID: testAccount, Region: testRegion, InstanceID: instance}
	}
	m.Agent = &Agent{
		StateFile: filepath.Join(t.TempDir(), "agent", "state.json"),
		Identify:  func(context.Context) (InstanceIdentity, error) { return m.identity, nil },
		Facts:     func(context.Context) (AgentFacts, error) { return m.facts, nil },
		Every:     10 * time.Millisecond,
	}
	return m
}

func (m *machine) start(t *testing.T, token string) {
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel, m.done = cancel, make(chan error, 1)
	go func() { m.done <- m.Run(ctx, token) }()
	t.Cleanup(m.stop)
}

func (m *machine) stop() {
	m.cancel()
	select {
	case <-m.done:
	default:
		<-m.done
	}
	m.done <- nil
}

func (m *machine) state(t *testing.T) agentState {
	t.Helper()
	s, err := m.load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) enrollmentToken(project string) (EnrollmentToken, string) {
	w.t.Helper()
	tok, text, err := w.v.CreateEnrollmentToken(w.t.Context(), project, "for tests", "key")
	if err != nil {
		w.t.Fatal(err)
	}
	return tok, text
}

func TestAnAgentBindsToTheDiscoveredServerAndKeepsItActive(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		w.project(testProject)
		w.connect(testProject, testAccount, nil)
		w.ec2.put(testRegion, Instance{ID: testInstance, State: stateRunning, PrivateIP: "10.0.0.5"})
		w.run()
		discovered, _ := w.server(testProject, testInstance)
		tok, text := w.enrollmentToken(testProject)

		m := newMachine(t, testInstance)
		m.start(t, text)
		w.eventually("the server is active", func() bool { s, _ := w.server(testProject, testInstance); return s.Active(time.Now()) })
		s, _ := w.server(testProject, testInstance)
		if s.ID != discovered.ID || !s.Managed || s.Hostname != "web-1" || s.AccessAddress != "10.0.0.5" || s.Labels()["agent.rack"] != "7" {
			t.Errorf("enrolled server %+v, discovered as %s", s, discovered.ID)
		}
		seen := s.LastSeen
		w.eventually("a heartbeat", func() bool { s, _ := w.server(testProject, testInstance); return s.LastSeen.After(seen) })
		if fi, err := os.Stat(m.StateFile); err != nil {
			t.Error(err)
		} else if fi.Mode().Perm() != 0o600 {
			t.Errorf("state file has mode %v", fi.Mode())
		}
		if got, err := w.v.EnrollmentToken(t.Context(), testProject, tok.ID); err != nil || got.Uses != 1 || got.LastUsedAt.IsZero() {
			t.Errorf("token after use: %+v, %v", got, err)
		}

		// Restarted, it needs no token and no new enrollment.
		id := m.state(t).AgentID
		m.stop()
		<-m.done
		m.start(t, "")
		seen = time.Now()
		w.eventually("a heartbeat after the restart", func() bool { s, _ := w.server(testProject, testInstance); return s.LastSeen.After(seen) })
		if m.state(t).AgentID != id {
			t.Error("a restart enrolled anew")
		}

		// Removed from the inventory, it is told so and forgets what it was.
		if err := w.v.DeleteServer(t.Context(), testProject, s.ID, false, "key"); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-m.done:
			if !errors.Is(err, ErrRevoked) {
				t.Errorf("the agent of a removed server ended with %v", err)
			}
			m.done <- nil
		case <-time.After(20 * time.Second):
			t.Fatal("the agent of a removed server goes on")
		}
		if m.state(t).AgentID != "" {
			t.Error("the agent remembers a server that is gone")
		}
	})
}

// enroll enrolls once, without heartbeats.
func (m *machine) enrollOnce(t *testing.T, token string) (agentState, error) {
	t.Helper()
	state, identity, err := m.prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := decodeToken(token)
	if err != nil {
		return state, err
	}
	return m.enroll(t.Context(), state, identity, text)
}

func TestEnrollmentRules(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	w.project(testProject)
	w.connect(testProject, testAccount, nil)
	w.instances(testRegion, 6)
	w.ec2.put(testRegion, Instance{ID: instanceID(5), State: stateTerminated})
	tok, text := w.enrollmentToken(testProject)

	first := newMachine(t, instanceID(0))
	a, err := first.enrollOnce(t, text)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := w.server(testProject, instanceID(0)); !ok || s.ID != a.ServerID || s.unconfirmed() {
		t.Error("an agent that comes before the event makes no confirmed record")
	}

	t.Run("enrolling again with the same key changes nothing", func(t *testing.T) {
		if again, err := first.enrollOnce(t, text); err != nil || again.AgentID != a.AgentID || again.ServerID != a.ServerID {
			t.Errorf("%+v, %v", again, err)
		}
	})
	t.Run("another key for the same instance is refused and reported", func(t *testing.T) {
		thief := newMachine(t, instanceID(0))
		if _, err := thief.enrollOnce(t, text); err == nil || !strings.Contains(err.Error(), "another agent") {
			t.Errorf("got %v", err)
		}
		reported := false
		for _, e := range w.published() {
			reported = reported || e["detail-type"] == "server.enroll_refused"
		}
		if !reported {
			t.Error("nothing was published about it")
		}
	})
	t.Run("a clone becomes a server of its own and leaves the original alone", func(t *testing.T) {
		clone := newMachine(t, instanceID(1))
		clone.StateFile = filepath.Join(t.TempDir(), "state.json")
		b, err := os.ReadFile(first.StateFile)
		if err == nil {
			err = os.WriteFile(clone.StateFile, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := clone.enrollOnce(t, text)
		if err != nil {
			t.Fatal(err)
		}
		if c.ServerID == a.ServerID || c.AgentID == a.AgentID {
			t.Error("the clone took over the original's server")
		}
		if _, err := first.beat(t.Context(), first.state(t), first.identity); err != nil {
			t.Errorf("the original's heartbeat: %v", err)
		}
		// With the original's own agent id, a clone is found out by its instance.
		if _, err := first.beat(t.Context(), first.state(t), clone.identity); !errors.Is(err, ErrCredential) {
			t.Errorf("a heartbeat from another instance: %v", err)
		}
	})
	t.Run("an instance that the cloud does not know has to wait", func(t *testing.T) {
		unknown := newMachine(t, instanceID(77))
		if _, err := unknown.enrollOnce(t, text); err == nil || errors.Is(err, ErrCredential) || errors.Is(err, ErrRevoked) {
			t.Errorf("got %v, want an error that is tried again", err)
		}
	})
	t.Run("a terminated instance is refused", func(t *testing.T) {
		if _, err := newMachine(t, instanceID(5)).enrollOnce(t, text); !errors.Is(err, ErrRevoked) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a machine that is no instance is known by its key", func(t *testing.T) {
		m := newMachine(t, "")
		one, err := m.enrollOnce(t, text)
		if err != nil {
			t.Fatal(err)
		}
		two, err := m.enrollOnce(t, text)
		if err != nil || one.ServerID != two.ServerID {
			t.Errorf("%v then %v, %v", one.ServerID, two.ServerID, err)
		}
	})
	t.Run("a heartbeat is accepted once", func(t *testing.T) {
		var sent *http.Request
		var body []byte
		first.HTTP = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			sent = r.Clone(context.Background())
			body, _ = io.ReadAll(r.Body)
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			return http.DefaultTransport.RoundTrip(r)
		})}
		if _, err := first.beat(t.Context(), first.state(t), first.identity); err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]func(){
			"replayed":          func() {},
			"with another body": func() { body = []byte(strings.Replace(string(body), "web-1", "web-2", 1)) },
		} {
			change()
			sent.Body, sent.RequestURI = io.NopCloser(strings.NewReader(string(body))), ""
			resp, err := http.DefaultTransport.RoundTrip(sent)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 401 {
				t.Errorf("%s: answered %d, want 401", name, resp.StatusCode)
			}
		}
	})
	t.Run("a deleted token is refused", func(t *testing.T) {
		if err := w.v.DeleteEnrollmentToken(t.Context(), testProject, tok.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := newMachine(t, instanceID(2)).enrollOnce(t, text); !errors.Is(err, ErrCredential) {
			t.Errorf("got %v", err)
		}
	})
}

func TestATokenOfAnotherProjectMovesTheServerThere(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	w.project(testProject)
	a := w.connect(testProject, testAccount, nil)
	w.project("ops")
	w.instances(testRegion, 1)
	w.run()
	discovered, _ := w.server(testProject, instanceID(0))
	_, text := w.enrollmentToken("ops")
	s, err := newMachine(t, instanceID(0)).enrollOnce(t, text)
	if err != nil {
		t.Fatal(err)
	}
	if s.ServerID != discovered.ID {
		t.Error("the record was not moved but made anew")
	}
	w.sync(testProject, a.ID, false)
	if len(w.states(testProject)) != 0 || len(w.states("ops")) != 1 {
		t.Errorf("after a sync: %v and %v", w.states(testProject), w.states("ops"))
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestIMDSIdentity(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == "PUT" && r.URL.Path == "/latest/api/token" && r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") != "":
			io.WriteString(w, "session")
		case r.URL.Path == "/latest/dynamic/instance-identity/document" && r.Header.Get("X-aws-ec2-metadata-token") == "session":
			_ = json.NewEncoder(w).Encode(map[string]any{"accountId": testAccount, "region": testRegion, "instanceId": testInstance, "privateIp": "10.0.0.5", "billingProducts": nil})
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer srv.Close()
	id, err := IMDSIdentity(t.Context(), srv.URL+"/")
	if err != nil || id.InstanceID != testInstance || id.AccountID != testAccount || id.PrivateIP != "10.0.0.5" {
		t.Errorf("identity %+v, %v", id, err)
	}
	if _, err := IMDSIdentity(t.Context(), srv.URL+"/elsewhere"); err == nil {
		t.Error("no error where there is no metadata service")
	}
}
