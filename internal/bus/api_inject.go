package bus

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

// injectedEvent is one event in the answer of POST /v1/events.
type injectedEvent struct {
	ID    string   `json:"id"`
	Bus   string   `json:"bus"` // ARN
	Notes []string `json:"notes,omitempty"`
}

// Register adds POST /v1/events to mux: it injects the envelopes in the body, a
// JSON object, a JSON array of them or JSON lines, as they are. It is for admins.
// The query parameter bus is a name or an ARN, region the region of a bus given
// by name. It also adds the routes of replays.
func (b *Buses) Register(mux *http.ServeMux) {
	b.registerReplays(mux)
	mux.HandleFunc("POST /v1/events", func(w http.ResponseWriter, r *http.Request) {
		answer, err := b.serveInject(w, r)
		if err != nil {
			httpapi.WriteError(w, r, err)
			return
		}
		httpapi.JSON(w, http.StatusOK, map[string]any{"events": answer})
	})
}

func (b *Buses) serveInject(w http.ResponseWriter, r *http.Request) ([]injectedEvent, error) {
	p, ok := auth.PrincipalFrom(r.Context())
	if !ok {
		return nil, httpapi.Unauthenticated("Injecting events needs an access key.")
	}
	raws, err := readEvents(w, r)
	if err != nil {
		return nil, err
	}
	query := r.URL.Query()
	injected, err := b.Inject(r.Context(), p, raws, InjectInto{Bus: query.Get("bus"), Region: query.Get("region")})
	if err != nil {
		return nil, err
	}
	answer := make([]injectedEvent, len(injected))
	for i, e := range injected {
		answer[i] = injectedEvent{ID: e.ID, Bus: e.Bus.ARN(), Notes: e.Notes}
	}
	return answer, nil
}

// readEvents cuts the body into events without looking into them.
func readEvents(w http.ResponseWriter, r *http.Request) ([][]byte, error) {
	contentType := r.Header.Get("Content-Type")
	if !httpapi.IsJSON(contentType) && !httpapi.IsJSONLines(contentType) {
		return nil, &httpapi.Error{
			Status: http.StatusUnsupportedMediaType, Code: httpapi.CodeUnsupportedContentType,
			Message: "Send the events with Content-Type: application/json or application/x-ndjson.",
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, event.MaxSize))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, err
		}
		return nil, httpapi.Invalid("The request body could not be read: %v.", err)
	}
	return splitEvents(body)
}

func splitEvents(body []byte) ([][]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	var raws [][]byte
	for {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return raws, nil
		}
		if err != nil {
			return nil, httpapi.Invalid("The request body is not valid JSON after event %d: %s.", len(raws), strings.TrimPrefix(err.Error(), "json: "))
		}
		if raw[0] != '[' {
			raws = append(raws, raw)
			continue
		}
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, httpapi.Invalid("The request body is not a list of events: %v.", err)
		}
		for _, e := range list {
			raws = append(raws, e)
		}
	}
}
