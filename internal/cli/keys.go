package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/rialto-bus/rialto/internal/app"
)

// key is an access key as the API shows it.
type key struct {
	ID          string     `json:"key_id"`
	Secret      string     `json:"key_secret,omitempty"`
	Account     string     `json:"account"`
	Role        string     `json:"role"`
	Description string     `json:"description"`
	Status      string     `json:"status"`
	CreatedBy   string     `json:"created_by,omitempty"`
	CreatedAt   time.Time  `json:"created_at"`
	ExpiresAt   *time.Time `json:"expires_at"`
	RevokedAt   *time.Time `json:"revoked_at"`
	ReplacedBy  string     `json:"replaced_by,omitempty"`
}

func newKeys(s *streams, c *client) *cobra.Command {
	return group("keys", "Access keys: who may call, and what they may do",
		newKeysCreate(s, c), newKeysList(s, c), newKeysRotate(s, c), newKeysRevoke(c))
}

func newKeysCreate(s *streams, c *client) *cobra.Command {
	var account, role, description, dataDir, database string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an access key; its secret is shown this once",
		Long: `Make an access key. With --data-dir it is made on a stopped server, which is how
the first key comes about where the server is reachable from other machines.

Roles: admin (everything), operator (all but keys, injecting service events and
running code), publisher (PutEvents and SendMessage), reader.`,
		Example: `  rialto keys create --role admin --data-dir ./rialto-data
  rialto keys create --role publisher --account 111122223333 --description "order service"`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			k := key{Account: account, Role: role, Description: description}
			if dataDir != "" || database != "" {
				made, err := createKeyOffline(cmd.Context(), k, dataDir, database)
				if err != nil {
					return err
				}
				return printMadeKey(cmd, s, made)
			}
			in := map[string]string{"account": account, "role": role, "description": description}
			if err := c.do(cmd.Context(), http.MethodPost, "/v1/keys", in, &k); err != nil {
				return err
			}
			return printMadeKey(cmd, s, k)
		},
	}
	f := cmd.Flags()
	f.StringVar(&account, "account", "000000000000", "account that the key belongs to, 12 digits")
	f.StringVar(&role, "role", "operator", "admin, operator, publisher or reader")
	f.StringVar(&description, "description", "", "what the key is for")
	f.StringVar(&dataDir, "data-dir", "", "data directory of a stopped server")
	f.StringVar(&database, "database", "", "postgres:// URL of a stopped server's database")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{"admin", "operator", "publisher", "reader"}, cobra.ShellCompDirectiveNoFileComp))
	return listing(remote(cmd, c), s)
}

func createKeyOffline(ctx context.Context, k key, dataDir, database string) (key, error) {
	config := app.NewConfig()
	if err := config.ReadEnvironment(); err != nil {
		return k, usageError{err}
	}
	if dataDir != "" {
		config.DataDir = dataDir
	}
	if database != "" {
		config.Database = database
	}
	id, secret, err := app.CreateKey(ctx, config, k.Account, k.Role, k.Description)
	if err != nil {
		return k, err
	}
	k.ID, k.Secret, k.Status, k.CreatedAt = id, secret, "ACTIVE", time.Now().UTC().Truncate(time.Second)
	return k, nil
}

// printMadeKey also says the role that nobody chose.
func printMadeKey(cmd *cobra.Command, s *streams, k key) error {
	if !cmd.Flags().Changed("role") {
		fmt.Fprintf(s.err, "Note: the key's role is %s; --role makes one of another\n", k.Role)
	}
	return printNewKey(s, k)
}

func printNewKey(s *streams, k key) error {
	return s.print(k, []string{"KEY", "SECRET (shown this once)", "ACCOUNT", "ROLE"},
		[][]string{{k.ID, k.Secret, k.Account, k.Role}})
}

func newKeysList(s *streams, c *client) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the access keys; secrets are never shown again",
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := "/v1/keys"
			if account != "" {
				path += "?account=" + url.QueryEscape(account)
			}
			keys, err := listAll[key](cmd.Context(), c, path)
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(keys))
			for _, k := range keys {
				rows = append(rows, []string{k.ID, k.Account, k.Role, k.Status, when(k.ExpiresAt), or(k.Description)})
			}
			return s.print(keys, []string{"KEY", "ACCOUNT", "ROLE", "STATUS", "EXPIRES", "DESCRIPTION"}, rows)
		},
	}
	cmd.Flags().StringVar(&account, "account", "", "only this account's keys")
	return listing(remote(cmd, c), s)
}

func newKeysRotate(s *streams, c *client) *cobra.Command {
	var overlap time.Duration
	cmd := &cobra.Command{
		Use:   "rotate KEY",
		Short: "Make a key that takes another's place; the old one ends after the overlap",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var k key
			in := map[string]int64{"overlap_seconds": int64(overlap / time.Second)}
			if err := c.do(cmd.Context(), http.MethodPost, "/v1/keys/"+pathSegment(args[0])+"/rotate", in, &k); err != nil {
				return err
			}
			return printNewKey(s, k)
		},
	}
	cmd.Flags().DurationVar(&overlap, "overlap", 48*time.Hour, "how long the old key stays valid")
	return listing(remote(cmd, c), s)
}

func newKeysRevoke(c *client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke KEY",
		Short: "End a key now",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.do(cmd.Context(), http.MethodDelete, "/v1/keys/"+pathSegment(args[0]), nil, nil)
		},
	}
	return remote(cmd, c)
}

// when is a time in a table cell.
func when(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
