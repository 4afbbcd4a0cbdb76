package inventory

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/work"
)

// Agent is the client half of enrollment: it runs on a server, enrolls it, and
// sends heartbeats. It shares nothing with an Inventory but the protocol.
type Agent struct {
	// StateFile keeps the agent's key and what it is enrolled as, with mode 0600.
	StateFile string
	// Identify says which instance this is; nil for a machine that is none. It is
	// asked at start: a machine that was cloned from an enrolled one finds that it
	// is another, and enrolls anew.
	Identify func(ctx context.Context) (InstanceIdentity, error)
	// Facts says what is to be shown of the machine; asked at each heartbeat.
	Facts func(ctx context.Context) (AgentFacts, error)
	// HTTP makes the calls; nil stands for one with a timeout of 30 seconds.
	HTTP *http.Client
	// Logger takes what happens; nil discards it.
	Logger *slog.Logger
	// Every overrides the time between heartbeats that the server asks for.
	Every time.Duration
}

// agentState is the agent's state file.
type agentState struct {
	URL        string `json:"url"`
	PrivateKey []byte `json:"private_key"`
	AgentID    string `json:"agent_id"`
	ServerID   string `json:"server_id"`
	InstanceID string `json:"instance_id,omitempty"`
}

// Run enrolls the machine unless it is enrolled already, and sends heartbeats
// until ctx ends. Token is an enrollment token; it may be empty for a machine that
// is enrolled. While the server cannot be reached it keeps trying. It returns an
// error that wraps ErrRevoked when the server was removed from the inventory,
// ErrCredential when the token is not accepted.
func (a *Agent) Run(ctx context.Context, token string) error {
	state, identity, err := a.prepare(ctx)
	if err != nil {
		return err
	}
	if state.AgentID == "" {
		if state, err = a.enrollUntil(ctx, state, identity, token); err != nil {
			return err
		}
	}
	return a.beatUntil(ctx, state, identity)
}

// prepare loads the state, or makes a key for a new one. A state that belongs to
// another instance is that of the machine this one was cloned from: its key
// goes on to be used, which is how the server sees that it is a clone.
func (a *Agent) prepare(ctx context.Context) (agentState, InstanceIdentity, error) {
	var identity InstanceIdentity
	var err error
	if a.Identify != nil {
		if identity, err = a.Identify(ctx); err != nil {
			return agentState{}, identity, fmt.Errorf("find out which instance this is: %w", err)
		}
	}
	state, err := a.load()
	if err != nil {
		return state, identity, err
	}
	if state.PrivateKey == nil {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return state, identity, fmt.Errorf("make the agent's key: %w", err)
		}
		state.PrivateKey = key
	}
	if state.AgentID != "" && state.InstanceID != identity.InstanceID {
		a.log().Warn("this machine was cloned from an enrolled one; enrolling it anew", "from", state.InstanceID, "instance", identity.InstanceID)
		state.AgentID, state.ServerID = "", ""
	}
	return state, identity, nil
}

func (a *Agent) load() (agentState, error) {
	var s agentState
	b, err := os.ReadFile(a.StateFile)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err == nil && len(s.PrivateKey) != ed25519.PrivateKeySize {
		err = errors.New("it holds no key")
	}
	if err != nil {
		return s, fmt.Errorf("read the agent's state %s: %w; delete the file to enroll as new", a.StateFile, err)
	}
	return s, nil
}

// save replaces the state file, readable to its owner only.
func (a *Agent) save(s agentState) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(a.StateFile), 0o700); err != nil {
		return fmt.Errorf("save the agent's state: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(a.StateFile), ".agent-*") // mode 0600
	if err != nil {
		return fmt.Errorf("save the agent's state: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("save the agent's state: %w", err)
	}
	if err := os.Rename(f.Name(), a.StateFile); err != nil {
		return fmt.Errorf("save the agent's state: %w", err)
	}
	return nil
}

func (a *Agent) enrollUntil(ctx context.Context, s agentState, identity InstanceIdentity, token string) (agentState, error) {
	if token == "" {
		return s, fmt.Errorf("this machine is not enrolled; give an enrollment token: %w", ErrCredential)
	}
	text, err := decodeToken(token)
	if err != nil {
		return s, err
	}
	for attempt := 1; ; attempt++ {
		enrolled, err := a.enroll(ctx, s, identity, text)
		if err == nil {
			return enrolled, nil
		}
		if _, refused := errors.AsType[*refusedError](err); refused {
			return s, fmt.Errorf("enroll at %s: %w", text.URL, err)
		}
		a.log().Warn("could not enroll, trying again", "server", text.URL, "error", err)
		if err := wait(ctx, work.Backoff(attempt, 2*time.Second, 2*time.Minute, nil)); err != nil {
			return s, err
		}
	}
}

func (a *Agent) enroll(ctx context.Context, s agentState, identity InstanceIdentity, t tokenText) (agentState, error) {
	report, err := a.report(ctx, identity)
	if err != nil {
		return s, err
	}
	public := ed25519.PrivateKey(s.PrivateKey).Public().(ed25519.PublicKey)
	var out enrolledJSON
	err = a.call(ctx, t.URL+enrollPath, actionEnroll, s, enrollJSON{
		agentReport: report, TokenID: t.ID, Secret: t.Secret, PublicKey: base64.StdEncoding.EncodeToString(public),
	}, &out)
	if err != nil {
		return s, err
	}
	s.URL, s.AgentID, s.ServerID, s.InstanceID = t.URL, out.AgentID, out.ServerID, identity.InstanceID
	if err := a.save(s); err != nil {
		return s, err
	}
	a.log().Info("enrolled", "server", t.URL, "server_id", s.ServerID, "project", out.Server.ProjectName)
	return s, nil
}

func (a *Agent) report(ctx context.Context, identity InstanceIdentity) (agentReport, error) {
	facts, err := a.Facts(ctx)
	if err != nil {
		return agentReport{}, fmt.Errorf("collect the machine's facts: %w", err)
	}
	r := agentReport{AgentFacts: facts}
	if identity != (InstanceIdentity{}) {
		r.Instance = &identity
	}
	return r, nil
}

func (a *Agent) beatUntil(ctx context.Context, s agentState, identity InstanceIdentity) error {
	failures := 0
	for {
		every, err := a.beat(ctx, s, identity)
		switch {
		case err == nil:
			failures = 0
		case errors.Is(err, ErrRevoked):
			// Forgotten, so that the next start with a token enrolls anew.
			s.AgentID, s.ServerID = "", ""
			return errors.Join(fmt.Errorf("heartbeat to %s: %w", s.URL, err), a.save(s))
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			failures++
			a.log().Warn("heartbeat failed, trying again", "server", s.URL, "error", err)
			every = work.Backoff(failures, 5*time.Second, heartbeatEvery, nil)
		}
		// A tenth either way keeps a fleet that was started together apart.
		every += time.Duration((rand.Float64() - 0.5) * 0.2 * float64(every))
		if err := wait(ctx, every); err != nil {
			return err
		}
	}
}

func (a *Agent) beat(ctx context.Context, s agentState, identity InstanceIdentity) (time.Duration, error) {
	report, err := a.report(ctx, identity)
	if err != nil {
		return 0, err
	}
	var out beatJSON
	if err := a.call(ctx, s.URL+heartbeatPath, actionHeartbeat, s, report, &out); err != nil {
		return 0, err
	}
	every := max(time.Duration(out.HeartbeatSeconds)*time.Second, time.Second)
	if a.Every > 0 {
		every = a.Every
	}
	return every, nil
}

// call sends a signed request and reads its answer into out.
func (a *Agent) call(ctx context.Context, url, action string, s agentState, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	agentID := s.AgentID
	if action == actionEnroll {
		agentID = ""
	}
	signRequest(req, s.PrivateKey, action, agentID, time.Now(), body)
	client := a.HTTP
	if client == nil {
		client = &http.Client{Timeout: 30 * time.Second}
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return agentError(resp.StatusCode, answer)
	}
	return json.Unmarshal(answer, out)
}

// refusedError is an answer that will be the same the next time.
type refusedError struct {
	kind    error
	message string
}

// Error returns the server's message.
func (e *refusedError) Error() string { return e.message }

// Unwrap returns the kind of refusal.
func (e *refusedError) Unwrap() error { return e.kind }

func agentError(status int, answer []byte) error {
	var e struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(answer, &e); err != nil || e.Error.Code == "" {
		return fmt.Errorf("the server answered %d: %.200s", status, strings.TrimSpace(string(answer)))
	}
	kinds := map[string]error{
		httpapi.CodeServerRevoked: ErrRevoked, httpapi.CodeAuthenticationError: ErrCredential, httpapi.CodeInvalidRequest: ErrInvalid,
	}
	if kind, ok := kinds[e.Error.Code]; ok {
		return &refusedError{kind, e.Error.Message}
	}
	// Among the others is an instance that the cloud does not show yet.
	return fmt.Errorf("%s: %s", e.Error.Code, e.Error.Message)
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *Agent) log() *slog.Logger {
	if a.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return a.Logger
}
