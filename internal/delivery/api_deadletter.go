package delivery

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

const (
	pathLetters = "/v1/dead-letters"
	pathRuns    = pathLetters + "/runs"
)

// Register adds the REST API of dead letters to mux. It expects the caller's principal
// in the context; a caller sees and changes those of their own account.
func (d *Delivery) Register(mux *http.ServeMux) {
	rest := func(pattern string, p auth.Permission, h handler) {
		mux.HandleFunc(pattern, auth.Require(p, func(w http.ResponseWriter, r *http.Request) {
			who, _ := auth.PrincipalFrom(r.Context())
			if err := h(w, r, who); err != nil {
				httpapi.WriteError(w, r, toAPIError(err))
			}
		}))
	}
	rest("GET "+pathLetters, auth.Read, d.serveLetters)
	rest("GET "+pathLetters+"/count", auth.Read, d.serveLetterCount)
	rest("GET "+pathLetters+"/summary", auth.Read, d.serveLetterSummary)
	rest("GET "+pathLetters+"/{id}", auth.Read, d.serveLetter)
	rest("POST "+pathLetters+"/{id}/redrive", auth.Write, d.serveRedrive)
	rest("DELETE "+pathLetters+"/{id}", auth.Write, d.serveDiscard)
	rest("POST "+pathLetters+"/redrive", auth.Write, d.serveRedriveMany)
	rest("DELETE "+pathLetters, auth.Write, d.serveDiscardMany)
	rest("GET "+pathRuns, auth.Read, d.serveRuns)
	rest("GET "+pathRuns+"/{run}", auth.Read, d.serveRun)
	rest("POST "+pathRuns+"/{run}/cancel", auth.Write, d.serveCancelRun)
}

type handler func(w http.ResponseWriter, r *http.Request, who auth.Principal) error

// toAPIError maps the errors of this package to their status and code; others pass
// as they are.
func toAPIError(err error) error {
	if gone, ok := errors.AsType[*GoneError](err); ok {
		return httpapi.NotFound("The dead letter cannot be redriven: %s Discard it, or put the event anew.", gone.Error())
	}
	if wrong, ok := errors.AsType[*CountError](err); ok {
		return httpapi.Invalid("%s Nothing was changed; look again, and give the count that is right.", wrong.Error())
	}
	switch {
	case errors.Is(err, ErrNoDeadLetter):
		return httpapi.NotFound("There is no such dead letter: it was redriven, discarded or dropped, or is another account's.")
	case errors.Is(err, ErrNoRun):
		return httpapi.NotFound("There is no such run over dead letters, or it ended long ago.")
	case errors.Is(err, ErrCursor):
		return httpapi.Invalid("Query parameter offset is not from a Link header of this list.")
	case errors.Is(err, ErrTooManyRuns):
		return &httpapi.Error{
			Status: http.StatusTooManyRequests, Code: httpapi.CodeQuotaExceeded,
			Message: "The account has " + strconv.Itoa(MaxOpenRuns) + " runs over dead letters under way, the most there may be; wait for one to end, or cancel one.",
		}
	}
	return err
}

// letterJSON is a dead letter in a list.
type letterJSON struct {
	ID              int64      `json:"id"`
	DeadAt          time.Time  `json:"dead_at"`
	Region          string     `json:"region"`
	Bus             string     `json:"bus"`
	Rule            string     `json:"rule"`
	RuleARN         string     `json:"rule_arn"`
	TargetID        string     `json:"target_id"`
	TargetARN       string     `json:"target_arn"`
	EventID         string     `json:"event_id"`
	Source          string     `json:"source"`
	DetailType      string     `json:"detail_type"`
	Code            string     `json:"code"`
	Message         string     `json:"message"`
	Exhausted       *string    `json:"exhausted_retry_condition"`
	Attempts        int        `json:"attempts"`
	FirstAttemptAt  *time.Time `json:"first_attempt_at"`
	LastAttemptAt   *time.Time `json:"last_attempt_at"`
	Redriven        int        `json:"redriven"`
	DeadLetterQueue *string    `json:"dead_letter_queue"`
	QueueError      *string    `json:"dead_letter_queue_error"`
	Bytes           int64      `json:"bytes"`
}

func toLetterJSON(l *DeadLetter) letterJSON {
	return letterJSON{
		ID: l.ID, DeadAt: l.At, Region: l.Bus.Region, Bus: l.Bus.Name, Rule: l.RuleName, RuleARN: l.RuleARN, TargetID: l.TargetID, TargetARN: l.TargetARN,
		EventID: l.EventID, Source: l.Source, DetailType: l.DetailType, Code: l.Code, Message: l.Message, Exhausted: orNull(l.Exhausted),
		Attempts: l.Attempts, FirstAttemptAt: timeOrNull(l.FirstAttempt()), LastAttemptAt: timeOrNull(l.LastAttempt()), Redriven: l.Redriven,
		DeadLetterQueue: orNull(l.QueueARN), QueueError: orNull(l.QueueError), Bytes: l.Size,
	}
}

// wholeLetterJSON is one dead letter with all that is known of it.
type wholeLetterJSON struct {
	letterJSON
	// History are the attempts; those that failed alike one after another are one.
	History []spellJSON `json:"history"`
	// Event is the event, a string if it cannot be read as JSON.
	Event any `json:"event"`
	// Body is what the target got or would have got, null where that is the event.
	Body *string `json:"body"`
}

type spellJSON struct {
	Code     string    `json:"code"`
	Status   int       `json:"status,omitempty"`
	Message  string    `json:"message"`
	Attempts int       `json:"attempts"`
	FirstAt  time.Time `json:"first_at"`
	LastAt   time.Time `json:"last_at"`
}

type totalJSON struct {
	Region   string    `json:"region"`
	Bus      string    `json:"bus"`
	Rule     string    `json:"rule"`
	RuleARN  string    `json:"rule_arn"`
	TargetID string    `json:"target_id"`
	Count    int64     `json:"count"`
	Bytes    int64     `json:"bytes"`
	OldestAt time.Time `json:"oldest_at"`
	NewestAt time.Time `json:"newest_at"`
}

type droppedJSON struct {
	RuleARN       string    `json:"rule_arn"`
	TargetID      string    `json:"target_id"`
	Reason        string    `json:"reason"`
	Count         int64     `json:"count"`
	Bytes         int64     `json:"bytes"`
	OldestAt      time.Time `json:"oldest_at"`
	NewestAt      time.Time `json:"newest_at"`
	LastDroppedAt time.Time `json:"last_dropped_at"`
}

type summaryJSON struct {
	List    []totalJSON   `json:"list"`
	Dropped []droppedJSON `json:"dropped"`
	// ListMore and DroppedMore say that there are more than these.
	ListMore    bool `json:"list_more"`
	DroppedMore bool `json:"dropped_more"`
	// Age and MaxBytes are the limits of the store.
	Age      string `json:"age"`
	MaxBytes int64  `json:"max_bytes"`
}

// letterRunJSON is a run over dead letters.
type letterRunJSON struct {
	ID         string           `json:"id"`
	Action     RunAction        `json:"action"`
	Filter     DeadLetterFilter `json:"filter"`
	Rate       float64          `json:"rate"`
	Status     RunStatus        `json:"status"`
	Total      int64            `json:"total"`
	Done       int64            `json:"done"`
	Refused    int64            `json:"refused"`
	Refusals   []Refusal        `json:"refusals"`
	CreatedBy  *string          `json:"created_by"`
	CreatedAt  time.Time        `json:"created_at"`
	FinishedAt *time.Time       `json:"finished_at"`
}

func toRunJSON(r *LetterRun) letterRunJSON {
	return letterRunJSON{
		ID: r.ID, Action: r.Action, Filter: r.Filter, Rate: r.Rate, Status: r.Status, Total: r.Total, Done: r.Done, Refused: r.Refused,
		Refusals: append([]Refusal{}, r.Refusals...), CreatedBy: orNull(r.CreatedBy), CreatedAt: r.CreatedAt, FinishedAt: timeOrNull(r.FinishedAt),
	}
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// listJSON is a list of the API.
type listJSON[T any] struct {
	List []T `json:"list"`
}

// filterParameters are the query parameters of a filter.
var filterParameters = []string{"bus", "code", "event_id", "region", "rule", "since", "target", "until"}

// maxFilterText bounds each text of a filter, in bytes; AWS's ARNs have up to 1,600
// characters.
const maxFilterText = 1600

// queryFilter reads a filter from the query. A parameter that nothing reads is refused:
// a misspelt one would mean all letters.
func queryFilter(r *http.Request, others ...string) (f DeadLetterFilter, err error) {
	q := r.URL.Query()
	known := slices.Sorted(slices.Values(append(slices.Clone(filterParameters), others...)))
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch {
		case !slices.Contains(known, name):
			return f, httpapi.Invalid("Query parameter %q is not known here; there are %s.", name, strings.Join(known, ", "))
		case len(q[name]) > 1:
			return f, httpapi.Invalid("Query parameter %q is there more than once.", name)
		}
	}
	f = DeadLetterFilter{
		Region: q.Get("region"), Bus: q.Get("bus"), Rule: q.Get("rule"), Target: q.Get("target"), Code: q.Get("code"), EventID: q.Get("event_id"),
	}
	if f.Since, err = filterTime(orNull(q.Get("since")), "since"); err != nil {
		return f, err
	}
	if f.Until, err = filterTime(orNull(q.Get("until")), "until"); err != nil {
		return f, err
	}
	return f, f.check()
}

// check refuses what no dead letter can have.
func (f *DeadLetterFilter) check() error {
	for name, value := range map[string]string{"region": f.Region, "bus": f.Bus, "rule": f.Rule, "target": f.Target, "code": f.Code, "event_id": f.EventID} {
		if len(value) > maxFilterText {
			return httpapi.Invalid("Filter %s is longer than %d bytes.", name, maxFilterText)
		}
		if cleanText(value, maxFilterText) != value {
			return httpapi.Invalid("Filter %s holds bytes that are no text.", name)
		}
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return httpapi.Invalid("Filter since is not before until, so that no dead letter can be meant.")
	}
	return nil
}

// filterTime reads a time; nil is none. The zero time would mean none too: no text is
// read as that.
func filterTime(text *string, name string) (time.Time, error) {
	if text == nil {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, *text)
	if err != nil || t.Year() < 1970 || t.Year() > 9999 {
		return t, httpapi.Invalid("Filter %s must be a time such as 2026-01-15T21:29:54Z, not %q.", name, *text)
	}
	return t, nil
}

func letterID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 1 {
		return 0, httpapi.NotFound("There is no dead letter %q; their ids are numbers.", r.PathValue("id"))
	}
	return id, nil
}

func (d *Delivery) serveLetters(w http.ResponseWriter, r *http.Request, who auth.Principal) error {
	f, err := queryFilter(r, "count", "offset")
	if err != nil {
		return err
	}
	page, err := httpapi.ParsePage(r)
	if err != nil {
		return err
	}
	list, next, err := d.DeadLetterPage(r.Context(), who.Account, f, page.Offset, page.Count)
	if err != nil {
		return err
	}
	httpapi.SetLinks(w, r, next, "")
	out := listJSON[letterJSON]{List: make([]letterJSON, len(list))}
	for i := range list {
		out.List[i] = toLetterJSON(&list[i])
	}
	httpapi.JSON(w, http.StatusOK, out)
	return nil
}

func (d *Delivery) serveLetterCount(w http.ResponseWriter, r *http.Request, who auth.Principal) error {
	f, err := queryFilter(r)
	if err != nil {
		return err
	}
	n, err := d.CountDeadLetters(r.Context(), who.Account, f)
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, map[string]int64{"count": n})
	return nil
}

func (d *Delivery) serveLetterSummary(w http.ResponseWriter, r *http.Request, who auth.Principal) error {
	s, err := d.DeadLetterSummary(r.Context(), who.Account)
	if err != nil {
		return err
	}
	out := summaryJSON{
		List: []totalJSON{}, Dropped: []droppedJSON{}, ListMore: s.MoreTotals, DroppedMore: s.MoreDropped,
		Age: s.Limits.Age.String(), MaxBytes: s.Limits.Bytes,
	}
	for _, t := range s.Totals {
		out.List = append(out.List, totalJSON{t.Region, t.BusName, t.RuleName, t.RuleARN, t.TargetID, t.Letters, t.Bytes, t.Oldest, t.Newest})
	}
	for _, x := range s.Dropped {
		out.Dropped = append(out.Dropped, droppedJSON{x.RuleARN, x.TargetID, x.Reason, x.Letters, x.Bytes, x.Oldest, x.Newest, x.LastAt})
	}
	httpapi.JSON(w, http.StatusOK, out)
	return nil
}

func (d *Delivery) serveLetter(w http.ResponseWriter, r *http.Request, who auth.Principal) error {
	id, err := letterID(r)
	if err != nil {
		return err
	}
	l, err := d.DeadLetter(r.Context(), who.Account, id)
	if err != nil {
		return err
	}
	out := wholeLetterJSON{letterJSON: toLetterJSON(l), History: []spellJSON{}, Event: l.event()}
	for _, s := range l.spells {
		out.History = append(out.History, spellJSON{s.Code, s.Status, s.Message, s.Attempts, s.First, s.Last})
	}
	if l.Body != nil {
		out.Body = new(string(l.Body))
	}
	httpapi.JSON(w, http.StatusOK, out)
	return nil
}

func (d *Delivery) serveRedrive(w http.ResponseWriter, r *http.Request, who auth.Principal) error {
	id, err := letterID(r)
	if err != nil {
		return err
	}
	if err := d.Redrive(r.Context(), who.Account, id); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}

func (d *Delivery) serveDiscard(w http.ResponseWriter, r *http.Request, who auth.Principal) error {
	id, err := letterID(r)
	if err != nil {
		return err
	}
	if err := d.Discard(r.Context(), who.Account, id); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}

// redriveJSON asks for a run: over the letters with the ids, or those that the filter
// means.
type redriveJSON struct {
	IDs    []int64 `json:"ids"`
	Filter *struct {
		Region  string  `json:"region"`
		Bus     string  `json:"bus"`
		Rule    string  `json:"rule"`
		Target  string  `json:"target"`
		Code    string  `json:"code"`
		EventID string  `json:"event_id"`
		Since   *string `json:"since"`
		Until   *string `json:"until"`
	} `json:"filter"`
	Rate  *float64 `json:"rate"`
	Count *int64   `json:"count"`
}

func (in *redriveJSON) run(who auth.Principal) (n NewRun, err error) {
	n = NewRun{Account: who.Account, CreatedBy: who.KeyID, Action: ActionRedrive, Count: -1}
	switch {
	case (in.Filter == nil) == (in.IDs == nil):
		return n, httpapi.Invalid(`Give either "ids", a list of dead letters, or "filter"; an empty object there means all of them.`)
	case in.IDs != nil && (len(in.IDs) == 0 || len(in.IDs) > MaxRunIDs):
		return n, httpapi.Invalid(`Field "ids" must hold 1 to %d ids, not %d.`, MaxRunIDs, len(in.IDs))
	case slices.ContainsFunc(in.IDs, func(id int64) bool { return id < 1 }):
		return n, httpapi.Invalid(`Field "ids" holds a number that is no dead letter's id.`)
	case in.Rate != nil && (*in.Rate < MinRunRate || *in.Rate > MaxRunRate):
		return n, httpapi.Invalid(`Field "rate" must be at least %v and at most %d, in dead letters a second, not %v.`, MinRunRate, MaxRunRate, *in.Rate)
	case in.Count != nil && *in.Count < 0:
		return n, httpapi.Invalid(`Field "count" must not be negative.`)
	}
	n.Filter.IDs = in.IDs
	if f := in.Filter; f != nil {
		n.Filter = DeadLetterFilter{Region: f.Region, Bus: f.Bus, Rule: f.Rule, Target: f.Target, Code: f.Code, EventID: f.EventID}
		if n.Filter.Since, err = filterTime(f.Since, "since"); err != nil {
			return n, err
		}
		if n.Filter.Until, err = filterTime(f.Until, "until"); err != nil {
			return n, err
		}
	}
	if in.Rate != nil {
		n.Rate = *in.Rate
	}
	if in.Count != nil {
		n.Count = *in.Count
	}
	return n, n.Filter.check()
}

func (d *Delivery) serveRedriveMany(w http.ResponseWriter, r *http.Request, who auth.Principal) error {
	var in redriveJSON
	if err := httpapi.Decode(w, r, &in, 64<<10); err != nil {
		return err
	}
	n, err := in.run(who)
	if err != nil {
		return err
	}
	return d.serveNewRun(w, r, n)
}

func (d *Delivery) serveDiscardMany(w http.ResponseWriter, r *http.Request, who auth.Principal) error {
	f, err := queryFilter(r, "count")
	if err != nil {
		return err
	}
	text := r.URL.Query().Get("count")
	count, err := strconv.ParseInt(text, 10, 64)
	if err != nil || count < 0 {
		return httpapi.Invalid("Query parameter count must say how many dead letters are to be discarded, not %q; GET %s/count tells.", text, pathLetters)
	}
	return d.serveNewRun(w, r, NewRun{Account: who.Account, CreatedBy: who.KeyID, Action: ActionDiscard, Filter: f, Count: count})
}

func (d *Delivery) serveNewRun(w http.ResponseWriter, r *http.Request, n NewRun) error {
	run, err := d.StartRun(r.Context(), n)
	if err != nil {
		return err
	}
	w.Header().Set("Location", pathRuns+"/"+run.ID)
	httpapi.JSON(w, http.StatusAccepted, toRunJSON(run))
	return nil
}

func (d *Delivery) serveRuns(w http.ResponseWriter, r *http.Request, who auth.Principal) error {
	list, err := d.LetterRuns(r.Context(), who.Account)
	if err != nil {
		return err
	}
	out := listJSON[letterRunJSON]{List: make([]letterRunJSON, len(list))}
	for i, run := range list {
		out.List[i] = toRunJSON(run)
	}
	httpapi.JSON(w, http.StatusOK, out)
	return nil
}

func (d *Delivery) serveRun(w http.ResponseWriter, r *http.Request, who auth.Principal) error {
	run, err := d.LetterRun(r.Context(), who.Account, r.PathValue("run"))
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toRunJSON(run))
	return nil
}

func (d *Delivery) serveCancelRun(w http.ResponseWriter, r *http.Request, who auth.Principal) error {
	run, err := d.CancelRun(r.Context(), who.Account, r.PathValue("run"))
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toRunJSON(run))
	return nil
}
