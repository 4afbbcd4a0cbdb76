package instance

import (
	"context"
	"encoding/base64"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rialto-bus/rialto/internal/event"
)

const (
	platformDetails = "Linux/UNIX"
	rootDevice      = "/dev/xvda"
)

var (
	generation = regexp.MustCompile(`^[a-z]+\d+([a-z]*)`)
	armMac     = regexp.MustCompile(`^mac(2|2-.*|-m.*)$`)
)

// architecture is the processor's that AWS builds the instance type with: a g
// behind the generation's number stands for Graviton.
func architecture(instanceType string) string {
	family, _, _ := strings.Cut(instanceType, ".")
	switch {
	case family == "mac1":
		return "x86_64_mac"
	case armMac.MatchString(family):
		return "arm64_mac"
	case family == "a1":
		return "arm64"
	}
	if m := generation.FindStringSubmatch(family); m != nil && strings.Contains(m[1], "g") {
		return "arm64"
	}
	return "x86_64"
}

func (i *Instance) lifecycle() string {
	if i.Launch.SpotRequest != "" {
		return "spot"
	}
	return ""
}

func (i *Instance) monitoring() string {
	if i.Launch.Monitoring {
		return "enabled"
	}
	return "disabled"
}

func (i *Instance) profileARN() string {
	if i.Launch.Profile == "" {
		return ""
	}
	return "arn:" + event.Partition(i.Region) + ":iam::" + i.Account + ":instance-profile/" + i.Launch.Profile
}

// scanRows is how many instances are read at a time while filtering.
const scanRows = 500

// Describe returns up to limit instances of the place that pass the filters, in
// the order of their launch after the token, and the token of the next page;
// an empty one at the end. Limit 0 means all.
func (s *Instances) Describe(ctx context.Context, p Place, filters []Filter, limit int, token string) ([]*Instance, string, error) {
	matches, err := compile(filters, instanceFilter)
	if err != nil {
		return nil, "", err
	}
	after, err := parseToken(token)
	if err != nil {
		return nil, "", err
	}
	var list []*Instance
	err = s.each(ctx, p, after, func(i *Instance) bool {
		if !keepsAll(matches, i) {
			return true
		}
		list = append(list, i)
		return limit == 0 || len(list) <= limit
	})
	if err != nil {
		return nil, "", err
	}
	if limit == 0 || len(list) <= limit {
		return list, "", nil
	}
	list = list[:limit]
	return list, pageToken(list[limit-1].seq), nil
}

// each calls do with the place's instances after seq until it returns false.
func (s *Instances) each(ctx context.Context, p Place, after int64, do func(*Instance) bool) error {
	for {
		some, err := selectAfter(ctx, s.db, p, after, scanRows)
		if err != nil {
			return err
		}
		for _, i := range some {
			if after = i.seq; !do(i) {
				return nil
			}
		}
		if len(some) < scanRows {
			return nil
		}
	}
}

// Get returns the instances with the ids, as far as they pass the filters.
func (s *Instances) Get(ctx context.Context, p Place, ids []string, filters []Filter) ([]*Instance, error) {
	matches, err := compile(filters, instanceFilter)
	if err != nil {
		return nil, err
	}
	list, err := find(ctx, s.db, p, ids, "")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(i *Instance) bool { return !keepsAll(matches, i) }), nil
}

// tags returns up to limit tags of the place's instances that pass the
// filters, and the token of the next page.
func (s *Instances) tags(ctx context.Context, p Place, filters []Filter, limit int, token string) ([]taggedValue, string, error) {
	matches, err := compile(filters, tagFilter)
	if err != nil {
		return nil, "", err
	}
	seq, key, _ := strings.Cut(token, ":")
	after, err := parseToken(seq)
	if err != nil {
		return nil, "", err
	}
	fromKey := ""
	if key != "" {
		b, err := base64.RawURLEncoding.DecodeString(key)
		if err != nil {
			return nil, "", errToken()
		}
		fromKey = string(b)
	}
	var list []taggedValue
	next := ""
	err = s.each(ctx, p, after, func(i *Instance) bool {
		for _, k := range slices.Sorted(maps.Keys(i.Tags)) {
			t := taggedValue{i.ID, k, i.Tags[k]}
			if fromKey != "" && k < fromKey || !keepsAll(matches, t) {
				continue
			}
			if limit > 0 && len(list) == limit {
				next = pageToken(i.seq-1) + ":" + base64.RawURLEncoding.EncodeToString([]byte(k))
				return false
			}
			list = append(list, t)
		}
		fromKey = "" // it was of the first instance only
		return true
	})
	return list, next, err
}

func errToken() error { return errValue("The token is not valid.") }

// pageToken says after which instance the next page begins.
func pageToken(seq int64) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(seq, 10)))
}

func parseToken(token string) (int64, error) {
	if token == "" {
		return 0, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return 0, errToken()
	}
	seq, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || seq < 0 {
		return 0, errToken()
	}
	return seq, nil
}
