package function

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/store"
)

const functionColumns = `id, account, region, name, configuration, environment, code_sha256, code_size, tags, policy, revision, modified_at`

// sealPurpose binds environment variables to the function that they are of.
func sealPurpose(r Ref) string { return "environment of " + r.ARN() }

// readFunction returns nil when there is no such function.
func (f *Functions) readFunction(ctx context.Context, db store.Querier, r Ref) (*Function, error) {
	fn, found, err := store.One(db.QueryRow(ctx, `SELECT `+functionColumns+` FROM function WHERE account = $1 AND region = $2 AND name = $3`,
		r.Account, r.Region, r.Name), f.scanFunction)
	if err != nil {
		return nil, fmt.Errorf("read function %s: %w", r.ARN(), err)
	}
	if !found {
		return nil, nil
	}
	return fn, nil
}

// functionByID returns nil once the function is gone, also when another has its name.
func (f *Functions) functionByID(ctx context.Context, db store.Querier, id int64) (*Function, error) {
	fn, found, err := store.One(db.QueryRow(ctx, `SELECT `+functionColumns+` FROM function WHERE id = $1`, id), f.scanFunction)
	if err != nil {
		return nil, fmt.Errorf("read function %d: %w", id, err)
	}
	if !found {
		return nil, nil
	}
	return fn, nil
}

func (f *Functions) scanFunction(row store.Row) (*Function, error) {
	var fn Function
	var configuration, tags string
	var environment []byte
	err := row.Scan(&fn.id, &fn.Account, &fn.Region, &fn.Name, &configuration, &environment, &fn.CodeSHA256, &fn.CodeSize, &tags, &fn.policyText, &fn.Revision, &fn.Modified)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(configuration), &fn.Configuration); err != nil {
		return nil, fmt.Errorf("configuration of %s: %w", fn.ARN(), err)
	}
	if err := f.openEnvironment(&fn, environment); err != nil {
		return nil, fmt.Errorf("environment of %s: %w", fn.ARN(), err)
	}
	if err := json.Unmarshal([]byte(tags), &fn.Tags); err != nil {
		return nil, fmt.Errorf("tags of %s: %w", fn.ARN(), err)
	}
	if fn.policyText != "" {
		if fn.policy, err = auth.ParsePolicy(fn.policyText); err != nil {
			return nil, fmt.Errorf("policy of %s: %w", fn.ARN(), err)
		}
	}
	return &fn, nil
}

func (f *Functions) openEnvironment(fn *Function, sealed []byte) error {
	if len(sealed) == 0 {
		return nil
	}
	plain, err := f.o.Sealer.Open(sealPurpose(fn.Ref), sealed)
	if err != nil {
		return err
	}
	return json.Unmarshal(plain, &fn.Configuration.Environment)
}

// encode writes what the tables hold of a configuration.
func (f *Functions) encode(r Ref, c Configuration) (configuration string, environment []byte, err error) {
	text, err := json.Marshal(c)
	if err != nil {
		return "", nil, fmt.Errorf("configuration of %s: %w", r.ARN(), err)
	}
	if len(c.Environment) == 0 {
		return string(text), []byte{}, nil
	}
	plain, err := json.Marshal(c.Environment)
	if err != nil {
		return "", nil, fmt.Errorf("environment of %s: %w", r.ARN(), err)
	}
	return string(text), f.o.Sealer.Seal(sealPurpose(r), plain), nil
}

func (f *Functions) insertFunction(ctx context.Context, tx *store.Tx, fn *Function) error {
	configuration, environment, err := f.encode(fn.Ref, fn.Configuration)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO function (account, region, name, configuration, environment, code_sha256, code_size, tags, policy, revision, modified_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		fn.Account, fn.Region, fn.Name, configuration, environment, fn.CodeSHA256, fn.CodeSize, encodeMap(fn.Tags), fn.policyText, fn.Revision, fn.Modified)
	if err != nil {
		return fmt.Errorf("insert function %s: %w", fn.ARN(), err)
	}
	return nil
}

// updateFunction stores all of the function but its name.
func (f *Functions) updateFunction(ctx context.Context, tx *store.Tx, fn *Function) error {
	configuration, environment, err := f.encode(fn.Ref, fn.Configuration)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE function SET configuration = $2, environment = $3, code_sha256 = $4, code_size = $5, tags = $6, policy = $7, revision = $8, modified_at = $9
		WHERE id = $1`, fn.id, configuration, environment, fn.CodeSHA256, fn.CodeSize, encodeMap(fn.Tags), fn.policyText, fn.Revision, fn.Modified)
	if err != nil {
		return fmt.Errorf("update function %s: %w", fn.ARN(), err)
	}
	return nil
}

func deleteFunction(ctx context.Context, tx *store.Tx, fn *Function) error {
	if _, err := tx.Exec(ctx, `DELETE FROM function WHERE id = $1`, fn.id); err != nil {
		return fmt.Errorf("delete function %s: %w", fn.ARN(), err)
	}
	return nil
}

// listFunctions returns up to limit functions after the name given, ordered by name.
func (f *Functions) listFunctions(ctx context.Context, account, region, after string, limit int) ([]*Function, error) {
	rows, err := f.db.Query(ctx, `SELECT `+functionColumns+` FROM function WHERE account = $1 AND region = $2 AND name > $3 ORDER BY name LIMIT $4`,
		account, region, after, limit)
	list, err := store.All(rows, err, f.scanFunction)
	if err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	return list, nil
}

// codeStored is how many bytes the deployment packages of an account's functions have in a region.
func codeStored(ctx context.Context, db store.Querier, account, region string) (bytes int64, err error) {
	err = db.QueryRow(ctx, `SELECT CAST(COALESCE(SUM(code_size), 0) AS BIGINT) FROM function WHERE account = $1 AND region = $2`, account, region).Scan(&bytes)
	if err != nil {
		return 0, fmt.Errorf("sum up code of functions: %w", err)
	}
	return bytes, nil
}

// encodeMap writes a map as the tables hold it; nil becomes {}.
func encodeMap(m map[string]string) string {
	if m == nil {
		m = map[string]string{}
	}
	text, _ := json.Marshal(m) // a map of strings always encodes
	return string(text)
}

func affected(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
