package cloud

import (
	"errors"
	"net/http"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

// settingsJSON is how an account is reached, as the API shows it.
type settingsJSON struct {
	AccountID         string    `json:"account_id"`
	Description       string    `json:"description"`
	RoleARN           string    `json:"role_arn"`
	ExternalID        string    `json:"external_id"`
	Profile           string    `json:"profile"`
	AccessKeyID       string    `json:"access_key_id"`
	EndpointURL       string    `json:"endpoint_url"`
	Regions           []string  `json:"regions"`
	RequestsPerSecond float64   `json:"requests_per_second"`
	Burst             int       `json:"burst"`
	CreatedAt         time.Time `json:"created_at"`
	UpdatedAt         time.Time `json:"updated_at"`
}

func toJSON(s *Settings) settingsJSON {
	return settingsJSON{
		s.AccountID, s.Description, s.RoleARN, s.ExternalID, s.Profile, s.AccessKeyID, s.EndpointURL,
		append([]string{}, s.Regions...), s.RequestsPerSecond, s.Burst, s.CreatedAt, s.UpdatedAt,
	}
}

// Register adds the REST API of real accounts to mux, which expects the caller's
// principal in the context. All of it is for admins, since it says with whose
// credentials the server acts:
//
//	GET    /v1/cloud/accounts             {list: [account]}
//	PUT    /v1/cloud/accounts/{account}   the account, without its secret
//	GET    /v1/cloud/accounts/{account}
//	DELETE /v1/cloud/accounts/{account}   204: it is served by the box again
func (a *Accounts) Register(mux *http.ServeMux) {
	handle := func(pattern string, serve func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, auth.Require(auth.Administer, func(w http.ResponseWriter, r *http.Request) {
			if err := serve(w, r); err != nil {
				httpapi.WriteError(w, r, apiError(err))
			}
		}))
	}
	handle("GET /v1/cloud/accounts", a.serveList)
	handle("GET /v1/cloud/accounts/{account}", a.serveGet)
	handle("PUT /v1/cloud/accounts/{account}", a.servePut)
	handle("DELETE /v1/cloud/accounts/{account}", a.serveDelete)
}

func apiError(err error) error {
	switch {
	case errors.Is(err, ErrInvalid):
		return httpapi.Invalid("%s", err.Error())
	case errors.Is(err, ErrNotConfigured):
		return httpapi.NotFound("%s", err.Error())
	}
	return err
}

func (a *Accounts) serveList(w http.ResponseWriter, r *http.Request) error {
	all, err := a.List(r.Context())
	if err != nil {
		return err
	}
	list := make([]settingsJSON, len(all))
	for i := range all {
		list[i] = toJSON(&all[i])
	}
	httpapi.JSON(w, http.StatusOK, map[string]any{"list": list})
	return nil
}

func (a *Accounts) serveGet(w http.ResponseWriter, r *http.Request) error {
	s, err := a.Get(r.Context(), r.PathValue("account"))
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toJSON(&s))
	return nil
}

func (a *Accounts) servePut(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Description       string   `json:"description"`
		RoleARN           string   `json:"role_arn"`
		ExternalID        string   `json:"external_id"`
		Profile           string   `json:"profile"`
		AccessKeyID       string   `json:"access_key_id"`
		SecretAccessKey   string   `json:"secret_access_key"`
		EndpointURL       string   `json:"endpoint_url"`
		Regions           []string `json:"regions"`
		RequestsPerSecond float64  `json:"requests_per_second"`
		Burst             int      `json:"burst"`
	}
	if err := httpapi.Decode(w, r, &in, 0); err != nil {
		return err
	}
	s, err := a.Put(r.Context(), Settings{
		AccountID: r.PathValue("account"), Description: in.Description, RoleARN: in.RoleARN, ExternalID: in.ExternalID,
		Profile: in.Profile, AccessKeyID: in.AccessKeyID, EndpointURL: in.EndpointURL, Regions: in.Regions,
		RequestsPerSecond: in.RequestsPerSecond, Burst: in.Burst,
	}, in.SecretAccessKey)
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toJSON(&s))
	return nil
}

func (a *Accounts) serveDelete(w http.ResponseWriter, r *http.Request) error {
	if err := a.Delete(r.Context(), r.PathValue("account")); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}
