package inventory

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/rialto-bus/rialto/internal/httpapi"
)

// The agent protocol. An agent has an ed25519 key of its own; each request is
// signed with it.
const (
	enrollPath    = "/v1/agent/enroll"
	heartbeatPath = "/v1/agent/heartbeat"
	// maxAgentBody bounds an agent's request, in bytes.
	maxAgentBody = 128 << 10
	// heartbeatEvery is how often agents are told to send one.
	heartbeatEvery = 5 * time.Minute
)

// agentReport is what an agent says of itself in both requests.
type agentReport struct {
	AgentFacts
	Instance *InstanceIdentity `json:"instance,omitempty"`
}

type enrollJSON struct {
	agentReport
	TokenID   string `json:"token_id"`
	Secret    string `json:"secret"`
	PublicKey string `json:"public_key"`
}

type enrolledJSON struct {
	AgentID          string     `json:"agent_id"`
	ServerID         string     `json:"server_id"`
	HeartbeatSeconds int        `json:"heartbeat_seconds"`
	Server           serverJSON `json:"server"`
}

type beatJSON struct {
	ServerID         string `json:"server_id"`
	HeartbeatSeconds int    `json:"heartbeat_seconds"`
}

// readAgentBody reads a request whole, as its signature covers the bytes.
func readAgentBody(w http.ResponseWriter, r *http.Request, v any) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAgentBody))
	if err != nil {
		return nil, err
	}
	if err := httpapi.CheckJSON(body); err != nil {
		return nil, httpapi.Invalid("The request body is not valid JSON: %v.", err)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return nil, httpapi.Invalid("The request body is not valid: %v.", err)
	}
	return body, nil
}

func (v *Inventory) serveEnroll(w http.ResponseWriter, r *http.Request) error {
	var in enrollJSON
	body, err := readAgentBody(w, r, &in)
	if err != nil {
		return err
	}
	key, err := base64.StdEncoding.DecodeString(in.PublicKey)
	if err != nil {
		return httpapi.Invalid("public_key is not base64.")
	}
	if _, err := checkSignature(r.Header, key, actionEnroll, "", v.now(), body); err != nil {
		return err
	}
	e := Enrollment{TokenID: in.TokenID, Secret: in.Secret, PublicKey: key, Facts: in.AgentFacts}
	if in.Instance != nil {
		e.Instance = *in.Instance
	}
	out, err := v.Enroll(r.Context(), e)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if out.New {
		status = http.StatusCreated
	}
	httpapi.JSON(w, status, enrolledJSON{
		AgentID: out.AgentID, ServerID: out.Server.ID, HeartbeatSeconds: int(heartbeatEvery / time.Second),
		Server: toServerJSON(&out.Server, v.now()),
	})
	return nil
}

func (v *Inventory) serveHeartbeat(w http.ResponseWriter, r *http.Request) error {
	var in agentReport
	body, err := readAgentBody(w, r, &in)
	if err != nil {
		return err
	}
	id := r.Header.Get(headerAgent)
	key, err := v.AgentKey(r.Context(), id)
	if err != nil {
		return err
	}
	at, err := checkSignature(r.Header, key, actionHeartbeat, id, v.now(), body)
	if err != nil {
		return err
	}
	h := Heartbeat{AgentID: id, SignedAt: at, Facts: in.AgentFacts}
	if in.Instance != nil {
		h.InstanceID = in.Instance.InstanceID
	}
	s, err := v.Beat(r.Context(), h)
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, beatJSON{ServerID: s.ID, HeartbeatSeconds: int(heartbeatEvery / time.Second)})
	return nil
}
