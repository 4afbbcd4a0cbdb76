package auth

import (
	"errors"
	"net/http"
	"time"

	"github.com/rialto-bus/rialto/internal/httpapi"
)

// RegisterKeys adds the REST API of access keys to mux, whose handler must be
// behind Middleware. All of it is for admins; those of HomeAccount see and change
// the keys of all accounts, those of another account that account's alone:
//
//	GET    /v1/keys?account=…        {list: [key]}
//	POST   /v1/keys                  {account, role, description} → 201 key with key_secret
//	GET    /v1/keys/{id}             key
//	POST   /v1/keys/{id}/rotate      {overlap_seconds} → 201 the new key with key_secret
//	DELETE /v1/keys/{id}             204, revokes
func (a *Auth) RegisterKeys(mux *http.ServeMux) {
	handle := func(pattern string, serve func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, Require(Administer, func(w http.ResponseWriter, r *http.Request) {
			if err := serve(w, r); err != nil {
				httpapi.WriteError(w, r, keyError(err))
			}
		}))
	}
	handle("GET /v1/keys", a.serveList)
	handle("POST /v1/keys", a.serveCreate)
	handle("GET /v1/keys/{id}", a.serveGet)
	handle("POST /v1/keys/{id}/rotate", a.serveRotate)
	handle("DELETE /v1/keys/{id}", a.serveRevoke)
}

// keyBody is a key on the wire.
type keyBody struct {
	ID          string     `json:"key_id"`
	Secret      string     `json:"key_secret,omitempty"` // only in the answer that makes it
	Account     string     `json:"account"`
	Role        Role       `json:"role"`
	Description string     `json:"description"`
	Status      string     `json:"status"` // ACTIVE, EXPIRED or REVOKED
	CreatedBy   string     `json:"created_by,omitempty"`
	CreatedAt   time.Time  `json:"created_at"`
	ExpiresAt   *time.Time `json:"expires_at"`
	RevokedAt   *time.Time `json:"revoked_at"`
	ReplacedBy  string     `json:"replaced_by,omitempty"`
}

func (a *Auth) body(k Key, secret string) keyBody {
	b := keyBody{
		ID: k.ID, Secret: secret, Account: k.Account, Role: k.Role, Description: k.Description, Status: "ACTIVE",
		CreatedBy: k.CreatedBy, CreatedAt: k.CreatedAt, ReplacedBy: k.ReplacedBy,
	}
	if !k.ExpiresAt.IsZero() {
		b.ExpiresAt = &k.ExpiresAt
	}
	if !k.RevokedAt.IsZero() {
		b.RevokedAt = &k.RevokedAt
		b.Status = "REVOKED"
	} else if !k.Valid(a.now()) {
		b.Status = "EXPIRED"
	}
	return b
}

func keyError(err error) error {
	switch {
	case errors.Is(err, ErrNoKey):
		return httpapi.NotFound("The access key does not exist.")
	case errors.Is(err, ErrKeyEnded):
		return &httpapi.Error{
			Status: http.StatusConflict, Code: httpapi.CodeInvalidRequest,
			Message: "The access key was revoked or has expired; create a new one.",
		}
	case errors.Is(err, ErrTooManyKeys):
		return &httpapi.Error{
			Status: http.StatusForbidden, Code: httpapi.CodeQuotaExceeded,
			Message: "The account has as many valid access keys as are allowed; revoke some first.",
		}
	}
	return err
}

func (a *Auth) serveList(w http.ResponseWriter, r *http.Request) error {
	account := r.URL.Query().Get("account")
	if account != "" && !IsAccount(account) {
		return httpapi.Invalid("Query parameter account must be 12 digits.")
	}
	caller, _ := PrincipalFrom(r.Context())
	if account == "" && !caller.Governs(HomeAccount) {
		account = caller.Account
	}
	if account != "" {
		if err := CheckAccount(r.Context(), account); err != nil {
			return err
		}
	}
	keys, err := a.ListKeys(r.Context(), account)
	if err != nil {
		return err
	}
	list := make([]keyBody, len(keys))
	for i, k := range keys {
		list[i] = a.body(k, "")
	}
	httpapi.JSON(w, http.StatusOK, map[string]any{"list": list})
	return nil
}

// keyForCaller finds the key of the path; to an admin of another account it is not
// there.
func (a *Auth) keyForCaller(r *http.Request) (Key, error) {
	k, err := selectKey(r.Context(), a.db, r.PathValue("id"))
	if err != nil {
		return Key{}, err
	}
	if caller, _ := PrincipalFrom(r.Context()); !caller.Governs(k.Account) {
		return Key{}, ErrNoKey
	}
	return k.Key, nil
}

func (a *Auth) serveGet(w http.ResponseWriter, r *http.Request) error {
	k, err := a.keyForCaller(r)
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, a.body(k, ""))
	return nil
}

func (a *Auth) serveCreate(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Account     string `json:"account"`
		Role        Role   `json:"role"`
		Description string `json:"description"`
	}
	if err := httpapi.Decode(w, r, &in, maxLogin); err != nil {
		return err
	}
	caller, _ := PrincipalFrom(r.Context())
	n := NewKey{Account: in.Account, Role: in.Role, Description: in.Description, CreatedBy: caller.KeyID}
	if err := n.check(); err != nil {
		return httpapi.Invalid("%v.", err)
	}
	if err := CheckAccount(r.Context(), n.Account); err != nil {
		return err
	}
	k, secret, err := a.CreateKey(r.Context(), n)
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusCreated, a.body(k, secret))
	return nil
}

func (a *Auth) serveRotate(w http.ResponseWriter, r *http.Request) error {
	in := struct {
		OverlapSeconds *int64 `json:"overlap_seconds"`
	}{}
	if err := httpapi.Decode(w, r, &in, maxLogin); err != nil {
		return err
	}
	overlap := DefaultOverlap
	if in.OverlapSeconds != nil {
		longest := int64(MaxOverlap / time.Second)
		if *in.OverlapSeconds < 0 || *in.OverlapSeconds > longest {
			return httpapi.Invalid("Field %q must be 0 to %d.", "overlap_seconds", longest)
		}
		overlap = time.Duration(*in.OverlapSeconds) * time.Second
	}
	old, err := a.keyForCaller(r)
	if err != nil {
		return err
	}
	caller, _ := PrincipalFrom(r.Context())
	k, secret, err := a.RotateKey(r.Context(), old.ID, overlap, caller.KeyID)
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusCreated, a.body(k, secret))
	return nil
}

func (a *Auth) serveRevoke(w http.ResponseWriter, r *http.Request) error {
	k, err := a.keyForCaller(r)
	if err != nil {
		return err
	}
	if err := a.RevokeKey(r.Context(), k.ID); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}
