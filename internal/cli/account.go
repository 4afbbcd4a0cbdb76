package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// account is what a table shows of a project's cloud account.
type account struct {
	ID          string     `json:"id"`
	AccountID   string     `json:"account_id"`
	Description string     `json:"description"`
	Regions     []string   `json:"regions"`
	NextSyncAt  *time.Time `json:"next_sync_at"`
	MonitoredAt *time.Time `json:"monitored_at"`
}

// accountRequest is what add and update send; empty fields keep their values.
type accountRequest struct {
	Provider          string   `json:"provider,omitempty"`
	AccountID         string   `json:"account_id,omitempty"`
	Description       *string  `json:"description,omitempty"`
	Regions           []string `json:"regions,omitempty"`
	AddressPreference *string  `json:"address_preference,omitempty"`
	CanonicalNameFrom *string  `json:"canonical_name_from,omitempty"`
	TagInclude        *string  `json:"tag_include,omitempty"`
	TagExclude        *string  `json:"tag_exclude,omitempty"`
	SyncInterval      *string  `json:"sync_interval,omitempty"`
	RemovalThreshold  *int     `json:"removal_threshold_percent,omitempty"`
	TrustEvents       *bool    `json:"trust_events,omitempty"`
	RouteSiblings     *bool    `json:"route_siblings,omitempty"`
}

// cloudSettings say how a real account is reached.
type cloudSettings struct {
	Description       string   `json:"description,omitempty"`
	RoleARN           string   `json:"role_arn,omitempty"`
	ExternalID        string   `json:"external_id,omitempty"`
	Profile           string   `json:"profile,omitempty"`
	AccessKeyID       string   `json:"access_key_id,omitempty"`
	SecretAccessKey   string   `json:"secret_access_key,omitempty"`
	EndpointURL       string   `json:"endpoint_url,omitempty"`
	Regions           []string `json:"regions,omitempty"`
	RequestsPerSecond float64  `json:"requests_per_second,omitempty"`
	Burst             int      `json:"burst,omitempty"`
	// Budgets are kept as they are: no flag names them.
	Budgets json.RawMessage `json:"budgets,omitempty"`
}

// addAccount connects a cloud account to a project.
func addAccount(ctx context.Context, c *client, projectName string, in accountRequest) (shown[account], error) {
	var a shown[account]
	err := c.do(ctx, http.MethodPost, teamPath("projects", projectName, "cloud_accounts"), in, &a)
	return a, err
}

// accountFlags are the settings that add and update share.
type accountFlags struct {
	accountRequest
	description, address, canonical, include, exclude, interval string
	threshold                                                   int
	trust, siblings                                             bool
	aws                                                         bool
	cloud                                                       cloudSettings
}

func (f *accountFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringSliceVar(&f.Regions, "region", nil, "region to follow; may be repeated (default: those of the account)")
	fl.StringVar(&f.description, "description", "", "what the account is")
	fl.StringVar(&f.address, "address-preference", "", "access address of servers: public or private")
	fl.StringVar(&f.canonical, "canonical-name-from", "", "tag that names servers, as tag:Name")
	fl.StringVar(&f.include, "tag-include", "", "only instances with these tags (a selector)")
	fl.StringVar(&f.exclude, "tag-exclude", "", "no instances with these tags (a selector)")
	fl.StringVar(&f.interval, "sync-interval", "", "time between full syncs, 5m to 24h")
	fl.IntVar(&f.threshold, "removal-threshold", 0, "percentage of servers that a sync may remove unconfirmed")
	fl.BoolVar(&f.trust, "trust-events", false, "act on events without reading the account")
	fl.BoolVar(&f.siblings, "route-siblings", false, "take events of the project's other accounts on this webhook")
	fl.BoolVar(&f.aws, "aws", false, "a real AWS account, reached with the SDK's usual credentials (implied by the flags below)")
	fl.StringVar(&f.cloud.RoleARN, "role-arn", "", "role to assume in the account")
	fl.StringVar(&f.cloud.ExternalID, "external-id", "", "external id that the role asks for")
	fl.StringVar(&f.cloud.Profile, "profile", "", "profile of the AWS configuration on the server's machine")
	fl.StringVar(&f.cloud.AccessKeyID, "access-key-id", "", "static access key; its secret is read from RIALTO_ACCOUNT_SECRET_ACCESS_KEY")
	fl.StringVar(&f.cloud.EndpointURL, "endpoint-url", "", "endpoint instead of AWS's own")
	fl.Float64Var(&f.cloud.RequestsPerSecond, "requests-per-second", 0, "rate budget of reads of the account")
}

// request holds the settings whose flags were given.
func (f *accountFlags) request(cmd *cobra.Command) accountRequest {
	in := f.accountRequest
	changed := cmd.Flags().Changed
	for name, set := range map[string]func(){
		"description":         func() { in.Description = &f.description },
		"address-preference":  func() { in.AddressPreference = &f.address },
		"canonical-name-from": func() { in.CanonicalNameFrom = &f.canonical },
		"tag-include":         func() { in.TagInclude = &f.include },
		"tag-exclude":         func() { in.TagExclude = &f.exclude },
		"sync-interval":       func() { in.SyncInterval = &f.interval },
		"removal-threshold":   func() { in.RemovalThreshold = &f.threshold },
		"trust-events":        func() { in.TrustEvents = &f.trust },
		"route-siblings":      func() { in.RouteSiblings = &f.siblings },
	} {
		if changed(name) {
			set()
		}
	}
	return in
}

// putCloud sets how the account is reached, where a flag asks for it; what no
// flag names stays as it was.
func (f *accountFlags) putCloud(cmd *cobra.Command, s *streams, c *client, accountID string) error {
	ctx, path := cmd.Context(), "/v1/cloud/accounts/"+pathSegment(accountID)
	var in cloudSettings
	changes := f.cloudChanges(cmd, &in)
	if len(changes) == 0 {
		return nil
	}
	var refused *refusedError
	if err := c.do(ctx, http.MethodGet, path, nil, &in); err != nil && (!errors.As(err, &refused) || refused.status != http.StatusNotFound) {
		return fmt.Errorf("look how account %s is reached: %w", accountID, err)
	}
	for _, change := range changes {
		change()
	}
	if cmd.Flags().Changed("access-key-id") && in.AccessKeyID != "" {
		in.SecretAccessKey = envOr("RIALTO_ACCOUNT_SECRET_ACCESS_KEY", "")
		if in.SecretAccessKey == "" {
			return usagef("--access-key-id needs the secret in RIALTO_ACCOUNT_SECRET_ACCESS_KEY")
		}
	}
	var set cloudSettings
	if err := c.do(ctx, http.MethodPut, path, in, &set); err != nil {
		return fmt.Errorf("say how account %s is reached: %w", accountID, err)
	}
	if set.ExternalID != in.ExternalID {
		fmt.Fprintf(s.err, "Note: let the trust policy of %s ask for the external id %s\n", set.RoleARN, set.ExternalID)
	}
	return nil
}

// cloudChanges are what the flags given change in the settings.
func (f *accountFlags) cloudChanges(cmd *cobra.Command, in *cloudSettings) []func() {
	var changes []func()
	for name, change := range map[string]func(){
		"aws":                 func() {},
		"role-arn":            func() { in.RoleARN = f.cloud.RoleARN },
		"external-id":         func() { in.ExternalID = f.cloud.ExternalID },
		"profile":             func() { in.Profile = f.cloud.Profile },
		"access-key-id":       func() { in.AccessKeyID = f.cloud.AccessKeyID },
		"endpoint-url":        func() { in.EndpointURL = f.cloud.EndpointURL },
		"requests-per-second": func() { in.RequestsPerSecond = f.cloud.RequestsPerSecond },
	} {
		if cmd.Flags().Changed(name) {
			changes = append(changes, change)
		}
	}
	return changes
}

func printAccounts(s *streams, v any, list ...shown[account]) error {
	rows := make([][]string, 0, len(list))
	for _, v := range list {
		a := v.row
		rows = append(rows, []string{a.AccountID, or(strings.Join(a.Regions, ",")), when(a.MonitoredAt), when(a.NextSyncAt), a.ID, or(a.Description)})
	}
	return s.print(v, []string{"ACCOUNT", "REGIONS", "MONITORED SINCE", "NEXT SYNC", "ID", "DESCRIPTION"}, rows)
}

func newAccountAdd(s *streams, c *client) *cobra.Command {
	var projectName string
	var f accountFlags
	cmd := &cobra.Command{
		Use:   "add ACCOUNT",
		Short: "Have a project follow a cloud account",
		Long: `Have a project follow a cloud account, 12 digits. Without --aws and the flags that
imply it, the account is the one in the box.`,
		Example: `  rialto inventory account add 000000000000 --project web --region us-east-1 --region eu-west-1
  rialto inventory account add 111122223333 --project web --region us-east-1 --role-arn arn:aws:iam::111122223333:role/rialto --external-id web-7f3a`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			warnRegions(s, f.Regions)
			if err := f.putCloud(cmd, s, c, args[0]); err != nil {
				return err
			}
			in := f.request(cmd)
			in.Provider, in.AccountID = "aws", args[0]
			a, err := addAccount(cmd.Context(), c, projectName, in)
			if err != nil {
				return err
			}
			return printAccounts(s, a, a)
		},
	}
	f.register(cmd)
	return listing(remote(inProject(cmd, &projectName), c), s)
}

func newAccountUpdate(s *streams, c *client) *cobra.Command {
	var projectName string
	var f accountFlags
	cmd := &cobra.Command{
		Use:   "update ACCOUNT",
		Short: "Change how a project follows a cloud account",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			warnRegions(s, f.Regions)
			if err := f.putCloud(cmd, s, c, args[0]); err != nil {
				return err
			}
			var a shown[account]
			if err := c.do(cmd.Context(), http.MethodPut, teamPath("projects", projectName, "cloud_accounts", args[0]), f.request(cmd), &a); err != nil {
				return err
			}
			return printAccounts(s, a, a)
		},
	}
	f.register(cmd)
	return listing(remote(inProject(cmd, &projectName), c), s)
}

func newAccountList(s *streams, c *client) *cobra.Command {
	var projectName string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List a project's cloud accounts",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := listAll[shown[account]](cmd.Context(), c, teamPath("projects", projectName, "cloud_accounts"))
			if err != nil {
				return err
			}
			return printAccounts(s, list, list...)
		},
	}
	return listing(remote(inProject(cmd, &projectName), c), s)
}

func newAccountRemove(c *client) *cobra.Command {
	var projectName string
	cmd := &cobra.Command{
		Use:   "remove ACCOUNT",
		Short: "Stop following a cloud account; its servers stay, marked as orphaned",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.do(cmd.Context(), http.MethodDelete, teamPath("projects", projectName, "cloud_accounts", args[0]), nil, nil)
		},
	}
	return remote(inProject(cmd, &projectName), c)
}

// monitor is what a table shows of a cloud account's real-time credential.
type monitor struct {
	AccountID    string `json:"account_id"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	WebhookURL   string `json:"webhook_url"`
	TokenURL     string `json:"token_url"`
	Secrets      []struct {
		ID         string     `json:"id"`
		LastFour   string     `json:"last_four"`
		CreatedAt  *time.Time `json:"created_at"`
		ExpiresAt  *time.Time `json:"expires_at"`
		RevokedAt  *time.Time `json:"revoked_at"`
		LastUsedAt *time.Time `json:"last_used_at"`
	} `json:"secrets"`
	Notes []string `json:"notes"`
}

// monitorAccount makes the real-time credential and the webhook of an account.
func monitorAccount(ctx context.Context, c *client, projectName, accountID string) (shown[monitor], error) {
	var m shown[monitor]
	err := c.do(ctx, http.MethodPost, teamPath("projects", projectName, "cloud_accounts", accountID, "monitor"), nil, &m)
	return m, err
}

func newAccountMonitor(s *streams, c *client) *cobra.Command {
	var projectName string
	var f templateFlags
	cmd := &cobra.Command{
		Use:   "monitor ACCOUNT",
		Short: "Make the client id, client secret and webhook that EventBridge calls with",
		Long: `Make the real-time credential of a cloud account: a client id, a client secret
(shown this once) and the webhook's URL. Give them to an EventBridge connection
(OAuth client credentials) and an API destination; with --template this prints
the AWS side of a credential that was made before, ready to deploy. The client
secret is a parameter of what is printed: it is not in it.`,
		Example: `  rialto inventory account monitor 111122223333 --project web
  rialto inventory account monitor 111122223333 --project web --template cloudformation > monitor.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("template") {
				return printMonitorTemplate(cmd, s, c, &f, projectName, args[0])
			}
			for _, name := range []string{"central", "per-region", "region"} {
				if cmd.Flags().Changed(name) {
					return usagef("--%s goes with --template", name)
				}
			}
			m, err := monitorAccount(cmd.Context(), c, projectName, args[0])
			if refused, ok := errors.AsType[*refusedError](err); ok && refused.status == http.StatusConflict {
				return fmt.Errorf("%w\n'rialto inventory credential rotate %s --project %s' makes a new secret and prints it", err, args[0], projectName)
			}
			if err != nil {
				return err
			}
			return printMonitor(s, m)
		},
	}
	f.register(cmd, "template", "")
	return listing(remote(inProject(cmd, &projectName), c), s)
}

func printMonitor(s *streams, v shown[monitor]) error {
	m := v.row
	for _, note := range m.Notes {
		fmt.Fprintf(s.err, "Note: %s\n", note)
	}
	rows := [][]string{
		{"Client id", m.ClientID},
		{"Client secret (shown this once)", m.ClientSecret},
		{"Webhook URL", m.WebhookURL},
		{"Token URL", m.TokenURL},
	}
	return s.print(v, []string{"REAL-TIME CREDENTIAL", "OF ACCOUNT " + m.AccountID}, rows)
}

func newCredentialList(s *streams, c *client) *cobra.Command {
	var projectName string
	cmd := &cobra.Command{
		Use:   "list ACCOUNT",
		Short: "List the secrets of an account's real-time credential",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var v shown[monitor]
			if err := c.do(cmd.Context(), http.MethodGet, teamPath("projects", projectName, "cloud_accounts", args[0], "monitor"), nil, &v); err != nil {
				return err
			}
			m := v.row
			rows := make([][]string, 0, len(m.Secrets))
			for _, x := range m.Secrets {
				rows = append(rows, []string{x.ID, m.ClientID, "…" + x.LastFour, when(x.CreatedAt), when(x.ExpiresAt), when(x.RevokedAt), when(x.LastUsedAt)})
			}
			return s.print(v, []string{"SECRET", "CLIENT", "ENDS IN", "CREATED", "EXPIRES", "REVOKED", "LAST USED"}, rows)
		},
	}
	return listing(remote(inProject(cmd, &projectName), c), s)
}

func newCredentialRotate(s *streams, c *client) *cobra.Command {
	var projectName string
	var overlap time.Duration
	cmd := &cobra.Command{
		Use:   "rotate ACCOUNT",
		Short: "Make a new client secret; older ones end after the overlap",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var m shown[monitor]
			in := map[string]string{"overlap": overlap.String()}
			if err := c.do(cmd.Context(), http.MethodPost, teamPath("projects", projectName, "cloud_accounts", args[0], "monitor", "secrets"), in, &m); err != nil {
				return err
			}
			return printMonitor(s, m)
		},
	}
	cmd.Flags().DurationVar(&overlap, "overlap", 48*time.Hour, "how long older secrets stay valid")
	return listing(remote(inProject(cmd, &projectName), c), s)
}

func newCredentialRevoke(c *client) *cobra.Command {
	var projectName string
	cmd := &cobra.Command{
		Use:   "revoke ACCOUNT SECRET",
		Short: "End a client secret, and the tokens made with it, now",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.do(cmd.Context(), http.MethodDelete, teamPath("projects", projectName, "cloud_accounts", args[0], "monitor", "secrets", args[1]), nil, nil)
		},
	}
	return remote(inProject(cmd, &projectName), c)
}

// health is what a table shows of the health of a cloud account's event path.
type health struct {
	List []struct {
		Region      string     `json:"region"`
		Status      string     `json:"status"`
		Events      int64      `json:"events"`
		LastEventAt *time.Time `json:"last_event_at"`
		LastSyncAt  *time.Time `json:"last_sync_at"`
		Drift       int        `json:"drift"`
	} `json:"list"`
	UnreadWhy *string `json:"unread_why"`
}

func newAccountHealth(s *streams, c *client) *cobra.Command {
	var projectName string
	cmd := &cobra.Command{
		Use:   "health ACCOUNT",
		Short: "Show per region whether events arrive, and what they missed",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var v shown[health]
			if err := c.do(cmd.Context(), http.MethodGet, teamPath("projects", projectName, "cloud_accounts", args[0], "health"), nil, &v); err != nil {
				return err
			}
			h := v.row
			rows := make([][]string, 0, len(h.List))
			for _, r := range h.List {
				rows = append(rows, []string{r.Region, r.Status, count(r.Events), when(r.LastEventAt), when(r.LastSyncAt), strconv.Itoa(r.Drift)})
			}
			if s.format == "table" && h.UnreadWhy != nil {
				fmt.Fprintf(s.err, "The account cannot be read: %s\n", *h.UnreadWhy)
			}
			return s.print(v, []string{"REGION", "STATUS", "EVENTS", "LAST EVENT", "LAST SYNC", "DRIFT"}, rows)
		},
	}
	return listing(remote(inProject(cmd, &projectName), c), s)
}
