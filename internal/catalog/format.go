package catalog

import (
	"errors"
	"net/mail"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// formatChecks are the formats that say something about a value and not just about how
// it is shown.
var formatChecks = map[string]func(v any) error{
	"date-time":   ofText(checkTime),
	"timer":       ofText(checkTime),
	"url":         ofText(checkURL),
	"email":       ofText(checkEmail),
	"idn-email":   ofText(checkEmail),
	"ipv4":        ofText(checkIP(netip.Addr.Is4)),
	"ipv6":        ofText(checkIP(netip.Addr.Is6)),
	"labeled-url": checkLabeledURL,
}

// ofText makes a check of strings one of values; what is no string has the wrong type, which
// is told by that.
func ofText(check func(string) error) func(any) error {
	return func(v any) error {
		s, ok := v.(string)
		if !ok {
			return nil
		}
		return check(s)
	}
}

// checkTime takes what RFC 3339 does. Its T may be a space or lower case there; Port
// takes T alone, and so do those who sort by it.
func checkTime(s string) error {
	if _, err := time.Parse(time.RFC3339Nano, s); err != nil {
		return errors.New("it is no time like 2026-01-15T21:29:54Z")
	}
	return nil
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" && u.Opaque == "" && u.Path == "" || strings.ContainsAny(s, " \t\r\n") {
		return errors.New("it is no absolute URL")
	}
	return nil
}

func checkEmail(s string) error {
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s {
		return errors.New("it is no mail address")
	}
	return nil
}

func checkIP(is func(netip.Addr) bool) func(string) error {
	return func(s string) error {
		a, err := netip.ParseAddr(s)
		if err != nil || !is(a) || a.Zone() != "" {
			return errors.New("it is no such address")
		}
		return nil
	}
}

// checkLabeledURL takes a URL, or an object of one and the text that is shown for it.
func checkLabeledURL(v any) error {
	switch v := v.(type) {
	case string:
		return checkURL(v)
	case map[string]any:
		s, ok := v["url"].(string)
		if !ok {
			return errors.New("it has no url")
		}
		if label, there := v["displayText"]; there && label != nil {
			if _, ok := label.(string); !ok {
				return errors.New("its displayText is no string")
			}
		}
		return checkURL(s)
	}
	return nil
}
