package cloud

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// stored is the JSON of an account's settings in its row.
type stored struct {
	Description       string   `json:"description,omitempty"`
	RoleARN           string   `json:"role_arn,omitempty"`
	ExternalID        string   `json:"external_id,omitempty"`
	Profile           string   `json:"profile,omitempty"`
	AccessKeyID       string   `json:"access_key_id,omitempty"`
	EndpointURL       string   `json:"endpoint_url,omitempty"`
	Regions           []string `json:"regions,omitempty"`
	RequestsPerSecond float64  `json:"requests_per_second,omitempty"`
	Burst             int      `json:"burst,omitempty"`

	Budgets map[string]Budget `json:"budgets,omitempty"`
}

const selectSettings = `SELECT account_id, settings, secret, created_at, updated_at FROM cloud_accounts`

func loadSettings(ctx context.Context, q store.Querier, account string) (Settings, bool, error) {
	return store.One(q.QueryRow(ctx, selectSettings+` WHERE account_id = $1`, account), scanSettings)
}

func listSettings(ctx context.Context, q store.Querier) ([]Settings, error) {
	rows, err := q.Query(ctx, selectSettings+` ORDER BY account_id`)
	return store.All(rows, err, scanSettings)
}

func scanSettings(row store.Row) (Settings, error) {
	var (
		s                Settings
		text             string
		created, updated int64
	)
	if err := row.Scan(&s.AccountID, &text, &s.sealed, &created, &updated); err != nil {
		return Settings{}, err
	}
	var w stored
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		return Settings{}, fmt.Errorf("settings of account %s: %w", s.AccountID, err)
	}
	s.Description, s.RoleARN, s.ExternalID, s.Profile = w.Description, w.RoleARN, w.ExternalID, w.Profile
	s.AccessKeyID, s.EndpointURL, s.Regions = w.AccessKeyID, w.EndpointURL, w.Regions
	s.RequestsPerSecond, s.Burst, s.Budgets = w.RequestsPerSecond, w.Burst, w.Budgets
	s.CreatedAt, s.UpdatedAt = time.UnixMilli(created).UTC(), time.UnixMilli(updated).UTC()
	return s, nil
}

func saveSettings(ctx context.Context, tx *store.Tx, s Settings) error {
	text, err := json.Marshal(stored{s.Description, s.RoleARN, s.ExternalID, s.Profile, s.AccessKeyID,
		s.EndpointURL, s.Regions, s.RequestsPerSecond, s.Burst, s.Budgets})
	if err != nil {
		return err
	}
	if s.sealed == nil {
		s.sealed = []byte{}
	}
	_, err = tx.Exec(ctx, `INSERT INTO cloud_accounts (account_id, settings, secret, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (account_id) DO UPDATE SET settings = excluded.settings, secret = excluded.secret, updated_at = excluded.updated_at`,
		s.AccountID, string(text), s.sealed, s.CreatedAt.UnixMilli(), s.UpdatedAt.UnixMilli())
	return err
}

func deleteSettings(ctx context.Context, tx *store.Tx, account string) (bool, error) {
	res, err := tx.Exec(ctx, `DELETE FROM cloud_accounts WHERE account_id = $1`, account)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}
