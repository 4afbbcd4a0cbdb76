package httpapi

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// MaxPage is the default and the largest number of items on a page.
const MaxPage = 100

// maxOffset bounds a cursor; what a list hands out is far below.
const maxOffset = 1024

// Page is the part of a list that a caller asks for.
type Page struct {
	Count      int    // how many items at most, 1 to MaxPage
	Offset     string // the cursor from a link, opaque to the caller; empty: from the start
	Prev       bool   // the items before Offset, not those after
	Descending bool   // the list's order reversed
}

// ParsePage reads count, offset, prev and descending from the query of r.
func ParsePage(r *http.Request) (Page, error) {
	q := r.URL.Query()
	page := Page{Count: MaxPage, Offset: q.Get("offset")}
	if s := q.Get("count"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > MaxPage {
			return Page{}, Invalid("Query parameter count must be a whole number from 1 to %d, not %q.", MaxPage, s)
		}
		page.Count = n
	}
	if len(page.Offset) > maxOffset {
		return Page{}, Invalid("Query parameter offset is longer than any that this server gives out; follow the Link header.")
	}
	var err error
	if page.Prev, err = queryBool(q, "prev"); err != nil {
		return Page{}, err
	}
	if page.Descending, err = queryBool(q, "descending"); err != nil {
		return Page{}, err
	}
	return page, nil
}

func queryBool(q url.Values, name string) (bool, error) {
	switch s := q.Get(name); s {
	case "", "false", "0":
		return false, nil
	case "true", "1":
		return true, nil
	default:
		return false, Invalid("Query parameter %s must be true or false, not %q.", name, s)
	}
}

// SetLinks sets the Link header (RFC 5988) that leads to the page after and the
// page before the one being answered: next is the cursor of the last item shown,
// prev that of the first; an empty one means there is no such page. The links
// repeat the request's other parameters and are relative, so that they hold
// behind a proxy. Call it before the answer is written.
func SetLinks(w http.ResponseWriter, r *http.Request, next, prev string) {
	var links []string
	if next != "" {
		links = append(links, "<"+pageURL(r, next, false)+`>; rel="next"`)
	}
	if prev != "" {
		links = append(links, "<"+pageURL(r, prev, true)+`>; rel="prev"`)
	}
	if len(links) > 0 {
		w.Header().Set("Link", strings.Join(links, ", "))
	}
}

func pageURL(r *http.Request, offset string, prev bool) string {
	q := r.URL.Query()
	q.Set("offset", offset)
	q.Del("prev")
	if prev {
		q.Set("prev", "true")
	}
	return (&url.URL{Path: r.URL.Path, RawQuery: q.Encode()}).String()
}
