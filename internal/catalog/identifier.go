package catalog

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"unicode/utf8"
)

// Limits of names. Port: the forms and lengths. The bytes are ours: PostgreSQL's
// indexes take no longer keys.
const (
	maxEntityIdentifier      = 1000
	maxEntityIdentifierBytes = 2000
	maxBlueprintIdentifier   = 100
	maxKey                   = 100
)

var (
	entityIdentifierForm    = regexp.MustCompile(`^[\p{L}0-9@_.+:\\/=-]+$`)
	blueprintIdentifierForm = regexp.MustCompile(`^[\p{L}0-9@_.+:\\/-]+$`)
	keyForm                 = regexp.MustCompile(`^[A-Za-z0-9@_=\\-]+$`)
	teamForm                = regexp.MustCompile(`^[^;#/?\s]([^;#/?]*[^;#/?\s])?$`)
)

// checkIdentifier returns what is wrong with an entity's identifier, or "".
func checkIdentifier(id string) string {
	switch {
	case id == "":
		return "must not be empty"
	case len(id) > maxEntityIdentifierBytes || utf8.RuneCountInString(id) > maxEntityIdentifier:
		return fmt.Sprintf("has %d characters in %d bytes; at most %d in %d are allowed",
			utf8.RuneCountInString(id), len(id), maxEntityIdentifier, maxEntityIdentifierBytes)
	case id == "." || id == ".." || !entityIdentifierForm.MatchString(id):
		return fmt.Sprintf("%q may consist of letters, digits and @ _ . + : \\ / = - only, and be neither . nor ..", shorten(id))
	}
	return ""
}

// checkBlueprintIdentifier returns what is wrong with a blueprint's identifier, or "".
func checkBlueprintIdentifier(id string) string {
	switch {
	case id == "":
		return "must not be empty"
	case utf8.RuneCountInString(id) > maxBlueprintIdentifier:
		return fmt.Sprintf("has %d characters; at most %d are allowed", utf8.RuneCountInString(id), maxBlueprintIdentifier)
	case id == "." || id == ".." || !blueprintIdentifierForm.MatchString(id):
		return fmt.Sprintf("%q may consist of letters, digits and @ _ . + : \\ / - only, and be neither . nor ..", id)
	}
	return ""
}

// checkKey returns what is wrong with the key of a property or relation, or "".
func checkKey(key string) string {
	switch {
	case key == "":
		return "has an empty key"
	case len(key) > maxKey:
		return fmt.Sprintf("has a key of %d characters; at most %d are allowed", len(key), maxKey)
	case !keyForm.MatchString(key):
		return "has a key that may consist of A-Z a-z 0-9 @ _ = \\ - only"
	}
	return ""
}

// newIdentifier makes the identifier of an entity that was given none. Port: e_ and 16
// letters and digits.
func newIdentifier() string {
	return "e_" + rand.Text()[:16]
}

// shorten bounds what of a value is told.
func shorten(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	cut := most
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
