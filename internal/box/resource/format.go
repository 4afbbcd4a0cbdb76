package resource

import (
	"errors"
	"net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"time"
)

// formats are those that texts are checked for. The library has more, which
// schemas of resource types do not use.
var formats = map[string]func(string) error{
	"date-time": func(s string) error { _, err := time.Parse(time.RFC3339Nano, s); return err },
	"date":      func(s string) error { _, err := time.Parse(time.DateOnly, s); return err },
	"uri":       checkURI,
	"email":     checkEmail,
	"hostname":  checkHostname,
	"ipv4":      checkIP(netip.Addr.Is4),
	"ipv6":      checkIP(netip.Addr.Is6),
}

func checkURI(s string) error {
	u, err := url.Parse(s)
	if err == nil && !u.IsAbs() {
		err = errors.New("it has no scheme")
	}
	return err
}

func checkEmail(s string) error {
	a, err := mail.ParseAddress(s)
	if err == nil && a.Address != s {
		err = errors.New("it is more than an address")
	}
	return err
}

var hostnameForm = regexp.MustCompile(`^(?i:[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.(?i:[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?))*$`)

func checkHostname(s string) error {
	if len(s) > 253 || !hostnameForm.MatchString(s) {
		return errors.New("it is no host's name")
	}
	return nil
}

func checkIP(is func(netip.Addr) bool) func(string) error {
	return func(s string) error {
		a, err := netip.ParseAddr(s)
		if err == nil && (!is(a) || a.Zone() != "") {
			err = errors.New("it is an address of another kind")
		}
		return err
	}
}
