package resource

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// MaxTypes is how many types may be registered in an account and region.
const MaxTypes = 500

// Description says what a type is, for DescribeType and ListTypes.
type Description struct {
	TypeName    string
	Description string
	// ARN is the type's. AWS: public types belong to no account.
	ARN string
	// Public says that the type is built in.
	Public bool
	// Provisioning is FULLY_MUTABLE, IMMUTABLE or NON_PROVISIONABLE.
	Provisioning string
	// Version is 00000001 for the first registration; empty for built-in types.
	Version string
	// Schema is empty in lists.
	Schema           string
	Created, Updated time.Time // zero for built-in types
}

// ErrTypeConflict is a registration that cannot be: the error says why.
var ErrTypeConflict = errors.New("the type cannot be registered")

// Register registers a type in an account and region, or a new version of it, which takes the
// place of the one before at once. clientToken, if any, makes a repeat with the same schema answer what
// the first did. The token that is returned names the registration.
//
// A schema that is none is a *SchemaError; a type that cannot be registered wraps
// ErrTypeConflict: a built-in one, one name too many, or one whose primary identifier is to
// change while there are resources of it.
func (g *Registry) Register(ctx context.Context, account, region, typeName, clientToken string, schema []byte) (token string, err error) {
	parsed, err := ParseSchema(schema)
	if err != nil {
		return "", err
	}
	if parsed.TypeName != typeName {
		return "", schemaErrorf("/typeName", "is %s, but the type to register is %s", parsed.TypeName, typeName)
	}
	if g.built[typeName] != nil {
		return "", fmt.Errorf("%w: %s is built in", ErrTypeConflict, typeName)
	}
	if strings.HasPrefix(typeName, "Custom::") {
		return "", fmt.Errorf("%w: names that begin with Custom:: stand for custom resources", ErrTypeConflict)
	}
	next := registration{
		account: account, region: region, name: typeName, definition: parsed.Text, identifier: strings.Join(pointers(parsed.PrimaryIdentifier), " "),
		clientToken: clientToken, token: uuid.NewString(), updated: g.now(),
	}
	err = g.db.Update(ctx, func(tx *store.Tx) error {
		have, err := findType(ctx, tx, account, region, typeName)
		if err != nil {
			return err
		}
		next.version, token = 1, next.token
		switch {
		case have == nil:
			if err := roomForType(ctx, tx, account, region); err != nil {
				return err
			}
		case clientToken != "" && have.clientToken == clientToken && have.definition == next.definition:
			token = have.token
			awsapi.Made(ctx, token)
			return nil
		default:
			next.version = have.version + 1
			if err := checkSuccessor(ctx, tx, have, &next); err != nil {
				return err
			}
		}
		awsapi.Made(ctx, token)
		return saveType(ctx, tx, next)
	})
	return token, err
}

func roomForType(ctx context.Context, tx *store.Tx, account, region string) error {
	n, err := countTypes(ctx, tx, account, region)
	if err == nil && n >= MaxTypes {
		err = fmt.Errorf("%w: %d types are registered in account %s and region %s already", ErrTypeConflict, n, account, region)
	}
	return err
}

// checkSuccessor says whether a version can follow another: resources keep their identifiers.
func checkSuccessor(ctx context.Context, tx *store.Tx, have, next *registration) error {
	if have.identifier == next.identifier {
		return nil
	}
	used, err := hasDocuments(ctx, tx, scope{have.account, have.region, have.name})
	if err == nil && used {
		err = fmt.Errorf("%w: its primaryIdentifier cannot change while there are resources of type %s", ErrTypeConflict, have.name)
	}
	return err
}

// maxParsed is how many registered types are kept ready.
const maxParsed = 200

// registered finds a type that was registered, nil if it was not.
func (g *Registry) registered(ctx context.Context, account, region, name string) (*Type, error) {
	id, version, err := findTypeVersion(ctx, g.db, account, region, name)
	if err != nil || id == 0 {
		return nil, err
	}
	key := fmt.Sprintf("%d/%d", id, version)
	g.mu.Lock()
	t := g.parsed[key]
	g.mu.Unlock()
	if t != nil {
		return t, nil
	}
	r, err := findType(ctx, g.db, account, region, name)
	if err != nil || r == nil {
		return nil, err
	}
	schema, err := ParseSchema([]byte(r.definition))
	if err != nil {
		return nil, fmt.Errorf("stored schema of %s: %w", name, err)
	}
	t = &Type{Name: name, Schema: schema}
	t.Handler = &documents{g: g, typ: t}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.parsed) >= maxParsed {
		clear(g.parsed)
	}
	g.parsed[fmt.Sprintf("%d/%d", r.id, r.version)] = t
	return t, nil
}

// Describe describes a type. Without one the error wraps ErrNoType.
func (g *Registry) Describe(ctx context.Context, account, region, name string) (*Description, error) {
	if t := g.built[name]; t != nil {
		return describeBuilt(t, region), nil
	}
	r, err := findType(ctx, g.db, account, region, name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, noType(name)
	}
	schema, err := ParseSchema([]byte(r.definition))
	if err != nil {
		return nil, fmt.Errorf("stored schema of %s: %w", name, err)
	}
	d := r.describe()
	d.Description, d.Schema, d.Provisioning = schema.Description, r.definition, provisioning(schema)
	return &d, nil
}

func describeBuilt(t *Type, region string) *Description {
	return &Description{
		TypeName: t.Name, Description: t.Schema.Description, ARN: typeARN(region, "", t.Name), Public: true,
		Provisioning: provisioning(t.Schema), Schema: t.Schema.Text,
	}
}

func (r *registration) describe() Description {
	return Description{
		TypeName: r.name, ARN: typeARN(r.region, r.account, r.name), Version: versionID(r.version),
		Created: time.UnixMilli(r.created).UTC(), Updated: time.UnixMilli(r.updated).UTC(),
	}
}

// versionID is a version as AWS writes it.
func versionID(version int64) string { return fmt.Sprintf("%08d", version) }

// typeARN is a type's ARN. AWS: arn:aws:cloudformation:us-east-1::type/resource/AWS-S3-Bucket.
func typeARN(region, account, name string) string {
	return "arn:" + event.Partition(region) + ":cloudformation:" + region + ":" + account + ":type/resource/" + strings.ReplaceAll(name, "::", "-")
}

// ParseTypeARN reads the name of a type from its ARN, with or without a version at the end.
func ParseTypeARN(arn string) (name, version string, ok bool) {
	_, rest, ok := strings.Cut(arn, ":type/resource/")
	if !ok || !strings.HasPrefix(arn, "arn:") {
		return "", "", false
	}
	name, version, _ = strings.Cut(rest, "/")
	name = strings.ReplaceAll(name, "-", "::")
	return name, version, typeNameForm.MatchString(name)
}

// provisioning says whether resources can be made and changed.
func provisioning(s *Schema) string {
	switch {
	case !s.Has("create") || !s.Has("read") || !s.Has("delete"):
		return "NON_PROVISIONABLE"
	case !s.Has("update"):
		return "IMMUTABLE"
	}
	return "FULLY_MUTABLE"
}

// TypeFilter narrows a list of types.
type TypeFilter struct {
	// Public lists the types that are built in; otherwise those that were registered.
	Public bool
	Prefix string // of names
	After  string // the name that the page comes after
	Limit  int
}

// Types lists types by name, without their schemas. More says that there are others after these.
func (g *Registry) Types(ctx context.Context, account, region string, f TypeFilter) (list []Description, more bool, err error) {
	if f.Public {
		list, more = g.builtTypes(region, f)
		return list, more, nil
	}
	rows, err := listTypes(ctx, g.db, account, region, f.Prefix, f.After, f.Limit+1)
	if err != nil {
		return nil, false, err
	}
	for _, r := range rows[:min(len(rows), f.Limit)] {
		list = append(list, r.describe())
	}
	return list, len(rows) > f.Limit, nil
}

func (g *Registry) builtTypes(region string, f TypeFilter) (list []Description, more bool) {
	for _, t := range g.built {
		if strings.HasPrefix(t.Name, f.Prefix) && t.Name > f.After {
			d := describeBuilt(t, region)
			d.Schema = ""
			list = append(list, *d)
		}
	}
	slices.SortFunc(list, func(a, b Description) int { return cmp.Compare(a.TypeName, b.TypeName) })
	if len(list) > f.Limit {
		return list[:f.Limit], true
	}
	return list, false
}

// ReadPackage reads a schema from what RegisterType has in SchemaHandlerPackage. AWS takes the
// s3:// URL of a zip with a schema and a handler; here it is the schema itself in a
// data: URL, as text or in base64, also compressed:
//
//	data:application/json,{"typeName":…}            percent-encoded where need be
//	data:application/json;base64,eyJ0eXBlTmFtZSI6…
//	data:application/gzip;base64,H4sIAAAA…
func ReadPackage(text string) ([]byte, error) {
	rest, ok := strings.CutPrefix(text, "data:")
	if !ok {
		return nil, errors.New("SchemaHandlerPackage must be a data: URL that holds the schema, such as data:application/json;base64,…: packages in s3:// are not available here")
	}
	media, data, ok := strings.Cut(rest, ",")
	if !ok {
		return nil, errors.New("the data: URL of SchemaHandlerPackage has no comma before its data")
	}
	media, encoded := strings.CutSuffix(media, ";base64")
	var raw []byte
	if encoded {
		decoded, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			return nil, fmt.Errorf("the base64 of SchemaHandlerPackage: %w", err)
		}
		raw = decoded
	} else {
		unescaped, err := url.PathUnescape(data)
		if err != nil {
			return nil, fmt.Errorf("the data: URL of SchemaHandlerPackage: %w", err)
		}
		raw = []byte(unescaped)
	}
	switch media {
	case "application/json":
		return raw, nil
	case "application/gzip":
		return unzip(raw)
	}
	return nil, fmt.Errorf("SchemaHandlerPackage holds %q; a schema is application/json, or that compressed: application/gzip", media)
}

// unzip decompresses no more than a schema may have.
func unzip(raw []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("the gzip of SchemaHandlerPackage: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, MaxSchema+1))
	if err != nil {
		return nil, fmt.Errorf("the gzip of SchemaHandlerPackage: %w", err)
	}
	return text, nil
}
