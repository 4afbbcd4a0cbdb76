package function

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

const (
	// linkPath begins the path of links to code.
	linkPath = "/function-code/"
	// linkLife is how long a link holds. AWS: 10 minutes.
	linkLife    = 10 * time.Minute
	linkPurpose = "link to the code of a function"
)

// link is what a link to code says, encrypted.
type link struct {
	SHA256  string
	Name    string
	Expires int64 // unix milliseconds
}

// codeLink is where the function's deployment package can be had for a while by whoever has the link.
func (f *Functions) codeLink(fn *Function) string {
	if f.o.URL == nil {
		return ""
	}
	text, _ := json.Marshal(link{fn.CodeSHA256, fn.Name, f.o.Now().Add(linkLife).UnixMilli()}) // always encodes
	return strings.TrimRight(f.o.URL(), "/") + linkPath + base64.RawURLEncoding.EncodeToString(f.o.Sealer.Seal(linkPurpose, text))
}

// IsLink says whether a request follows a link to code, which has no signature.
func IsLink(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.HasPrefix(r.URL.Path, linkPath)
}

// ServeHTTP answers the requests that IsLink is true of. What they may have is in the link
// itself, which nobody guesses.
func (f *Functions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l, ok := f.openLink(strings.TrimPrefix(r.URL.Path, linkPath))
	if !ok {
		http.Error(w, "This link is not one to the code of a function, or has expired. GetFunction gives a new one.", http.StatusForbidden)
		return
	}
	packed, found, err := readCode(r.Context(), f.db, l.SHA256)
	if err != nil {
		f.o.Logger.Error("the code of a function could not be read", "function", l.Name, "error", err)
		http.Error(w, "The code could not be read.", http.StatusInternalServerError)
		return
	}
	if !found {
		http.Error(w, "This code is no longer that of a function.", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/zip")
	w.Header().Set("Content-Disposition", `attachment; filename="`+l.Name+`.zip"`)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodGet {
		_, _ = w.Write(packed)
	}
}

func (f *Functions) openLink(text string) (link, bool) {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return link{}, false
	}
	plain, err := f.o.Sealer.Open(linkPurpose, sealed)
	if err != nil {
		return link{}, false
	}
	var l link
	if json.Unmarshal(plain, &l) != nil || f.now() > l.Expires {
		return link{}, false
	}
	return l, true
}
