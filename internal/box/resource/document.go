package resource

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// maxIdentifier is how many bytes an identifier has at most. AWS: of Cloud Control.
const maxIdentifier = 1024

// documents is the handler of a document type: resources are stored as given, with what
// only a service would set filled in by the type's rule. Write-only properties are
// checked and not stored.
type documents struct {
	g    *Registry
	typ  *Type
	rule rule
}

func (d *documents) scope(c awsapi.Caller) scope {
	s := scope{c.Account, c.Region, d.typ.Name}
	if d.rule.global {
		s.region = ""
	}
	return s
}

// Create stores a document, or finds the one that an earlier try stored.
func (d *documents) Create(ctx context.Context, r Request) (Model, error) {
	s, now, seed := d.scope(r.Caller), d.g.now(), seedOf(r.Token)
	m := maps.Clone(r.Desired)
	d.fill(m, r, document{seed: seed, created: now})
	if problems := d.typ.Schema.Validate(Without(m, d.typ.Schema.ReadOnly)); len(problems) > 0 {
		return nil, Errorf(InvalidRequest, "%s", invalidModel(problems))
	}
	m = Without(m, d.typ.Schema.WriteOnly)
	identifier, err := d.identifier(m)
	if err != nil {
		return nil, err
	}
	var made Model
	create := func(tx *store.Tx) error {
		have, err := findMade(ctx, tx, s, r.Token)
		if err != nil {
			return err
		}
		if have != nil {
			made = have.model
			return nil
		}
		have, err = findDocument(ctx, tx, s, identifier)
		if err != nil {
			return err
		}
		if have != nil {
			return Errorf(AlreadyExists, "Resource of type '%s' with identifier '%s' already exists.", d.typ.Name, identifier)
		}
		made = m
		if err := insertDocument(ctx, tx, s, document{identifier: identifier, model: m, token: r.Token, seed: seed, created: now}); err != nil {
			return err
		}
		return d.publish(ctx, tx, r, nil, m)
	}
	err = d.g.db.Update(ctx, create)
	if store.IsUnique(err) { // another node made it meanwhile
		err = d.g.db.Update(ctx, create)
	}
	return made, err
}

// identifier is that of a model, or why there cannot be a resource of that name.
func (d *documents) identifier(m Model) (string, error) {
	identifier, err := d.typ.Identifier(m)
	switch {
	case err != nil:
		return "", Errorf(InvalidRequest, "%v", err)
	case len(identifier) > maxIdentifier:
		return "", Errorf(InvalidRequest, "The primary identifier is %d bytes long; %d are allowed", len(identifier), maxIdentifier)
	case strings.ContainsRune(identifier, 0):
		return "", Errorf(InvalidRequest, "The primary identifier has a NUL character")
	}
	return identifier, nil
}

// canonical is the identifier that is stored for one that is asked for.
func (d *documents) canonical(c awsapi.Caller, identifier string) string {
	if d.rule.canonical == nil {
		return identifier
	}
	return d.rule.canonical(d.scope(c), identifier)
}

// find returns the document that a request names, or NotFound.
func (d *documents) find(ctx context.Context, db store.Querier, r Request) (*document, error) {
	identifier := d.canonical(r.Caller, r.Identifier)
	if strings.ContainsRune(identifier, 0) {
		return nil, d.notFound(r)
	}
	have, err := findDocument(ctx, db, d.scope(r.Caller), identifier)
	if err == nil && have == nil {
		err = d.notFound(r)
	}
	return have, err
}

func (d *documents) notFound(r Request) error {
	return Errorf(NotFound, "Resource of type '%s' with identifier '%s' was not found.", d.typ.Name, shorten(r.Identifier))
}

// Read returns a document.
func (d *documents) Read(ctx context.Context, r Request) (Model, error) {
	have, err := d.find(ctx, d.g.db, r)
	if err != nil {
		return nil, err
	}
	return have.model, nil
}

// Update stores the model that is asked for in the place of the one that is there.
func (d *documents) Update(ctx context.Context, r Request) (Model, error) {
	var now Model
	err := d.g.db.Update(ctx, func(tx *store.Tx) error {
		have, err := d.find(ctx, tx, r)
		if err != nil {
			return err
		}
		m := Without(r.Desired, d.typ.Schema.WriteOnly)
		d.keep(m, have.model)
		d.fill(m, r, *have)
		switch identifier, err := d.identifier(m); {
		case err != nil:
			return err
		case identifier != have.identifier:
			return notUpdatable(pointers(d.typ.Schema.PrimaryIdentifier))
		}
		now = m
		if same(have.model, m) {
			return nil
		}
		if err := updateDocument(ctx, tx, have.id, m, d.g.now()); err != nil {
			return err
		}
		return d.publish(ctx, tx, r, have.model, m)
	})
	return now, err
}

// keep takes over what was chosen when the resource was made and is not asked to be otherwise.
func (d *documents) keep(m, before Model) {
	for _, paths := range [][]Path{d.typ.Schema.CreateOnly, d.typ.Schema.PrimaryIdentifier} {
		for _, p := range paths {
			v, had := before[p[0]]
			if _, has := m[p[0]]; had && !has {
				m[p[0]] = v
			}
		}
	}
}

func pointers(paths []Path) []string {
	var list []string
	for _, p := range paths {
		list = append(list, p.String())
	}
	return list
}

// Delete removes a document.
func (d *documents) Delete(ctx context.Context, r Request) error {
	return d.g.db.Update(ctx, func(tx *store.Tx) error {
		have, err := d.find(ctx, tx, r)
		if err != nil {
			return err
		}
		if err := deleteDocument(ctx, tx, have.id); err != nil {
			return err
		}
		return d.publish(ctx, tx, r, have.model, nil)
	})
}

// defaultPage is how many resources a page of a list has. AWS: 20, and 100 at most.
const defaultPage = 20

// List returns the documents that have the values of r.Desired.
func (d *documents) List(ctx context.Context, r Request) ([]Model, string, error) {
	after, err := readPage(r.Next)
	if err != nil {
		return nil, "", err
	}
	limit := r.Max
	if limit <= 0 {
		limit = defaultPage
	}
	list, more, err := listDocuments(ctx, d.g.db, d.scope(r.Caller), after, limit)
	if err != nil {
		return nil, "", err
	}
	var models []Model
	for _, have := range list {
		if d.matches(r, have.model) {
			models = append(models, have.model)
		}
	}
	next := ""
	if more {
		next = newPage(list[len(list)-1].id)
	}
	return models, next, nil
}

// matches says whether a document has the values that narrow a list.
func (d *documents) matches(r Request, m Model) bool {
	for name, v := range r.Desired {
		if d.rule.narrow != nil {
			v = d.rule.narrow(d.scope(r.Caller), name, v)
		}
		if !same(m[name], v) {
			return false
		}
	}
	return true
}

// newPage is the token of the page after a row.
func newPage(last int64) string {
	return base64.StdEncoding.EncodeToString([]byte(strconv.FormatInt(last, 10)))
}

// readPage reads a page's token; 0 is the first page's.
func readPage(token string) (after int64, err error) {
	if token == "" {
		return 0, nil
	}
	raw, err := base64.StdEncoding.DecodeString(token)
	if err == nil {
		after, err = strconv.ParseInt(string(raw), 10, 64)
	}
	if err != nil || after < 1 || newPage(after) != token {
		return 0, Errorf(InvalidRequest, "The NextToken is not one that was given out")
	}
	return after, nil
}

// seedOf is what the generated values of a resource follow from: the same for every try of an
// operation.
func seedOf(token string) string {
	if token == "" {
		return uuid.NewString()
	}
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte("rialto resource "+token)).String()
}

// filling is what a rule may use.
type filling struct {
	scope
	region string // of the request
	model  Model
	// previous is the model before an update, nil before there was one.
	previous Model
	created  time.Time
	seed     string
	name     string // for a resource that was given none
}

// fill completes a model by the type's rule, from what is known of the document.
func (d *documents) fill(m Model, r Request, have document) {
	f := &filling{
		scope: d.scope(r.Caller), region: r.Caller.Region, model: m, previous: have.model, created: time.UnixMilli(have.created), seed: have.seed,
	}
	f.name = d.typ.Name[strings.LastIndexByte(d.typ.Name, ':')+1:] + "-" + f.random("name", 13)
	d.rule.fill(f, d.typ.Schema)
}

// absent sets a property that has no value.
func (f *filling) absent(property, value string) {
	if _, has := f.model[property]; !has {
		f.model[property] = f.expand(value)
	}
}

// always sets a property.
func (f *filling) always(property, value string) { f.model[property] = f.expand(value) }

// expand replaces {partition}, {region}, {account}, {name} and {Property} in a text.
func (f *filling) expand(text string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "{")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, after, _ := strings.Cut(rest, "}")
		b.WriteString(f.word(name))
		text = after
	}
}

func (f *filling) word(name string) string {
	switch name {
	case "partition":
		return event.Partition(f.region)
	case "region":
		return f.region
	case "account":
		return f.account
	case "name":
		return f.name
	}
	return scalar(f.model[name])
}

// random returns up to 52 letters and digits that follow from the seed and what they are for.
func (f *filling) random(purpose string, length int) string {
	return base32.StdEncoding.EncodeToString(f.sum(purpose))[:length]
}

// hex is random in hexadecimal digits, up to 64 of them.
func (f *filling) hex(purpose string, length int) string {
	return hex.EncodeToString(f.sum(purpose))[:length]
}

func (f *filling) sum(purpose string) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s\x00%s", f.account, f.scope.region, f.typ, purpose, f.seed))
	return sum[:]
}

var _ Handler = (*documents)(nil)
