package resource

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

// registration is a registered type as its row has it.
type registration struct {
	id                    int64
	account, region, name string
	version               int64
	definition            string
	identifier            string // pointers parted by spaces
	token, clientToken    string
	created, updated      int64 // unix milliseconds
}

const typeColumns = `id, account, region, name, version, definition, identifier, registration_token, client_token, created_at, updated_at`

func scanRegistration(row store.Row) (r registration, err error) {
	err = row.Scan(&r.id, &r.account, &r.region, &r.name, &r.version, &r.definition, &r.identifier, &r.token, &r.clientToken, &r.created, &r.updated)
	return r, err
}

// findType returns nil when the type is not registered there.
func findType(ctx context.Context, db store.Querier, account, region, name string) (*registration, error) {
	r, err := scanRegistration(db.QueryRow(ctx, `SELECT `+typeColumns+` FROM resource_type WHERE account = $1 AND region = $2 AND name = $3`,
		account, region, name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read resource type %s: %w", name, err)
	}
	return &r, nil
}

// findTypeVersion returns a registered type's version and row, 0 when there is none.
func findTypeVersion(ctx context.Context, db store.Querier, account, region, name string) (id, version int64, err error) {
	err = db.QueryRow(ctx, `SELECT id, version FROM resource_type WHERE account = $1 AND region = $2 AND name = $3`, account, region, name).Scan(&id, &version)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read resource type %s: %w", name, err)
	}
	return id, version, nil
}

// saveType writes a new version of a type.
func saveType(ctx context.Context, tx *store.Tx, r registration) error {
	_, err := tx.Exec(ctx, `INSERT INTO resource_type (account, region, name, version, definition, identifier, registration_token, client_token, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
		ON CONFLICT (account, region, name) DO UPDATE SET version = excluded.version, definition = excluded.definition, identifier = excluded.identifier,
			registration_token = excluded.registration_token, client_token = excluded.client_token, updated_at = excluded.updated_at`,
		r.account, r.region, r.name, r.version, r.definition, r.identifier, r.token, r.clientToken, r.updated)
	if err != nil {
		return fmt.Errorf("save resource type %s: %w", r.name, err)
	}
	return nil
}

// listTypes returns up to limit registered types whose names come after the one given and begin
// with prefix, without their definitions.
func listTypes(ctx context.Context, db store.Querier, account, region, prefix, after string, limit int) ([]registration, error) {
	end := "\U0010FFFF"
	if prefix != "" {
		end = store.PrefixEnd(prefix)
	}
	rows, err := db.Query(ctx, `SELECT id, account, region, name, version, '', identifier, registration_token, client_token, created_at, updated_at FROM resource_type
		WHERE account = $1 AND region = $2 AND name > $3 AND name >= $4 AND name < $5 ORDER BY name LIMIT $6`, account, region, after, prefix, end, limit)
	list, err := store.All(rows, err, scanRegistration)
	if err != nil {
		return nil, fmt.Errorf("list resource types: %w", err)
	}
	return list, nil
}

func countTypes(ctx context.Context, db store.Querier, account, region string) (n int, err error) {
	err = db.QueryRow(ctx, `SELECT COUNT(*) FROM resource_type WHERE account = $1 AND region = $2`, account, region).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count resource types: %w", err)
	}
	return n, nil
}

// document is a stored resource.
type document struct {
	id         int64
	identifier string
	model      Model
	token      string
	seed       string
	created    int64 // unix milliseconds
}

// scope is where documents are: the resources of a type in an account and region.
type scope struct {
	account string
	region  string // empty for types that are the same in all regions
	typ     string
}

const documentColumns = `id, identifier, model, token, seed, created_at`

func scanDocument(row store.Row) (d document, err error) {
	var model string
	if err := row.Scan(&d.id, &d.identifier, &model, &d.token, &d.seed, &d.created); err != nil {
		return d, err
	}
	if d.model, err = ParseModel(model); err != nil {
		return d, fmt.Errorf("stored model of %s: %w", d.identifier, err)
	}
	return d, nil
}

// findDocument returns nil when there is none with the identifier.
func findDocument(ctx context.Context, db store.Querier, s scope, identifier string) (*document, error) {
	return oneDocument(s, db.QueryRow(ctx, `SELECT `+documentColumns+` FROM resource_document
		WHERE account = $1 AND region = $2 AND type_name = $3 AND identifier = $4`, s.account, s.region, s.typ, identifier))
}

// findMade returns the document that the operation of the token made, nil if it made none.
func findMade(ctx context.Context, db store.Querier, s scope, token string) (*document, error) {
	if token == "" {
		return nil, nil
	}
	return oneDocument(s, db.QueryRow(ctx, `SELECT `+documentColumns+` FROM resource_document
		WHERE token = $1 AND account = $2 AND region = $3 AND type_name = $4`, token, s.account, s.region, s.typ))
}

func oneDocument(s scope, row store.Row) (*document, error) {
	d, err := scanDocument(row)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read document of %s: %w", s.typ, err)
	}
	return &d, nil
}

func insertDocument(ctx context.Context, tx *store.Tx, s scope, d document) error {
	_, err := tx.Exec(ctx, `INSERT INTO resource_document (account, region, type_name, identifier, model, token, seed, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)`, s.account, s.region, s.typ, d.identifier, EncodeModel(d.model), d.token, d.seed, d.created)
	if err != nil {
		return fmt.Errorf("insert document of %s: %w", s.typ, err)
	}
	return nil
}

func updateDocument(ctx context.Context, tx *store.Tx, id int64, m Model, now int64) error {
	if _, err := tx.Exec(ctx, `UPDATE resource_document SET model = $2, updated_at = $3 WHERE id = $1`, id, EncodeModel(m), now); err != nil {
		return fmt.Errorf("update document: %w", err)
	}
	return nil
}

func deleteDocument(ctx context.Context, tx *store.Tx, id int64) error {
	if _, err := tx.Exec(ctx, `DELETE FROM resource_document WHERE id = $1`, id); err != nil {
		return fmt.Errorf("delete document: %w", err)
	}
	return nil
}

// maxPageBytes bounds the models that are read for one page.
const maxPageBytes = 4 << 20

// listDocuments returns up to limit documents in the order in which they were made, after the id
// given, and whether there are more.
func listDocuments(ctx context.Context, db store.Querier, s scope, after int64, limit int) (list []document, more bool, err error) {
	rows, err := db.Query(ctx, `SELECT `+documentColumns+` FROM resource_document
		WHERE account = $1 AND region = $2 AND type_name = $3 AND id > $4 ORDER BY id LIMIT $5`, s.account, s.region, s.typ, after, limit+1)
	if err != nil {
		return nil, false, fmt.Errorf("list documents of %s: %w", s.typ, err)
	}
	defer rows.Close()
	for size := 0; rows.Next(); {
		if len(list) == limit || size > maxPageBytes {
			return list, true, nil
		}
		d, err := scanDocument(rows)
		if err != nil {
			return nil, false, fmt.Errorf("list documents of %s: %w", s.typ, err)
		}
		list = append(list, d)
		size += len(EncodeModel(d.model))
	}
	if err := rows.Err(); err != nil {
		return nil, false, fmt.Errorf("list documents of %s: %w", s.typ, err)
	}
	return list, false, nil
}

// hasDocuments says whether there is any document of the type.
func hasDocuments(ctx context.Context, db store.Querier, s scope) (bool, error) {
	list, _, err := listDocuments(ctx, db, s, 0, 1)
	return len(list) > 0, err
}
