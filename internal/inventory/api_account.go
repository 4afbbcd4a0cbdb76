package inventory

import (
	"net/http"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

// accountJSON is a cloud account as the API shows it. ASA: the fields up to
// description; the others are ours.
type accountJSON struct {
	ID                string       `json:"id"`
	Provider          string       `json:"provider"`
	AccountID         string       `json:"account_id"`
	Description       string       `json:"description"`
	Regions           []string     `json:"regions"`
	AddressPreference string       `json:"address_preference"`
	CanonicalNameFrom string       `json:"canonical_name_from"`
	TagInclude        string       `json:"tag_include"`
	TagExclude        string       `json:"tag_exclude"`
	SyncInterval      durationJSON `json:"sync_interval"`
	RemovalThreshold  int          `json:"removal_threshold_percent"`
	TrustEvents       bool         `json:"trust_events"`
	RouteSiblings     bool         `json:"route_siblings"`
	ConnectedAt       *time.Time   `json:"connected_at"`
	NextSyncAt        *time.Time   `json:"next_sync_at"`
	MonitoredAt       *time.Time   `json:"monitored_at"`
	WebhookURL        *string      `json:"webhook_url"`
	DeletedAt         *time.Time   `json:"deleted_at"`
}

func (v *Inventory) toAccountJSON(a *CloudAccount) accountJSON {
	j := accountJSON{
		ID: a.ID, Provider: "aws", AccountID: a.AccountID, Description: a.Description, Regions: append([]string{}, a.Regions...),
		AddressPreference: a.Options.AddressPreference, CanonicalNameFrom: a.Options.CanonicalNameFrom,
		TagInclude: a.Options.TagInclude, TagExclude: a.Options.TagExclude, SyncInterval: durationJSON(a.Options.SyncInterval),
		RemovalThreshold: a.Options.RemovalThreshold, TrustEvents: a.Options.TrustEvents, RouteSiblings: a.Options.RouteSiblings,
		ConnectedAt: timeOrNull(a.ConnectedAt), MonitoredAt: timeOrNull(a.MonitoredAt), DeletedAt: timeOrNull(a.DeletedAt),
	}
	if !a.Options.TrustEvents {
		j.NextSyncAt = timeOrNull(nextSync(*a, v.now()))
	}
	if a.WebhookID != "" {
		j.WebhookURL = orNull(v.webhookURL(a.WebhookID))
	}
	return j
}

// accountInput is what a caller may set of a cloud account; what is missing keeps
// its value, or its default at first.
type accountInput struct {
	Provider          *string       `json:"provider"`
	AccountID         *string       `json:"account_id"`
	Description       *string       `json:"description"`
	Regions           []string      `json:"regions"`
	AddressPreference *string       `json:"address_preference"`
	CanonicalNameFrom *string       `json:"canonical_name_from"`
	TagInclude        *string       `json:"tag_include"`
	TagExclude        *string       `json:"tag_exclude"`
	SyncInterval      *durationJSON `json:"sync_interval"`
	RemovalThreshold  *int          `json:"removal_threshold_percent"`
	TrustEvents       *bool         `json:"trust_events"`
	RouteSiblings     *bool         `json:"route_siblings"`
}

func (in *accountInput) apply(a *CloudAccount) {
	o := &a.Options
	setIf(&a.Description, in.Description)
	if in.Regions != nil {
		a.Regions = in.Regions
	}
	setIf(&o.AddressPreference, in.AddressPreference)
	setIf(&o.CanonicalNameFrom, in.CanonicalNameFrom)
	setIf(&o.TagInclude, in.TagInclude)
	setIf(&o.TagExclude, in.TagExclude)
	setIf((*durationJSON)(&o.SyncInterval), in.SyncInterval)
	setIf(&o.RemovalThreshold, in.RemovalThreshold)
	setIf(&o.TrustEvents, in.TrustEvents)
	setIf(&o.RouteSiblings, in.RouteSiblings)
}

func setIf[T any](to *T, v *T) {
	if v != nil {
		*to = *v
	}
}

// monitorJSON is a real-time credential. client_secret is there only in the
// answer that made it.
type monitorJSON struct {
	CloudAccountID string       `json:"cloud_account_id"`
	AccountID      string       `json:"account_id"`
	ClientID       string       `json:"client_id"`
	ClientSecret   string       `json:"client_secret,omitempty"`
	WebhookURL     string       `json:"webhook_url"`
	TokenURL       string       `json:"token_url"`
	MonitoredAt    *time.Time   `json:"monitored_at"`
	Secrets        []secretJSON `json:"secrets"`
	EventPattern   patternJSON  `json:"event_pattern"`
	Notes          []string     `json:"notes"`
}

// patternJSON is the event pattern that a rule needs.
type patternJSON struct {
	Source     []string `json:"source"`
	DetailType []string `json:"detail-type"`
	Detail     struct {
		State []string `json:"state"`
	} `json:"detail"`
}

type secretJSON struct {
	ID         string     `json:"id"`
	LastFour   string     `json:"last_four"`
	CreatedAt  *time.Time `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at"`
	RevokedAt  *time.Time `json:"revoked_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
}

func toMonitorJSON(m *Monitor) monitorJSON {
	j := monitorJSON{
		CloudAccountID: m.Account.ID, AccountID: m.Account.AccountID, ClientID: m.Account.ClientID, ClientSecret: m.ClientSecret,
		WebhookURL: m.WebhookURL, TokenURL: m.TokenURL, MonitoredAt: timeOrNull(m.Account.MonitoredAt),
		Secrets: make([]secretJSON, len(m.Secrets)), Notes: append([]string{}, m.Notes...),
	}
	j.EventPattern = patternJSON{Source: []string{stateChangeSource}, DetailType: []string{stateChangeType}}
	j.EventPattern.Detail.State = []string{statePending, stateTerminated}
	for i, s := range m.Secrets {
		j.Secrets[i] = secretJSON{s.ID, s.LastFour, timeOrNull(s.CreatedAt), timeOrNull(s.ExpiresAt), timeOrNull(s.RevokedAt), timeOrNull(s.LastUsedAt)}
	}
	return j
}

func (v *Inventory) registerAccounts(rest register) {
	rest("GET "+pathAccounts, auth.Read, v.serveAccounts)
	rest("POST "+pathAccounts, auth.Write, v.serveConnect)
	rest("GET "+pathAccount, auth.Read, v.serveAccount)
	rest("PUT "+pathAccount, auth.Write, v.serveUpdateAccount)
	rest("DELETE "+pathAccount, auth.Write, v.serveDisconnect)
	rest("GET "+pathAccount+"/monitor", auth.Read, v.serveMonitor)
	rest("POST "+pathAccount+"/monitor", auth.Write, v.serveStartMonitor)
	rest("DELETE "+pathAccount+"/monitor", auth.Write, v.serveStopMonitor)
	rest("POST "+pathAccount+"/monitor/secrets", auth.Write, v.serveRotate)
	rest("DELETE "+pathAccount+"/monitor/secrets/{secret}", auth.Write, v.serveRevoke)
	rest("GET "+pathAccount+"/health", auth.Read, v.serveHealth)
	rest("GET "+pathAccount+"/sync_runs", auth.Read, v.serveRuns)
	rest("POST "+pathAccount+"/sync_runs", auth.Write, v.serveRunSync)
	rest("GET "+pathAccount+"/sync_runs/{run}", auth.Read, v.serveRun)
	rest("POST "+pathAccount+"/sync_runs/{run}/confirm", auth.Write, v.serveConfirm)
}

func (v *Inventory) serveAccounts(w http.ResponseWriter, r *http.Request) error {
	list, err := v.Accounts(r.Context(), r.PathValue("project"))
	if err != nil {
		return err
	}
	writeList(w, list, v.toAccountJSON)
	return nil
}

func (v *Inventory) serveConnect(w http.ResponseWriter, r *http.Request) error {
	var in accountInput
	if err := httpapi.Decode(w, r, &in, 0); err != nil {
		return err
	}
	if in.Provider != nil && *in.Provider != "aws" {
		return httpapi.Invalid("provider must be aws, not %q.", *in.Provider)
	}
	a := CloudAccount{Options: DefaultAccountOptions()}
	setIf(&a.AccountID, in.AccountID)
	in.apply(&a)
	a, err := v.ConnectAccount(r.Context(), r.PathValue("project"), a)
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, v.toAccountJSON(&a))
	return nil
}

func (v *Inventory) serveAccount(w http.ResponseWriter, r *http.Request) error {
	a, err := v.Account(r.Context(), r.PathValue("project"), r.PathValue("account"))
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, v.toAccountJSON(&a))
	return nil
}

func (v *Inventory) serveUpdateAccount(w http.ResponseWriter, r *http.Request) error {
	var in accountInput
	if err := httpapi.Decode(w, r, &in, 0); err != nil {
		return err
	}
	if in.AccountID != nil || in.Provider != nil {
		return httpapi.Invalid("account_id and provider cannot be changed; connect the other account instead.")
	}
	a, err := v.UpdateAccount(r.Context(), r.PathValue("project"), r.PathValue("account"), in.apply)
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, v.toAccountJSON(&a))
	return nil
}

func (v *Inventory) serveDisconnect(w http.ResponseWriter, r *http.Request) error {
	if err := v.DisconnectAccount(r.Context(), r.PathValue("project"), r.PathValue("account")); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}

func (v *Inventory) serveMonitor(w http.ResponseWriter, r *http.Request) error {
	m, err := v.Monitor(r.Context(), r.PathValue("project"), r.PathValue("account"))
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toMonitorJSON(&m))
	return nil
}

func (v *Inventory) serveStartMonitor(w http.ResponseWriter, r *http.Request) error {
	m, err := v.StartMonitor(r.Context(), r.PathValue("project"), r.PathValue("account"))
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusCreated, toMonitorJSON(&m))
	return nil
}

func (v *Inventory) serveStopMonitor(w http.ResponseWriter, r *http.Request) error {
	if err := v.StopMonitor(r.Context(), r.PathValue("project"), r.PathValue("account")); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}

func (v *Inventory) serveRotate(w http.ResponseWriter, r *http.Request) error {
	in := struct {
		Overlap durationJSON `json:"overlap"`
	}{durationJSON(DefaultOverlap)}
	if err := decodeOptional(w, r, &in); err != nil {
		return err
	}
	m, err := v.RotateMonitor(r.Context(), r.PathValue("project"), r.PathValue("account"), time.Duration(in.Overlap))
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusCreated, toMonitorJSON(&m))
	return nil
}

func (v *Inventory) serveRevoke(w http.ResponseWriter, r *http.Request) error {
	if err := v.RevokeMonitorSecret(r.Context(), r.PathValue("project"), r.PathValue("account"), r.PathValue("secret")); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}
