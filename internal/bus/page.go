package bus

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/awsapi"
)

// Page says which part of a listing is wanted.
type Page struct {
	// Limit is the most items to return, 1 to 100; 0 is 100.
	Limit int
	// Token is what the page before returned; empty for the first.
	Token string
}

const maxPage = 100

// A listing's tokens open with its own letter, so that one listing does not
// take another's.
const (
	busPages            = "b"
	rulePages           = "r"
	targetPages         = "t"
	ruleNamePages       = "n"
	connectionPages     = "c"
	apiDestinationPages = "d"
)

// after returns the key behind which the page begins, empty for the first.
func (p Page) after(listing string) (string, error) {
	if p.Token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(p.Token)
	key, ok := strings.CutPrefix(string(raw), listing+":")
	if err != nil || !ok || !utf8.ValidString(key) || strings.IndexByte(key, 0) >= 0 {
		return "", awsapi.ValidationException("Parameter NextToken is not valid.")
	}
	return key, nil
}

func (p Page) limit() int {
	if p.Limit < 1 || p.Limit > maxPage {
		return maxPage
	}
	return p.Limit
}

// cutPage cuts items to the page and returns the token of the next one, empty
// when this is the last. Items hold at least one more than the page if there
// are more.
func cutPage[T any](items []T, p Page, listing string, key func(T) string) ([]T, string) {
	n := p.limit()
	if len(items) <= n {
		return items, ""
	}
	return items[:n], base64.RawURLEncoding.EncodeToString([]byte(listing + ":" + key(items[n-1])))
}
