package exporter

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

const (
	pathRecords   = pathExporter + "/records"
	pathRecord    = pathRecords + "/{record}"
	pathResources = pathExporter + "/resources"
)

func (x *Exporter) registerRecords(rest register) {
	rest("GET "+pathRecords, auth.Read, x.serveRecords)
	rest("POST "+pathRecords+"/redrive", auth.Write, x.serveEach(x.RedriveAll))
	rest("POST "+pathRecords+"/delete", auth.Write, x.serveEach(x.DeleteAllDead))
	rest("GET "+pathRecord, auth.Read, x.serveRecord)
	rest("POST "+pathRecord+"/redrive", auth.Write, x.serveRedrive)
	rest("DELETE "+pathRecord, auth.Write, x.serveDeleteRecord)
	rest("GET "+pathResources, auth.Read, x.serveResources)
}

func parseRevision(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, httpapi.Invalid("%q is not a revision: a whole number from 1.", s)
	}
	return n, nil
}

func formatRevision(n int64) string { return strconv.FormatInt(n, 10) }

// recordJSON is a dead record as the API shows it. body is text where it is text,
// body_base64 what it is where it is not; in a list, the first of body_bytes.
type recordJSON struct {
	ID         string     `json:"id"`
	Queue      string     `json:"queue"`
	MessageID  string     `json:"message_id"`
	Source     string     `json:"source"`
	Reason     string     `json:"reason"`
	Account    *string    `json:"account"`
	Region     *string    `json:"region"`
	Kind       *string    `json:"kind"`
	Identifier *string    `json:"identifier"`
	Attempts   int        `json:"attempts"`
	SentAt     *time.Time `json:"sent_at"`
	DeadAt     *time.Time `json:"dead_at"`
	Body       *string    `json:"body"`
	BodyBase64 []byte     `json:"body_base64,omitempty"`
	BodyBytes  int        `json:"body_bytes"`
}

func toRecordJSON(d *DeadRecord) recordJSON {
	j := recordJSON{
		ID: d.ID, Queue: d.QueueARN, MessageID: d.MessageID, Source: d.Source, Reason: d.Reason, Account: orNull(d.Key.Account), Region: orNull(d.Key.Region),
		Kind: orNull(d.Key.Kind), Identifier: orNull(d.Key.Identifier), Attempts: d.Attempts, SentAt: timeOrNull(d.SentAt), DeadAt: timeOrNull(d.DeadAt), BodyBytes: d.Size,
	}
	if text := d.Body; utf8.Valid(text) || len(text) < d.Size && utf8.Valid(wholeRunes(text)) {
		body := string(wholeRunes(text))
		j.Body = &body
	} else {
		j.BodyBase64 = d.Body
	}
	return j
}

// wholeRunes is a text without a character that its end cuts.
func wholeRunes(text []byte) []byte {
	for cut := 0; cut < utf8.UTFMax && cut < len(text); cut++ {
		if r, _ := utf8.DecodeLastRune(text[:len(text)-cut]); r != utf8.RuneError {
			return text[:len(text)-cut]
		}
	}
	return text
}

func (x *Exporter) serveRecords(w http.ResponseWriter, r *http.Request) error {
	page, err := httpapi.ParsePage(r)
	if err != nil {
		return err
	}
	if err := checkQuery(r, "queue", "account", "region", "kind", "identifier"); err != nil {
		return err
	}
	if page.Prev {
		return httpapi.Invalid("Dead records are paged forwards only; leave prev out.")
	}
	if page.Offset != "" && !deadIDForm.MatchString(page.Offset) {
		return httpapi.Invalid("Query parameter offset is none that this server gives out; follow the Link header.")
	}
	q := r.URL.Query()
	f := DeadFilter{QueueARN: q.Get("queue"), Account: q.Get("account"), Region: q.Get("region"), Kind: q.Get("kind"), Identifier: q.Get("identifier")}
	list, err := x.DeadRecords(r.Context(), f, page.Offset, page.Count+1, page.Descending)
	if err != nil {
		return err
	}
	if len(list) > page.Count {
		list = list[:page.Count]
		httpapi.SetLinks(w, r, list[page.Count-1].ID, "")
	}
	writeList(w, list, toRecordJSON)
	return nil
}

func (x *Exporter) serveRecord(w http.ResponseWriter, r *http.Request) error {
	d, err := x.DeadRecord(r.Context(), r.PathValue("record"))
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toRecordJSON(&d))
	return nil
}

func (x *Exporter) serveRedrive(w http.ResponseWriter, r *http.Request) error {
	if err := x.RedriveDead(r.Context(), r.PathValue("record")); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}

func (x *Exporter) serveDeleteRecord(w http.ResponseWriter, r *http.Request) error {
	if err := x.DeleteDead(r.Context(), r.PathValue("record")); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}

// serveEach does something with all dead records of a filter, some at a time.
func (x *Exporter) serveEach(do func(context.Context, DeadFilter, string, time.Time) (DeadBatch, error)) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var in struct {
			Queue      string     `json:"queue"`
			Account    string     `json:"account"`
			Region     string     `json:"region"`
			Kind       string     `json:"kind"`
			Identifier string     `json:"identifier"`
			After      string     `json:"after"`
			Until      *time.Time `json:"until"`
		}
		if err := httpapi.Decode(w, r, &in, 0); err != nil {
			return err
		}
		if in.After != "" && !deadIDForm.MatchString(in.After) {
			return httpapi.Invalid("after %q is not the id of a dead record.", in.After)
		}
		until := x.now()
		if in.Until != nil {
			until = *in.Until
		}
		f := DeadFilter{QueueARN: in.Queue, Account: in.Account, Region: in.Region, Kind: in.Kind, Identifier: in.Identifier}
		b, err := do(r.Context(), f, in.After, until)
		if err != nil {
			return err
		}
		out := struct {
			Done   int       `json:"done"`
			Failed int       `json:"failed"`
			Error  *string   `json:"error"`
			After  *string   `json:"after"`
			Until  time.Time `json:"until"`
		}{Done: b.Done, Failed: b.Failed, After: orNull(b.Next), Until: until}
		if b.Err != nil {
			out.Error = orNull(tellable(b.Err))
		}
		httpapi.JSON(w, http.StatusOK, out)
		return nil
	}
}

// tellable is what a caller is told of an error.
func tellable(err error) string {
	if e, ok := errors.AsType[*httpapi.Error](err); ok {
		return e.Message
	}
	return "The server could not do it; its log says why."
}

// resourceJSON is what is known of a resource, as the API shows it.
type resourceJSON struct {
	Account    string        `json:"account"`
	Region     string        `json:"region"`
	Kind       string        `json:"kind"`
	Identifier string        `json:"identifier"`
	Present    bool          `json:"present"`
	Entities   []entityJSON  `json:"entities"`
	Cause      catalog.Cause `json:"cause"`
	FirstAt    *time.Time    `json:"first_at"`
	ReadAt     *time.Time    `json:"read_at"`
	ChangedAt  *time.Time    `json:"changed_at"`
	UpsertAt   *time.Time    `json:"last_upsert_event_at"`
	DeleteAt   *time.Time    `json:"last_delete_event_at"`
	RecheckAt  *time.Time    `json:"recheck_at"`
	RecheckWhy *string       `json:"recheck_why"`
	Error      *string       `json:"error"`
}

type entityJSON struct {
	Blueprint  string `json:"blueprint"`
	Identifier string `json:"identifier"`
}

func toResourceJSON(r **Resource) resourceJSON {
	k := *r
	j := resourceJSON{
		Account: k.Account, Region: k.Region, Kind: k.Kind, Identifier: k.Identifier, Present: k.Present, Entities: []entityJSON{}, Cause: k.Cause,
		FirstAt: timeOrNull(k.FirstAt), ReadAt: timeOrNull(k.ReadAt), ChangedAt: timeOrNull(k.ChangedAt), UpsertAt: timeOrNull(k.UpsertAt),
		DeleteAt: timeOrNull(k.DeleteAt), RecheckAt: timeOrNull(k.RecheckAt), RecheckWhy: orNull(k.RecheckWhy), Error: orNull(k.Error),
	}
	for _, e := range k.Entities {
		j.Entities = append(j.Entities, entityJSON{e.Blueprint, e.Identifier})
	}
	return j
}

func (x *Exporter) serveResources(w http.ResponseWriter, r *http.Request) error {
	page, err := httpapi.ParsePage(r)
	if err != nil {
		return err
	}
	if err := checkQuery(r, "account", "region", "kind", "identifier", "blueprint", "entity", "failed", "gone"); err != nil {
		return err
	}
	if page.Prev || page.Descending {
		return httpapi.Invalid("Resources are listed in one order, forwards only; leave prev and descending out.")
	}
	q := r.URL.Query()
	f := ResourceFilter{
		Account: q.Get("account"), Region: q.Get("region"), Kind: q.Get("kind"), Identifier: q.Get("identifier"),
		Entity: catalog.EntityRef{Blueprint: q.Get("blueprint"), Identifier: q.Get("entity")},
	}
	if f.Failed, err = queryBool(r, "failed"); err != nil {
		return err
	}
	if f.Gone, err = queryBool(r, "gone"); err != nil {
		return err
	}
	if (f.Entity.Blueprint == "") != (f.Entity.Identifier == "") {
		return httpapi.Invalid("An entity is named by both of the query parameters blueprint and entity.")
	}
	var after int64
	if page.Offset != "" {
		if after, err = strconv.ParseInt(page.Offset, 10, 64); err != nil {
			return httpapi.Invalid("Query parameter offset is none that this server gives out; follow the Link header.")
		}
	}
	list, err := x.Resources(r.Context(), f, after, page.Count+1)
	if err != nil {
		return err
	}
	if len(list) > page.Count {
		list = list[:page.Count]
		httpapi.SetLinks(w, r, strconv.FormatInt(list[page.Count-1].id, 10), "")
	}
	writeList(w, list, toResourceJSON)
	return nil
}

func queryBool(r *http.Request, name string) (bool, error) {
	switch s := r.URL.Query().Get(name); s {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, httpapi.Invalid("Query parameter %s must be true or false, not %q.", name, s)
	}
}
