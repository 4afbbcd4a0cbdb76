package cloud

import (
	"errors"
	"net/http"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

// accountJSON is an account's settings as the API shows them: without the secret.
type accountJSON struct {
	AccountID         string   `json:"account_id"`
	Description       string   `json:"description"`
	RoleARN           string   `json:"role_arn"`
	ExternalID        string   `json:"external_id"`
	Profile           string   `json:"profile"`
	AccessKeyID       string   `json:"access_key_id"`
	HasSecret         bool     `json:"has_secret"`
	EndpointURL       string   `json:"endpoint_url"`
	Regions           []string `json:"regions"`
	RequestsPerSecond float64  `json:"requests_per_second"`
	Burst             int      `json:"burst"`

	Budgets map[string]Budget `json:"budgets"`

	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// accountInput is what a caller may set. What is missing is cleared, except the
// secret, which is kept while the access key id stays the same.
type accountInput struct {
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

	Budgets map[string]Budget `json:"budgets"`
}

func toJSON(s Settings) accountJSON {
	j := accountJSON{
		AccountID: s.AccountID, Description: s.Description, RoleARN: s.RoleARN, ExternalID: s.ExternalID, Profile: s.Profile,
		AccessKeyID: s.AccessKeyID, HasSecret: len(s.sealed) > 0, EndpointURL: s.EndpointURL, Regions: append([]string{}, s.Regions...),
		RequestsPerSecond: s.RequestsPerSecond, Burst: s.Burst, Budgets: s.Budgets, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt,
	}
	if j.Budgets == nil {
		j.Budgets = map[string]Budget{}
	}
	if j.RequestsPerSecond == 0 {
		j.RequestsPerSecond = DefaultRequestsPerSecond
	}
	if j.Burst == 0 {
		j.Burst = DefaultBurst
	}
	return j
}

// Register adds the REST API of real accounts to mux, which expects the caller's
// principal in the context. All of it is for admins of the installation's own
// account, since it says with whose credentials the server acts, its own among
// them, and where it calls unguarded:
//
//	GET    /v1/cloud/accounts                  {list: [account]}
//	GET    /v1/cloud/accounts/{account}        the account, without its secret
//	PUT    /v1/cloud/accounts/{account}        replaces the account's settings
//	DELETE /v1/cloud/accounts/{account}        204: it is served by the box again
//	POST   /v1/cloud/accounts/{account}/check  {account_id, arn}: who AWS says we are
func (a *Accounts) Register(mux *http.ServeMux) {
	handle := func(pattern string, serve func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, auth.Require(auth.Administer, func(w http.ResponseWriter, r *http.Request) {
			err := auth.CheckAccount(r.Context(), auth.HomeAccount)
			if err == nil {
				err = serve(w, r)
			}
			if err != nil {
				httpapi.WriteError(w, r, toAPIError(err))
			}
		}))
	}
	handle("GET /v1/cloud/accounts", a.serveList)
	handle("GET /v1/cloud/accounts/{account}", a.serveGet)
	handle("PUT /v1/cloud/accounts/{account}", a.servePut)
	handle("DELETE /v1/cloud/accounts/{account}", a.serveDelete)
	handle("POST /v1/cloud/accounts/{account}/check", a.serveCheck)
}

func toAPIError(err error) error {
	ref, invalid := errors.AsType[refusal](err)
	switch {
	case invalid:
		return httpapi.Invalid("%s.", string(ref))
	case errors.Is(err, ErrNotConfigured):
		return httpapi.NotFound("The account is not configured as a real AWS account; the box serves it.")
	}
	return err
}

func (a *Accounts) serveList(w http.ResponseWriter, r *http.Request) error {
	list, err := a.List(r.Context())
	if err != nil {
		return err
	}
	out := make([]accountJSON, len(list))
	for i, s := range list {
		out[i] = toJSON(s)
	}
	httpapi.JSON(w, http.StatusOK, map[string]any{"list": out})
	return nil
}

func (a *Accounts) serveGet(w http.ResponseWriter, r *http.Request) error {
	s, err := a.Get(r.Context(), r.PathValue("account"))
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toJSON(s))
	return nil
}

func (a *Accounts) servePut(w http.ResponseWriter, r *http.Request) error {
	var in accountInput
	if err := httpapi.Decode(w, r, &in, 0); err != nil {
		return err
	}
	s, err := a.Put(r.Context(), Settings{
		AccountID: r.PathValue("account"), Description: in.Description, RoleARN: in.RoleARN, ExternalID: in.ExternalID,
		Profile: in.Profile, AccessKeyID: in.AccessKeyID, EndpointURL: in.EndpointURL, Regions: in.Regions,
		RequestsPerSecond: in.RequestsPerSecond, Burst: in.Burst, Budgets: in.Budgets,
	}, in.SecretAccessKey)
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toJSON(s))
	return nil
}

func (a *Accounts) serveDelete(w http.ResponseWriter, r *http.Request) error {
	if err := a.Delete(r.Context(), r.PathValue("account")); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}

// serveCheck tells the caller whatever AWS said: it is what the check is for.
func (a *Accounts) serveCheck(w http.ResponseWriter, r *http.Request) error {
	account := r.PathValue("account")
	arn, err := a.Identity(r.Context(), account)
	if errors.Is(err, ErrNotConfigured) {
		return err
	}
	if err != nil {
		return &httpapi.Error{Status: http.StatusBadGateway, Code: httpapi.CodeForbidden, Message: err.Error()}
	}
	httpapi.JSON(w, http.StatusOK, map[string]string{"account_id": account, "arn": arn})
	return nil
}
