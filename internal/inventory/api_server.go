package inventory

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

func (v *Inventory) registerServers(rest register) {
	for _, base := range []string{pathTeam, pathProject} {
		rest("GET "+base+"/servers", auth.Read, v.serveServers)
		rest("GET "+base+"/servers/{id}", auth.Read, v.serveServer)
		rest("PUT "+base+"/servers/{id}", auth.Write, v.serveSetLabels)
		rest("GET "+base+"/servers/{id}/history", auth.Read, v.serveHistory)
	}
	rest("POST "+pathProject+"/servers", auth.Write, v.serveCreateServer)
	rest("DELETE "+pathProject+"/servers/{id}", auth.Write, v.serveDeleteServer)
}

// changeJSON is an entry of a server's history.
type changeJSON struct {
	ID       int64                  `json:"id"`
	ServerID string                 `json:"server_id"`
	At       *time.Time             `json:"at"`
	Change   string                 `json:"change"`
	Cause    Cause                  `json:"cause"`
	Fields   map[string]FieldChange `json:"fields"`
}

func toChangeJSON(c *Change) changeJSON {
	return changeJSON{c.ID, c.ServerID, timeOrNull(c.At), c.Kind, c.Cause, c.Fields}
}

func (v *Inventory) serveServers(w http.ResponseWriter, r *http.Request) error {
	page, err := httpapi.ParsePage(r)
	if err != nil {
		return err
	}
	if err := checkQuery(r); err != nil {
		return err
	}
	f, err := v.serverFilter(r)
	if err != nil {
		return err
	}
	list, more, err := v.Servers(r.Context(), f, page.Offset, page.Count, page.Prev, page.Descending)
	if err != nil {
		return err
	}
	var next, prev string
	if n := len(list); n > 0 {
		if page.Prev || more {
			next = list[n-1].Cursor()
		}
		if page.Prev && more || !page.Prev && page.Offset != "" {
			prev = list[0].Cursor()
		}
	}
	httpapi.SetLinks(w, r, next, prev)
	now := v.now()
	writeList(w, list, func(s *Server) serverJSON { return toServerJSON(s, now) })
	return nil
}

// serverQuery are the parameters that a list of servers takes, those of its pages
// included.
var serverQuery = []string{
	"account_id", "alt_names_contains", "bastion", "canonical_name", "cloud_provider", "count", "descending", "hostname", "instance_id",
	"offset", "prev", "project_name", "region", "selector", "state", "unprotected",
}

// checkQuery refuses a parameter that no filter reads: a misspelt one would list
// all servers.
func checkQuery(r *http.Request) error {
	q := r.URL.Query()
	if project, name := r.PathValue("project"), q.Get("project_name"); project != "" && name != "" && name != project {
		return httpapi.Invalid("Query parameter project_name is %q, but the path names project %q.", name, project)
	}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		if !slices.Contains(serverQuery, name) {
			return httpapi.Invalid("Query parameter %q is not one of this list's; it knows %s.", name, strings.Join(serverQuery, ", "))
		}
	}
	return nil
}

// serverFilter reads the filters of a list of servers from its query.
func (v *Inventory) serverFilter(r *http.Request) (ServerFilter, error) {
	q := r.URL.Query()
	f := ServerFilter{
		Hostname: q.Get("hostname"), CanonicalName: q.Get("canonical_name"), Bastion: q.Get("bastion"),
		CloudProvider: q.Get("cloud_provider"), AltNameContains: q.Get("alt_names_contains"),
		InstanceID: q.Get("instance_id"), AccountID: q.Get("account_id"), Region: q.Get("region"), State: q.Get("state"),
	}
	switch f.CloudProvider {
	case "", "aws", "gcp":
	default:
		return f, httpapi.Invalid("Query parameter cloud_provider must be aws or gcp, not %q.", f.CloudProvider)
	}
	switch f.State {
	case "", "ACTIVE", "INACTIVE":
	default:
		return f, httpapi.Invalid("Query parameter state must be ACTIVE or INACTIVE, not %q.", f.State)
	}
	switch s := q.Get("unprotected"); s {
	case "", "false":
	case "true":
		f.Unprotected = true
	default:
		return f, httpapi.Invalid("Query parameter unprotected must be true or false, not %q.", s)
	}
	var err error
	if f.Selector, err = ParseSelector(q.Get("selector")); err != nil {
		return f, err
	}
	project := r.PathValue("project")
	if project == "" {
		project = q.Get("project_name")
	}
	if project != "" {
		p, err := v.Project(r.Context(), project)
		if err != nil {
			return f, err
		}
		f.ProjectID = p.ID
	}
	return f, nil
}

func (v *Inventory) serveServer(w http.ResponseWriter, r *http.Request) error {
	id, err := v.ServerID(r.Context(), r.PathValue("project"), r.PathValue("id"))
	if err != nil {
		return err
	}
	s, err := v.Server(r.Context(), r.PathValue("project"), id)
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toServerJSON(&s, v.now()))
	return nil
}

func (v *Inventory) serveCreateServer(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Hostname      string   `json:"hostname"`
		AccessAddress string   `json:"access_address"`
		AltNames      []string `json:"alt_names"`
		Bastion       string   `json:"bastion"`
	}
	if err := httpapi.Decode(w, r, &in, 0); err != nil {
		return err
	}
	s, err := v.CreateServer(r.Context(), r.PathValue("project"), ManualFacts(in), keyID(r))
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toServerJSON(&s, v.now()))
	return nil
}

func (v *Inventory) serveSetLabels(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Labels map[string]string `json:"labels"`
	}
	if err := httpapi.Decode(w, r, &in, 0); err != nil {
		return err
	}
	if in.Labels == nil {
		return httpapi.Invalid("Field \"labels\" is missing; an empty object removes all labels that begin with api.")
	}
	if err := v.SetLabels(r.Context(), r.PathValue("project"), r.PathValue("id"), in.Labels, keyID(r)); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}

func (v *Inventory) serveDeleteServer(w http.ResponseWriter, r *http.Request) error {
	var ignore bool
	switch s := r.URL.Query().Get("ignore"); s {
	case "", "false":
	case "true":
		ignore = true
	default:
		return httpapi.Invalid("Query parameter ignore must be true or false, not %q.", s)
	}
	if err := v.DeleteServer(r.Context(), r.PathValue("project"), r.PathValue("id"), ignore, keyID(r)); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}

func (v *Inventory) serveHistory(w http.ResponseWriter, r *http.Request) error {
	page, err := httpapi.ParsePage(r)
	if err != nil {
		return err
	}
	if page.Prev || page.Descending {
		return httpapi.Invalid("A history is listed from its last entry back; prev and descending are not known here.")
	}
	before := int64(0)
	if page.Offset != "" {
		if before, err = strconv.ParseInt(page.Offset, 10, 64); err != nil || before < 1 {
			return httpapi.Invalid("offset %q is not from a Link header of this list.", page.Offset)
		}
	}
	id, err := v.ServerID(r.Context(), r.PathValue("project"), r.PathValue("id"))
	if err != nil {
		return err
	}
	list, err := v.History(r.Context(), id, before, page.Count+1)
	if err != nil {
		return err
	}
	if len(list) == 0 && before == 0 {
		return notFound("Server %s does not exist and never has.", r.PathValue("id"))
	}
	next := ""
	if len(list) > page.Count {
		list = list[:page.Count]
		next = strconv.FormatInt(list[len(list)-1].ID, 10)
	}
	httpapi.SetLinks(w, r, next, "")
	writeList(w, list, toChangeJSON)
	return nil
}
