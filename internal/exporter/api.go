package exporter

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/exporter/config"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

const (
	pathExporter = "/v1/exporter"
	pathConfig   = pathExporter + "/config"
	pathAccounts = pathExporter + "/accounts"
	pathAccount  = pathAccounts + "/{account}"
)

// maxConfigBody bounds a request with a configuration: its text, and what is around it.
const maxConfigBody = config.MaxText + 1<<10

type handler func(w http.ResponseWriter, r *http.Request) error

// register adds one route of the REST API.
type register func(pattern string, p auth.Permission, h handler)

// routes gives a way to add routes for callers of auth.HomeAccount with a permission.
func routes(mux *http.ServeMux) register {
	return func(pattern string, p auth.Permission, h handler) {
		mux.HandleFunc(pattern, auth.Require(p, func(w http.ResponseWriter, r *http.Request) {
			err := auth.CheckAccount(r.Context(), auth.HomeAccount)
			if err == nil {
				err = h(w, r)
			}
			if err != nil {
				httpapi.WriteError(w, r, err)
			}
		}))
	}
}

func (x *Exporter) registerConfig(rest register) {
	rest("GET "+pathConfig, auth.Read, x.serveConfig)
	rest("PUT "+pathConfig, auth.Write, x.servePutConfig)
	rest("GET "+pathConfig+"/revisions", auth.Read, x.serveConfigs)
	rest("GET "+pathConfig+"/revisions/{revision}", auth.Read, x.serveRevision)
	rest("GET "+pathAccounts, auth.Read, x.serveAccounts)
	rest("GET "+pathAccount, auth.Read, x.serveAccount)
	rest("PUT "+pathAccount, auth.Administer, x.servePutAccount)
	rest("DELETE "+pathAccount, auth.Administer, x.serveDeleteAccount)
	rest("PUT "+pathAccount+"/queues", auth.Administer, x.servePutQueue)
	rest("DELETE "+pathAccount+"/queues/{queue}", auth.Administer, x.serveDeleteQueue)
}

// listJSON is every list of the API.
type listJSON[T any] struct {
	List []T `json:"list"`
}

func writeList[F, T any](w http.ResponseWriter, list []F, convert func(*F) T) {
	out := listJSON[T]{List: make([]T, len(list))}
	for i := range list {
		out.List[i] = convert(&list[i])
	}
	httpapi.JSON(w, http.StatusOK, out)
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func keyID(r *http.Request) string {
	who, _ := auth.PrincipalFrom(r.Context())
	return who.KeyID
}

// checkQuery refuses a parameter that is not read: a misspelt one would list all.
func checkQuery(r *http.Request, known ...string) error {
	known = append(known, "count", "offset", "prev", "descending")
	for name := range r.URL.Query() {
		found := false
		for _, k := range known {
			found = found || k == name
		}
		if !found {
			return httpapi.Invalid("Query parameter %q is not known here; the parameters are %s.", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// configJSON is a configuration as the API shows it.
type configJSON struct {
	Revision  int64            `json:"revision"`
	CreatedAt *time.Time       `json:"created_at"`
	CreatedBy *string          `json:"created_by"`
	Warnings  []config.Problem `json:"warnings,omitempty"`
	Dropped   []droppedJSON    `json:"dropped,omitempty"`
	Config    json.RawMessage  `json:"config,omitempty"`
}

// droppedJSON is a scope that a new configuration selects no longer.
type droppedJSON struct {
	Account string `json:"account"`
	Region  string `json:"region"`
	Kind    string `json:"kind"`
}

func toConfigJSON(c *StoredConfig, whole bool) configJSON {
	j := configJSON{Revision: c.Revision, CreatedAt: timeOrNull(c.CreatedAt), CreatedBy: orNull(c.CreatedBy)}
	if whole {
		j.Warnings, j.Config = slices.Clone(c.Parsed().Warnings), json.RawMessage(c.Text)
		if c.Parsed().PortAPIURL != "" {
			j.Warnings = append(j.Warnings, config.Problem{Path: "port_api_url", Message: "is not used: where entities go is set when the server starts, with --port-base-url"})
		}
		for _, key := range c.Dropped {
			j.Dropped = append(j.Dropped, droppedJSON(key))
		}
		if c.Text == "" {
			j.Config = json.RawMessage(`null`)
		}
	}
	return j
}

func (x *Exporter) serveConfig(w http.ResponseWriter, r *http.Request) error {
	c, err := x.Config(r.Context())
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toConfigJSON(c, true))
	return nil
}

func (x *Exporter) servePutConfig(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Config       json.RawMessage `json:"config"`
		BaseRevision *int64          `json:"base_revision"`
	}
	if err := httpapi.Decode(w, r, &in, maxConfigBody); err != nil {
		return err
	}
	base := int64(-1)
	if in.BaseRevision != nil {
		if base = *in.BaseRevision; base < 0 {
			return httpapi.Invalid("base_revision is %d; it must be a revision, 0 for none before.", base)
		}
	}
	if len(in.Config) == 0 || string(in.Config) == "null" {
		return httpapi.Invalid("config is missing; it is the object of a config.json.")
	}
	c, err := x.PutConfig(r.Context(), in.Config, keyID(r), base)
	if err != nil {
		return err
	}
	out := toConfigJSON(c, true)
	out.Warnings = append(out.Warnings, x.checkBlueprints(r.Context(), c.Parsed())...)
	httpapi.JSON(w, http.StatusOK, out)
	return nil
}

func (x *Exporter) serveConfigs(w http.ResponseWriter, r *http.Request) error {
	page, err := httpapi.ParsePage(r)
	if err != nil {
		return err
	}
	if err := checkQuery(r); err != nil {
		return err
	}
	if page.Prev || page.Descending {
		return httpapi.Invalid("Revisions are listed from the newest to the oldest only; leave prev and descending out.")
	}
	var before int64
	if page.Offset != "" {
		if before, err = parseRevision(page.Offset); err != nil {
			return err
		}
	}
	list, err := x.Configs(r.Context(), before, page.Count+1)
	if err != nil {
		return err
	}
	if len(list) > page.Count {
		list = list[:page.Count]
		httpapi.SetLinks(w, r, formatRevision(list[page.Count-1].Revision), "")
	}
	writeList(w, list, func(c *StoredConfig) configJSON { return toConfigJSON(c, false) })
	return nil
}

func (x *Exporter) serveRevision(w http.ResponseWriter, r *http.Request) error {
	revision, err := parseRevision(r.PathValue("revision"))
	if err != nil {
		return err
	}
	c, err := x.ConfigRevision(r.Context(), revision)
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toConfigJSON(c, true))
	return nil
}

// accountJSON is a followed account as the API shows it.
type accountJSON struct {
	Account     string      `json:"account"`
	Description string      `json:"description"`
	HomeRegion  string      `json:"home_region"`
	Enabled     bool        `json:"enabled"`
	Real        bool        `json:"real"`
	CreatedAt   *time.Time  `json:"created_at"`
	UpdatedAt   *time.Time  `json:"updated_at"`
	Queues      []queueJSON `json:"queues"`
}

type queueJSON struct {
	ARN           string     `json:"arn"`
	URL           string     `json:"url"`
	Account       string     `json:"account"`
	Stack         *string    `json:"stack"`
	DeadLetterARN *string    `json:"dead_letter_arn"`
	CreatedAt     *time.Time `json:"created_at"`
	UpdatedAt     *time.Time `json:"updated_at"`
	PolledAt      *time.Time `json:"polled_at"`
	Waiting       int64      `json:"waiting"`
	Received      int64      `json:"received"`
	FailedAt      *time.Time `json:"failed_at"`
	FailedWhy     *string    `json:"failed_why"`
}

func toQueueJSON(q *Queue) queueJSON {
	return queueJSON{
		ARN: q.ARN, URL: q.URL, Account: q.Account, Stack: orNull(q.Stack), DeadLetterARN: orNull(q.DeadLetterARN), CreatedAt: timeOrNull(q.CreatedAt),
		UpdatedAt: timeOrNull(q.UpdatedAt), PolledAt: timeOrNull(q.PolledAt), Waiting: q.Waiting, Received: q.Received,
		FailedAt: timeOrNull(q.FailedAt), FailedWhy: orNull(q.FailedWhy),
	}
}

// accountsJSON shows accounts with their queues.
func (x *Exporter) accountsJSON(r *http.Request, accounts []Account) ([]accountJSON, error) {
	queues, err := x.Queues(r.Context())
	if err != nil {
		return nil, err
	}
	list := make([]accountJSON, len(accounts))
	for i, a := range accounts {
		isReal, err := x.o.Cloud.Real(r.Context(), a.Account)
		if err != nil {
			return nil, err
		}
		list[i] = accountJSON{
			Account: a.Account, Description: a.Description, HomeRegion: a.HomeRegion, Enabled: a.Enabled, Real: isReal,
			CreatedAt: timeOrNull(a.CreatedAt), UpdatedAt: timeOrNull(a.UpdatedAt), Queues: []queueJSON{},
		}
		for n := range queues {
			if queues[n].Account == a.Account {
				list[i].Queues = append(list[i].Queues, toQueueJSON(&queues[n]))
			}
		}
	}
	return list, nil
}

func (x *Exporter) serveAccounts(w http.ResponseWriter, r *http.Request) error {
	accounts, err := x.Accounts(r.Context())
	if err != nil {
		return err
	}
	list, err := x.accountsJSON(r, accounts)
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, listJSON[accountJSON]{list})
	return nil
}

func (x *Exporter) serveAccount(w http.ResponseWriter, r *http.Request) error {
	a, err := x.Account(r.Context(), r.PathValue("account"))
	if err != nil {
		return err
	}
	return x.writeAccount(w, r, a)
}

func (x *Exporter) writeAccount(w http.ResponseWriter, r *http.Request, a Account) error {
	list, err := x.accountsJSON(r, []Account{a})
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, list[0])
	return nil
}

func (x *Exporter) servePutAccount(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Description string `json:"description"`
		HomeRegion  string `json:"home_region"`
		Enabled     *bool  `json:"enabled"`
	}
	if err := httpapi.Decode(w, r, &in, 0); err != nil {
		return err
	}
	a, err := x.PutAccount(r.Context(), Account{
		Account: r.PathValue("account"), Description: in.Description, HomeRegion: in.HomeRegion, Enabled: in.Enabled == nil || *in.Enabled,
	})
	if err != nil {
		return err
	}
	return x.writeAccount(w, r, a)
}

func (x *Exporter) serveDeleteAccount(w http.ResponseWriter, r *http.Request) error {
	if err := x.DeleteAccount(r.Context(), r.PathValue("account")); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}

func (x *Exporter) servePutQueue(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Queue string `json:"queue"`
		Stack string `json:"stack"`
	}
	if err := httpapi.Decode(w, r, &in, 0); err != nil {
		return err
	}
	q, err := x.PutQueue(r.Context(), in.Queue, r.PathValue("account"), in.Stack)
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toQueueJSON(&q))
	return nil
}

func (x *Exporter) serveDeleteQueue(w http.ResponseWriter, r *http.Request) error {
	q, found, err := loadQueue(r.Context(), x.db, r.PathValue("queue"))
	if err != nil {
		return err
	}
	if !found || q.Account != r.PathValue("account") {
		return httpapi.NotFound("The exporter reads no queue %q of account %s.", r.PathValue("queue"), r.PathValue("account"))
	}
	if err := x.DeleteQueue(r.Context(), q.ARN); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}
