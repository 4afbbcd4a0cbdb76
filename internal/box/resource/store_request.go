package resource

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/store"
)

const requestColumns = `id, token, account, region, operation, type_name, identifier, status, error_code, status_message,
	client_token, fingerprint, caller, model, tries, created_at, updated_at, retry_at`

func scanRequest(row store.Row) (o operation, err error) {
	var caller, status, code string
	err = row.Scan(&o.id, &o.Token, &o.Account, &o.Region, &o.Operation, &o.TypeName, &o.Identifier, &status, &code, &o.Message,
		&o.clientToken, &o.fingerprint, &caller, &o.Model, &o.tries, &o.Created, &o.Updated, &o.RetryAt)
	if err != nil {
		return o, err
	}
	o.Status, o.ErrorCode = status, ErrorCode(code)
	if err := json.Unmarshal([]byte(caller), &o.caller); err != nil {
		return o, fmt.Errorf("caller of request %s: %w", o.Token, err)
	}
	return o, nil
}

func oneRequest(row store.Row) (*operation, error) {
	o, err := scanRequest(row)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	return &o, nil
}

// findRequest returns nil when there is no request of the token in the account and region.
func findRequest(ctx context.Context, db store.Querier, account, region, token string) (*operation, error) {
	return oneRequest(db.QueryRow(ctx, `SELECT `+requestColumns+` FROM resource_request WHERE token = $1 AND account = $2 AND region = $3`,
		token, account, region))
}

// findRepeated returns the newest request with the client token since a time, nil if there is none.
func findRepeated(ctx context.Context, db store.Querier, account, region, clientToken string, since int64) (*operation, error) {
	return oneRequest(db.QueryRow(ctx, `SELECT `+requestColumns+` FROM resource_request
		WHERE account = $1 AND region = $2 AND client_token = $3 AND client_token <> '' AND created_at >= $4 ORDER BY id DESC LIMIT 1`,
		account, region, clientToken, since))
}

// isBusy says whether an operation on the resource has not ended.
func isBusy(ctx context.Context, db store.Querier, account, region, typeName, identifier string) (bool, error) {
	var n int
	err := db.QueryRow(ctx, `SELECT COUNT(*) FROM resource_request
		WHERE NOT ended AND account = $1 AND region = $2 AND type_name = $3 AND identifier = $4`, account, region, typeName, identifier).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look for operations on %s: %w", typeName, err)
	}
	return n > 0, nil
}

// countRunning counts the operations of an account and region that have not ended.
func countRunning(ctx context.Context, db store.Querier, account, region string) (n int, err error) {
	err = db.QueryRow(ctx, `SELECT COUNT(*) FROM resource_request WHERE NOT ended AND account = $1 AND region = $2`, account, region).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count operations: %w", err)
	}
	return n, nil
}

// insertRequest stores a new request with its sealed input.
func insertRequest(ctx context.Context, tx *store.Tx, o *operation, sealed []byte) error {
	caller, err := json.Marshal(o.caller)
	if err != nil {
		return fmt.Errorf("caller of a request: %w", err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO resource_request (token, account, region, operation, type_name, identifier, status, error_code, status_message,
			client_token, fingerprint, caller, input, model, tries, created_at, updated_at, retry_at, ended)
		VALUES ($1, $2, $3, $4, $5, $6, $7, '', '', $8, $9, $10, $11, '', 0, $12, $12, 0, FALSE)`,
		o.Token, o.Account, o.Region, o.Operation, o.TypeName, o.Identifier, o.Status, o.clientToken, o.fingerprint, string(caller), sealed, o.Created)
	if err != nil {
		return fmt.Errorf("insert request: %w", err)
	}
	return nil
}

// sealedInput is the input of a request that has not ended.
func sealedInput(ctx context.Context, db store.Querier, token string) (sealed []byte, err error) {
	if err := db.QueryRow(ctx, `SELECT input FROM resource_request WHERE token = $1`, token).Scan(&sealed); err != nil {
		return nil, fmt.Errorf("read input of request %s: %w", token, err)
	}
	return sealed, nil
}

// requestStatus is a request's status, empty when there is no such request.
func requestStatus(ctx context.Context, db store.Querier, token string) (status string, err error) {
	err = db.QueryRow(ctx, `SELECT status FROM resource_request WHERE token = $1`, token).Scan(&status)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read status of request %s: %w", token, err)
	}
	return status, nil
}

// saveProgress writes what changes while a request runs. One that has ended is left alone.
func saveProgress(ctx context.Context, tx *store.Tx, o *operation) error {
	_, err := tx.Exec(ctx, `UPDATE resource_request SET status = $2, error_code = $3, status_message = $4, identifier = $5, model = $6, tries = $7,
			updated_at = $8, retry_at = $9, ended = $10, input = CASE WHEN $10 THEN NULL ELSE input END
		WHERE token = $1 AND NOT ended`,
		o.Token, o.Status, string(o.ErrorCode), o.Message, o.Identifier, o.Model, o.tries, o.Updated, o.RetryAt, o.ended())
	if err != nil {
		return fmt.Errorf("save progress of request %s: %w", o.Token, err)
	}
	return nil
}

// listRequests returns up to limit requests, the newest first, with ids below the one given;
// 0 stands for none. Empty filters let all through. They come without their models.
func listRequests(ctx context.Context, db store.Querier, account, region string, operations, statuses []string, before int64, limit int) ([]operation, error) {
	var q strings.Builder
	args := []any{account, region}
	q.WriteString(`SELECT ` + strings.Replace(requestColumns, " model,", " '',", 1) + ` FROM resource_request WHERE account = $1 AND region = $2`)
	if before > 0 {
		args = append(args, before)
		q.WriteString(` AND id < $3`)
	}
	for _, filter := range []struct {
		column string
		values []string
	}{{"operation", operations}, {"status", statuses}} {
		if len(filter.values) == 0 {
			continue
		}
		values := slices.Compact(slices.Sorted(slices.Values(filter.values)))
		q.WriteString(` AND ` + filter.column + ` IN (`)
		for i, v := range values {
			if i > 0 {
				q.WriteString(", ")
			}
			args = append(args, v)
			q.WriteString("$" + strconv.Itoa(len(args)))
		}
		q.WriteString(`)`)
	}
	args = append(args, limit)
	q.WriteString(` ORDER BY id DESC LIMIT $` + strconv.Itoa(len(args)))
	rows, err := db.Query(ctx, q.String(), args...)
	list, err := store.All(rows, err, scanRequest)
	if err != nil {
		return nil, fmt.Errorf("list requests: %w", err)
	}
	return list, nil
}

// forgetRequests deletes up to limit requests that ended before a time, and returns how many.
func forgetRequests(ctx context.Context, tx *store.Tx, before int64, limit int) (int64, error) {
	res, err := tx.Exec(ctx, `DELETE FROM resource_request WHERE id IN (
		SELECT id FROM resource_request WHERE ended AND updated_at < $1 ORDER BY updated_at LIMIT $2)`, before, limit)
	if err != nil {
		return 0, fmt.Errorf("delete old requests: %w", err)
	}
	return res.RowsAffected()
}

// storedCaller is who a request works for, as its row has it.
type storedCaller struct {
	AccessKeyID, Account, Region, Role, SourceIP, UserAgent string
}

func storeCaller(c awsapi.Caller) storedCaller {
	return storedCaller{c.AccessKeyID, c.Account, c.Region, c.Role, c.SourceIP, c.UserAgent}
}

// caller is who the handler works for. AWS: a service that calls another one says so.
func (c storedCaller) caller() awsapi.Caller {
	return awsapi.Caller{
		AccessKeyID: c.AccessKeyID, Account: c.Account, Region: c.Region, Role: c.Role, SourceIP: c.SourceIP, UserAgent: c.UserAgent,
		InvokedBy: invokedBy,
	}
}

// requestByToken is findRequest for whoever carries the request out.
func requestByToken(ctx context.Context, db store.Querier, token string) (*operation, error) {
	return oneRequest(db.QueryRow(ctx, `SELECT `+requestColumns+` FROM resource_request WHERE token = $1`, token))
}
