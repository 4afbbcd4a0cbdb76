package bus

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

// replayJSON is a replay as the REST API shows it. LastEventAt and EndedAt are null
// until there is such a time.
type replayJSON struct {
	Name        string      `json:"name"`
	Region      string      `json:"region"`
	ARN         string      `json:"arn"`
	State       ReplayState `json:"state"`
	StateReason *string     `json:"state_reason"`
	Description string      `json:"description"`
	Archive     string      `json:"archive"`
	ArchiveARN  string      `json:"archive_arn"`
	Bus         string      `json:"bus"`
	BusARN      string      `json:"bus_arn"`
	Rules       []string    `json:"rule_arns"` // empty for all
	From        time.Time   `json:"event_start_time"`
	Until       time.Time   `json:"event_end_time"`
	LastEventAt *time.Time  `json:"event_last_replayed_time"`
	StartedAt   time.Time   `json:"started_at"`
	EndedAt     *time.Time  `json:"ended_at"`
	Replayed    int64       `json:"replayed"`
	Total       int64       `json:"total"`
}

func toReplayJSON(r *Replay) replayJSON {
	return replayJSON{
		Name: r.Name, Region: r.Bus.Region, ARN: r.ARN(), State: r.State, StateReason: given(r.StateReason), Description: r.Description,
		Archive: r.Archive, ArchiveARN: r.ArchiveARN(), Bus: r.Bus.Name, BusARN: r.Bus.ARN(), Rules: append([]string{}, r.Rules...),
		From: r.From, Until: r.Until, LastEventAt: timeGiven(r.LastEventAt), StartedAt: r.StartedAt, EndedAt: timeGiven(r.EndedAt),
		Replayed: r.Replayed, Total: r.Total,
	}
}

// registerReplays adds GET /v1/replays and GET /v1/replays/{name} to mux: the
// caller's replays and how far they are. The query parameters region and state
// select, region also which of two replays of one name is meant.
func (b *Buses) registerReplays(mux *http.ServeMux) {
	rest := func(pattern string, h func(w http.ResponseWriter, r *http.Request, account string) error) {
		mux.HandleFunc(pattern, auth.Require(auth.Read, func(w http.ResponseWriter, r *http.Request) {
			who, _ := auth.PrincipalFrom(r.Context())
			if err := h(w, r, who.Account); err != nil {
				httpapi.WriteError(w, r, err)
			}
		}))
	}
	rest("GET /v1/replays", b.serveReplays)
	rest("GET /v1/replays/{name}", b.serveReplay)
}

func (b *Buses) serveReplays(w http.ResponseWriter, r *http.Request, account string) error {
	page, err := httpapi.ParsePage(r)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	f := accountReplays{
		account: account, region: query.Get("region"), state: ReplayState(strings.ToUpper(query.Get("state"))),
		backwards: page.Descending != page.Prev, limit: page.Count + 1,
	}
	if err := checkQuery("region", f.region); err != nil {
		return err
	}
	if f.state != "" && !slices.Contains(replayStates, f.state) {
		return httpapi.Invalid("Query parameter state is %q, which no replay has; one of %v.", f.state, replayStates)
	}
	if page.Offset != "" {
		region, name, ok := strings.Cut(page.Offset, "/")
		if !ok || checkQuery("offset", page.Offset) != nil {
			return httpapi.Invalid("Query parameter offset is not from a Link header of this list.")
		}
		f.from = &replayPlace{region: region, name: name}
	}
	found, err := selectReplaysOfAccount(r.Context(), b.db, f)
	if err != nil {
		return err
	}
	more := len(found) > page.Count
	found = found[:min(len(found), page.Count)]
	if page.Prev {
		slices.Reverse(found)
	}
	setReplayLinks(w, r, page, found, more)
	list := make([]replayJSON, len(found))
	for i := range found {
		list[i] = toReplayJSON(&found[i])
	}
	httpapi.JSON(w, http.StatusOK, map[string]any{"list": list})
	return nil
}

var replayStates = []ReplayState{ReplayStarting, ReplayRunning, ReplayCancelling, ReplayCompleted, ReplayCancelled, ReplayFailed}

func setReplayLinks(w http.ResponseWriter, r *http.Request, page httpapi.Page, shown []Replay, more bool) {
	if len(shown) == 0 {
		return
	}
	cursor := func(r Replay) string { return r.Bus.Region + "/" + r.Name }
	var next, prev string
	if more || page.Prev {
		next = cursor(shown[len(shown)-1])
	}
	if page.Prev && more || !page.Prev && page.Offset != "" {
		prev = cursor(shown[0])
	}
	httpapi.SetLinks(w, r, next, prev)
}

// checkQuery refuses a parameter that PostgreSQL would not take.
func checkQuery(name, value string) error {
	if strings.IndexByte(value, 0) >= 0 {
		return httpapi.Invalid("Query parameter %s must not hold the character U+0000.", name)
	}
	return nil
}

func (b *Buses) serveReplay(w http.ResponseWriter, r *http.Request, account string) error {
	name, region := r.PathValue("name"), r.URL.Query().Get("region")
	if err := checkQuery("region", region); err != nil {
		return err
	}
	if !ruleNameForm.MatchString(name) {
		return noReplayNamed(name)
	}
	found, err := selectReplaysOfAccount(r.Context(), b.db, accountReplays{account: account, region: region, name: name, limit: httpapi.MaxPage})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return noReplayNamed(name)
	}
	if len(found) > 1 {
		regions := make([]string, len(found))
		for i, f := range found {
			regions[i] = f.Bus.Region
		}
		return httpapi.Invalid("Replays of the name %s are in several regions: %s. Say which by the query parameter region.", name, strings.Join(regions, ", "))
	}
	httpapi.JSON(w, http.StatusOK, toReplayJSON(&found[0]))
	return nil
}

func noReplayNamed(name string) error {
	return httpapi.NotFound("There is no replay %s, or it is another account's or region's; replays are forgotten 90 days after their end.", name)
}
