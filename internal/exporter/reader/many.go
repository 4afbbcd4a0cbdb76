package reader

import (
	"context"

	"github.com/rialto-bus/rialto/internal/cloud"
)

// Answer is what GetMany found out about one identifier.
type Answer struct {
	Resource Resource
	// Err has a Class; nil where the resource was read.
	Err error
}

// Batch returns how many resources of a kind GetMany reads with the calls of about
// one; 1 for a kind that AWS describes one by one.
func Batch(kind string) int {
	if k := specialOf(kind); k != nil && k.getMany != nil {
		return k.many
	}
	return 1
}

// GetMany reads resources as Get does, in as few calls as their kind allows. Answers
// are in the order of the identifiers; what is wrong with one does not touch the
// others.
func (r *Reader) GetMany(ctx context.Context, s Scope, identifiers []string) []Answer {
	answers := make([]Answer, len(identifiers))
	k := specialOf(s.Kind)
	if k == nil || k.getMany == nil {
		for i, id := range identifiers {
			answers[i].Resource, answers[i].Err = r.Get(ctx, s, id)
		}
		return answers
	}
	for at := 0; at < len(identifiers); at += k.many {
		end := min(at+k.many, len(identifiers))
		r.getBatch(ctx, s, k, identifiers[at:end], answers[at:end])
	}
	return answers
}

// getBatch fills in the answers about no more identifiers than one call takes.
func (r *Reader) getBatch(ctx context.Context, s Scope, k *special, identifiers []string, answers []Answer) {
	var (
		c     *cloud.Clients
		asked []string
		where = map[string][]int{} // canonical identifier: places in answers
	)
	for i, id := range identifiers {
		clients, err := r.clients(ctx, s, id)
		if err != nil {
			answers[i].Err = err
			continue
		}
		c = clients
		name := k.name(id)
		if k.valid != nil && !k.valid(name) {
			answers[i].Err = failed(s, "read "+id, invalid("%q does not look like an identifier of the kind", name))
			continue
		}
		if where[name] == nil {
			asked = append(asked, name)
		}
		where[name] = append(where[name], i)
	}
	if len(asked) == 0 {
		return
	}
	found, err := k.getMany(ctx, c, asked)
	for _, name := range asked {
		for _, i := range where[name] {
			answers[i] = answerOf(s, identifiers[i], found, name, err)
		}
	}
}

// answerOf picks the answer about one identifier. err is about those that have none.
func answerOf(s Scope, identifier string, found map[string]Answer, name string, err error) Answer {
	answer, ok := found[name]
	switch {
	case ok && answer.Err == nil:
		return answer
	case ok:
		err = answer.Err
	case err == nil:
		err = notFound("%s is not there", name)
	}
	return Answer{Err: failed(s, "read "+identifier, err)}
}
