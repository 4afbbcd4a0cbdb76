package function

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxTags is AWS's limit of one function or mapping.
const maxTags = 50

// addTags returns tags with others added or replaced.
func addTags(have, added map[string]string) (map[string]string, error) {
	all := maps.Clone(have)
	if all == nil {
		all = map[string]string{}
	}
	for _, k := range slices.Sorted(maps.Keys(added)) {
		v := added[k]
		if k == "" || utf8.RuneCountInString(k) > 128 || utf8.RuneCountInString(v) > 256 {
			return nil, errParameter("Tag keys must be 1 to 128 and values at most 256 characters in length.")
		}
		if strings.HasPrefix(strings.ToLower(k), "aws:") {
			return nil, errParameter("Tag keys must not begin with aws:, which is reserved.")
		}
		if strings.ContainsFunc(k+v, invalidInTag) {
			return nil, errParameter("The tag %q contains invalid characters.", k)
		}
		all[k] = v
	}
	if len(all) > maxTags {
		return nil, errParameter("Number of tags exceeds resource tag limit.")
	}
	return all, nil
}

// invalidInTag is true of what AWS does not take in tags: letters, digits, spaces and _.:/=+-@ are.
func invalidInTag(r rune) bool {
	return r == utf8.RuneError || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.Zs, r) && !strings.ContainsRune("_.:/=+-@", r)
}

// removeTags returns tags without those of the keys.
func removeTags(have map[string]string, keys []string) map[string]string {
	left := maps.Clone(have)
	for _, k := range keys {
		delete(left, k)
	}
	return left
}
