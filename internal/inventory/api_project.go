package inventory

import (
	"net/http"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

// projectJSON is a project as the API shows it.
type projectJSON struct {
	ID          string     `json:"id"`
	TeamName    string     `json:"team"`
	Name        string     `json:"name"`
	Description string     `json:"description"`
	CreatedAt   *time.Time `json:"created_at"`
	UpdatedAt   *time.Time `json:"updated_at"`
	DeletedAt   *time.Time `json:"deleted_at"`
}

func toProjectJSON(p *Project) projectJSON {
	return projectJSON{
		ID: p.ID, TeamName: teamName, Name: p.Name, Description: p.Description,
		CreatedAt: timeOrNull(p.CreatedAt), UpdatedAt: timeOrNull(p.UpdatedAt), DeletedAt: timeOrNull(p.DeletedAt),
	}
}

// tokenJSON is an enrollment token as the API shows it. ASA shows token in every
// answer; here it is in the answer that made it and null afterwards, as only its
// hash is kept.
type tokenJSON struct {
	ID            string     `json:"id"`
	Token         *string    `json:"token"`
	Description   string     `json:"description"`
	CreatedByUser string     `json:"created_by_user"`
	IssuedAt      *time.Time `json:"issued_at"`
	LastUsedAt    *time.Time `json:"last_used_at"`
	Uses          int64      `json:"uses"`
}

func toTokenJSON(t *EnrollmentToken) tokenJSON {
	return tokenJSON{
		ID: t.ID, Description: t.Description, CreatedByUser: t.CreatedBy,
		IssuedAt: timeOrNull(t.IssuedAt), LastUsedAt: timeOrNull(t.LastUsedAt), Uses: t.Uses,
	}
}

func (v *Inventory) registerProjects(rest register) {
	rest("GET "+pathProjects, auth.Read, v.serveProjects)
	rest("POST "+pathProjects, auth.Write, v.serveCreateProject)
	rest("GET "+pathProject, auth.Read, v.serveProject)
	rest("PUT "+pathProject, auth.Write, v.serveUpdateProject)
	rest("DELETE "+pathProject, auth.Write, v.serveDeleteProject)
	rest("GET "+pathTokens, auth.Read, v.serveTokens)
	rest("POST "+pathTokens, auth.Write, v.serveCreateToken)
	rest("GET "+pathTokens+"/{id}", auth.Read, v.serveToken)
	rest("DELETE "+pathTokens+"/{id}", auth.Write, v.serveDeleteToken)
}

func (v *Inventory) serveProjects(w http.ResponseWriter, r *http.Request) error {
	page, err := httpapi.ParsePage(r)
	if err != nil {
		return err
	}
	list, err := v.Projects(r.Context(), page.Offset, page.Count+1, page.Descending != page.Prev)
	if err != nil {
		return err
	}
	list, next, prev := cutPage(list, page, len(list) > page.Count, func(p *Project) string { return p.Name })
	httpapi.SetLinks(w, r, next, prev)
	writeList(w, list, toProjectJSON)
	return nil
}

// cutPage brings what was read for a page, in reading order and at most one item
// too long, into the list's order, and says which cursors lead on.
func cutPage[T any](list []T, page httpapi.Page, more bool, cursor func(*T) string) (cut []T, next, prev string) {
	if len(list) > page.Count {
		list = list[:page.Count]
	}
	if page.Prev {
		for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
			list[i], list[j] = list[j], list[i]
		}
	}
	if len(list) == 0 {
		return list, "", ""
	}
	if more || page.Prev {
		next = cursor(&list[len(list)-1])
	}
	if page.Prev && more || !page.Prev && page.Offset != "" {
		prev = cursor(&list[0])
	}
	return list, next, prev
}

func (v *Inventory) serveCreateProject(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	}
	if err := httpapi.Decode(w, r, &in, 0); err != nil {
		return err
	}
	p, err := v.CreateProject(r.Context(), in.Name, in.Description)
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusCreated, toProjectJSON(&p))
	return nil
}

func (v *Inventory) serveProject(w http.ResponseWriter, r *http.Request) error {
	p, err := v.Project(r.Context(), r.PathValue("project"))
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toProjectJSON(&p))
	return nil
}

func (v *Inventory) serveUpdateProject(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Description string `json:"description"`
	}
	if err := httpapi.Decode(w, r, &in, 0); err != nil {
		return err
	}
	if err := v.UpdateProject(r.Context(), r.PathValue("project"), in.Description); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}

func (v *Inventory) serveDeleteProject(w http.ResponseWriter, r *http.Request) error {
	if err := v.DeleteProject(r.Context(), r.PathValue("project")); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}

func (v *Inventory) serveTokens(w http.ResponseWriter, r *http.Request) error {
	list, err := v.EnrollmentTokens(r.Context(), r.PathValue("project"))
	if err != nil {
		return err
	}
	writeList(w, list, toTokenJSON)
	return nil
}

func (v *Inventory) serveToken(w http.ResponseWriter, r *http.Request) error {
	t, err := v.EnrollmentToken(r.Context(), r.PathValue("project"), r.PathValue("id"))
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toTokenJSON(&t))
	return nil
}

func (v *Inventory) serveCreateToken(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Description string `json:"description"`
	}
	if err := decodeOptional(w, r, &in); err != nil {
		return err
	}
	t, text, err := v.CreateEnrollmentToken(r.Context(), r.PathValue("project"), in.Description, keyID(r))
	if err != nil {
		return err
	}
	out := toTokenJSON(&t)
	out.Token = &text
	httpapi.JSON(w, http.StatusCreated, out)
	return nil
}

func (v *Inventory) serveDeleteToken(w http.ResponseWriter, r *http.Request) error {
	if err := v.DeleteEnrollmentToken(r.Context(), r.PathValue("project"), r.PathValue("id")); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}
