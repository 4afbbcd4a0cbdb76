package kind

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/rialto-bus/rialto/internal/exporter/config"
)

// CheckNames returns a warning for each kind of a configuration that is none of the table,
// and reads as if one of the table was meant: the entities of that one would go with the
// next full sync. Kinds that are far from all of the table are the user's own.
func CheckNames(cfg *config.Config) []config.Problem {
	var list []config.Problem
	for i := range cfg.Resources {
		r := &cfg.Resources[i]
		near := Misspelt(r.Kind)
		if len(near) == 0 {
			continue
		}
		list = append(list, config.Problem{
			Path: fmt.Sprintf("resources[%d].kind", r.Index), Line: r.KindLine, Warning: true,
			Message: fmt.Sprintf("%s is none of the kinds that Rialto knows; did you mean %s?", r.Kind, strings.Join(near, " or ")),
		})
	}
	return list
}

// Misspelt are the kinds of the table that a full name is a misspelling of: at most two
// letters are other ones, or the last part is but a piece of theirs. There are none for a
// name that is in the table, nor for a kind that may well exist besides it, as
// AWS::SNS::TopicPolicy.
func Misspelt(name string) []string {
	parts := strings.Split(name, "::")
	if len(parts) != 3 {
		return nil
	}
	var near []string
	for _, k := range table() {
		if k.Name == name {
			return nil
		}
		if meant(parts, strings.Split(k.Name, "::")) {
			near = append(near, k.Name)
		}
	}
	return near
}

const (
	maxTypos     = 2 // in a name
	lettersATypo = 3 // a part has so many letters for each typo: EKS is none of MSK
	minPiece     = 2 // letters
)

// version is how AWS tells a service's later API from the first: both have kinds.
var version = regexp.MustCompile(`(?i)v[0-9]+$`)

// meant reports whether the parts of a name, provider, service and resource, are those of
// a kind's with a mistake or two.
func meant(parts, known []string) bool {
	if strings.EqualFold(parts[0], known[0]) && strings.EqualFold(parts[1], known[1]) && len(parts[2]) >= minPiece &&
		strings.Contains(strings.ToLower(known[2]), strings.ToLower(parts[2])) {
		return true
	}
	if !strings.EqualFold(version.FindString(parts[1]), version.FindString(known[1])) {
		return false
	}
	typos := 0
	for i := range parts {
		n := config.Typos(strings.ToLower(parts[i]), strings.ToLower(known[i]))
		if typos += n; n > len(known[i])/lettersATypo || typos > maxTypos {
			return false
		}
	}
	return true
}
