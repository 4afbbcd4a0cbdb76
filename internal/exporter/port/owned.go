package port

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
)

// searchTime bounds one search. Port: it answers all at once.
const searchTime = 5 * time.Minute

// Owned yields the entities whose datasource is that of an exporter for one of the
// places, and that were last changed before a time, until yield returns an error,
// which it returns.
func (s *Sink) Owned(ctx context.Context, before time.Time, yield func(catalog.EntityRef) error) error {
	places := []Place{s.o.Place}
	if s.o.Places != nil {
		others, err := s.o.Places(ctx)
		if err != nil {
			return err
		}
		places = append(places, others...)
	}
	for i, p := range places {
		if slices.Contains(places[:i], p) {
			continue
		}
		if err := s.ownedAt(ctx, p, before, yield); err != nil {
			return fmt.Errorf("search port for the entities of %s %s: %w", p.Account, p.Region, err)
		}
	}
	return nil
}

func (s *Sink) ownedAt(ctx context.Context, p Place, before time.Time, yield func(catalog.EntityRef) error) error {
	rule := func(property, operator, value string) map[string]string {
		return map[string]string{"property": property, "operator": operator, "value": value}
	}
	query := map[string]any{"combinator": "and", "rules": []any{
		rule("$datasource", "contains", productName), rule("$datasource", "contains", p.suffix()),
		rule("$updatedAt", "<", before.UTC().Format("2006-01-02T15:04:05.000Z")),
	}}
	// Read as it comes, and told once all of it is there: an answer that breaks off
	// is asked for again.
	var found []catalog.EntityRef
	err := s.call(ctx, request{
		method: http.MethodPost, agent: UserAgent(p.Account, p.Region), body: query, time: searchTime,
		path: "/entities/search?exclude_calculated_properties=true&include=blueprint&include=identifier",
		stream: func(r io.Reader) error {
			found = found[:0]
			return eachEntity(r, func(e catalog.EntityRef) { found = append(found, e) })
		},
	}, nil)
	if err != nil {
		return err
	}
	for _, e := range found {
		if err := yield(e); err != nil {
			return err
		}
	}
	return nil
}

// eachEntity reads the entities of an answer one by one.
func eachEntity(r io.Reader, tell func(catalog.EntityRef)) error {
	dec := json.NewDecoder(r)
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errors.Join(errNotPort, err)
	}
	seen := false
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return errors.Join(errNotPort, err)
		}
		if name != "entities" {
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return errors.Join(errNotPort, err)
			}
			continue
		}
		seen = true
		if err := eachItem(dec, tell); err != nil {
			return errors.Join(errNotPort, err)
		}
	}
	if _, err := dec.Token(); err != nil || !seen {
		return errors.Join(errNotPort, err)
	}
	return nil
}

var errNotPort = errors.New("the answer is not Port's")

func eachItem(dec *json.Decoder, tell func(catalog.EntityRef)) error {
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return errors.Join(errors.New("entities are no list"), err)
	}
	for dec.More() {
		var e struct{ Blueprint, Identifier string }
		if err := dec.Decode(&e); err != nil {
			return err
		}
		if e.Blueprint == "" || e.Identifier == "" {
			return errors.New("an entity has no blueprint or identifier")
		}
		tell(catalog.EntityRef{Blueprint: e.Blueprint, Identifier: e.Identifier})
	}
	_, err := dec.Token()
	return err
}
