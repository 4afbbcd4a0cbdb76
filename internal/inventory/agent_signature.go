package inventory

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

// The headers of an agent's signed request.
const (
	headerAgent     = "Rialto-Agent"
	headerTimestamp = "Rialto-Timestamp" // unix milliseconds
	headerSignature = "Rialto-Signature" // base64
)

// maxSkew is how far an agent's clock may be from the server's. AWS: the same for
// signed requests.
const maxSkew = 5 * time.Minute

// The actions that an agent signs for, so that no request can be taken for another.
const (
	actionEnroll    = "enroll"
	actionHeartbeat = "heartbeat"
)

// signedText is what an agent signs.
func signedText(action, agentID, timestamp string, body []byte) []byte {
	sum := sha256.Sum256(body)
	return []byte("rialto-agent-v1\n" + action + "\n" + agentID + "\n" + timestamp + "\n" + hex.EncodeToString(sum[:]))
}

func signRequest(r *http.Request, key ed25519.PrivateKey, action, agentID string, now time.Time, body []byte) {
	ts := strconv.FormatInt(now.UnixMilli(), 10)
	if agentID != "" {
		r.Header.Set(headerAgent, agentID)
	}
	r.Header.Set(headerTimestamp, ts)
	r.Header.Set(headerSignature, base64.StdEncoding.EncodeToString(ed25519.Sign(key, signedText(action, agentID, ts, body))))
}

// checkSignature returns when a request was signed, or ErrCredential.
func checkSignature(h http.Header, key []byte, action, agentID string, now time.Time, body []byte) (time.Time, error) {
	ts := h.Get(headerTimestamp)
	ms, err := strconv.ParseInt(ts, 10, 64)
	if err != nil {
		return time.Time{}, refuse(ErrCredential, "Header %s must be a time in unix milliseconds.", headerTimestamp)
	}
	at := time.UnixMilli(ms).UTC()
	if d := now.Sub(at).Abs(); d > maxSkew {
		return time.Time{}, refuse(ErrCredential, "The request was signed %s away from the server's time; set the machine's clock.", d.Round(time.Second))
	}
	sig, err := base64.StdEncoding.DecodeString(h.Get(headerSignature))
	if err != nil || len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, signedText(action, agentID, ts, body), sig) {
		return time.Time{}, refuse(ErrCredential, "The signature in header %s is not that of the agent's key.", headerSignature)
	}
	return at, nil
}
