package eventpattern

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// The oracle is a second implementation of patterns that are known to be valid: it shares no code with the package and cares for
// nothing but being plain. It keeps objects as lists of fields, so that keys may come twice, and tries out every choice of values.

type oracleField struct {
	key   string
	value any // oracleObject, []any, string, json.Number, bool or nil
}

type oracleObject []oracleField

func oracleDecode(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	return oracleValue(d)
}

func oracleValue(d *json.Decoder) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		object := oracleObject{}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			value, err := oracleValue(d)
			if err != nil {
				return nil, err
			}
			object = append(object, oracleField{key.(string), value})
		}
		_, err := d.Token()
		return object, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			value, err := oracleValue(d)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err := d.Token()
		return list, err
	}
	return token, nil
}

// oracleLeaf is a scalar of an event with its path and the elements that it lies in, by array.
type oracleLeaf struct {
	path     string
	value    any
	elements map[int]int
}

type oracleFlattener struct {
	leaves []oracleLeaf
	arrays int
}

func (f *oracleFlattener) flatten(value any, path []string, elements map[int]int) {
	switch value := value.(type) {
	case oracleObject:
		for _, field := range value {
			f.flatten(field.value, append(slices.Clip(path), field.key), elements)
		}
	case []any:
		array := f.arrays
		f.arrays++
		for i, element := range value {
			switch element.(type) {
			case oracleObject, []any:
				inside := map[int]int{array: i}
				maps.Copy(inside, elements)
				f.flatten(element, path, inside)
			default:
				f.flatten(element, path, elements)
			}
		}
	default:
		f.leaves = append(f.leaves, oracleLeaf{strings.Join(path, "."), value, elements})
	}
}

type oracleBranch map[string][]any

func oracleBranches(branches []oracleBranch, object oracleObject, path []string) []oracleBranch {
	for _, field := range object {
		below := append(slices.Clip(path), field.key)
		if field.key == "$or" {
			var all []oracleBranch
			for _, choice := range field.value.([]any) {
				var copies []oracleBranch
				for _, b := range branches {
					c := oracleBranch{}
					maps.Copy(c, b)
					copies = append(copies, c)
				}
				all = append(all, oracleBranches(copies, choice.(oracleObject), path)...)
			}
			branches = all
			continue
		}
		switch value := field.value.(type) {
		case oracleObject:
			branches = oracleBranches(branches, value, below)
		case []any:
			for _, b := range branches {
				b[strings.Join(below, ".")] = value
			}
		}
	}
	return branches
}

// oracleMatch says whether a valid pattern matches an event.
func oracleMatch(pattern, event string) (bool, error) {
	p, err := oracleDecode(pattern)
	if err != nil {
		return false, err
	}
	e, err := oracleDecode(event)
	if err != nil {
		return false, err
	}
	var f oracleFlattener
	f.flatten(e, nil, nil)
	for _, branch := range oracleBranches([]oracleBranch{{}}, p.(oracleObject), nil) {
		if oracleBranchMatches(branch, f.leaves) {
			return true, nil
		}
	}
	return false, nil
}

func oracleBranchMatches(branch oracleBranch, leaves []oracleLeaf) bool {
	var choices [][]oracleLeaf
	for path, alternatives := range branch {
		present := false
		var satisfying []oracleLeaf
		for _, leaf := range leaves {
			if leaf.path != path {
				continue
			}
			present = true
			for _, a := range alternatives {
				if oracleAccepts(a, leaf.value) {
					satisfying = append(satisfying, leaf)
					break
				}
			}
		}
		if !present && oracleAbsent(alternatives) {
			continue
		}
		choices = append(choices, satisfying)
	}
	return oracleChoose(choices, map[int]int{})
}

func oracleAbsent(alternatives []any) bool {
	for _, a := range alternatives {
		if o, ok := a.(oracleObject); ok && o[0].key == "exists" && o[0].value == false {
			return true
		}
	}
	return false
}

func oracleChoose(choices [][]oracleLeaf, elements map[int]int) bool {
	if len(choices) == 0 {
		return true
	}
next:
	for _, leaf := range choices[0] {
		together := map[int]int{}
		maps.Copy(together, elements)
		for array, index := range leaf.elements {
			if other, ok := together[array]; ok && other != index {
				continue next
			}
			together[array] = index
		}
		if oracleChoose(choices[1:], together) {
			return true
		}
	}
	return false
}

func oracleAccepts(alternative, value any) bool {
	operator, ok := alternative.(oracleObject)
	if !ok {
		return oracleEqual(alternative, value, true)
	}
	if operator[0].key == "anything-but" {
		return !oracleExcluded(operator[0].value, value)
	}
	return oracleOperator(operator[0].key, operator[0].value, value)
}

func oracleExcluded(but, value any) bool {
	key := ""
	if o, ok := but.(oracleObject); ok {
		key, but = o[0].key, o[0].value
	}
	list, ok := but.([]any)
	if !ok {
		list = []any{but}
	}
	for _, excluded := range list {
		if key == "" && oracleEqual(excluded, value, false) || key != "" && oracleOperator(key, excluded, value) {
			return true
		}
	}
	return false
}

func oracleOperator(key string, argument, value any) bool {
	if key == "exists" {
		return argument == true
	}
	if key == "numeric" {
		n, ok := value.(json.Number)
		return ok && oracleInRange(argument.([]any), n)
	}
	text, ok := value.(string)
	if !ok {
		return false
	}
	if o, ok := argument.(oracleObject); ok {
		folded := oracleFold(o[0].value.(string))
		if key == "prefix" {
			return regexp.MustCompile(`(?s)^` + folded).MatchString(text)
		}
		return regexp.MustCompile(`(?s)` + folded + `$`).MatchString(text)
	}
	switch want := argument.(string); key {
	case "exactly":
		return text == want
	case "prefix":
		return strings.HasPrefix(text, want)
	case "suffix":
		return strings.HasSuffix(text, want)
	case "equals-ignore-case":
		return regexp.MustCompile(`(?s)^` + oracleFold(want) + `$`).MatchString(text)
	case "wildcard":
		return regexp.MustCompile(`(?s)^` + oracleWildcard(want) + `$`).MatchString(text)
	case "cidr":
		return oracleInBlock(strings.TrimRight(want, "/"), text)
	}
	panic("unknown operator " + key)
}

func oracleWildcard(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '*':
			b.WriteString(`.*`)
		case '\\':
			i++
			fallthrough
		default:
			fmt.Fprintf(&b, `\x{%x}`, []rune(text[i:])[0])
			i += len(string([]rune(text[i:])[0])) - 1
		}
	}
	return b.String()
}

func oracleFold(text string) string {
	var b strings.Builder
	for _, r := range text {
		lower, upper := string(unicode.ToLower(r)), string(unicode.ToUpper(r))
		if r == 'İ' {
			lower = "i̇"
		}
		if long, ok := longUpperCase[r]; ok { // Unicode's table, not an algorithm
			upper = long
		}
		fmt.Fprintf(&b, `(?:%s|%s)`, regexp.QuoteMeta(lower), regexp.QuoteMeta(upper))
	}
	return b.String()
}

// oracleNumber returns a number exactly as it is written, if the shortest text of its double says the same.
func oracleNumber(text string) (*big.Rat, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || len(text) > 400 {
		return nil, false
	}
	if _, exponent, _ := strings.Cut(strings.ToLower(text), "e"); len(exponent) > 5 {
		return nil, strings.Trim(text[:strings.IndexAny(text, "eE")], "-0.") == ""
	}
	exact, _ := new(big.Rat).SetString(text)
	shortest, _ := new(big.Rat).SetString(strconv.FormatFloat(f, 'g', -1, 64))
	return shortest, exact.Cmp(shortest) == 0
}

// oracleEventNumber is oracleNumber after fractions were written anew as doubles.
func oracleEventNumber(text string) (*big.Rat, bool) {
	if strings.ContainsAny(text, ".eE") {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, false
		}
		text = strconv.FormatFloat(f, 'g', -1, 64)
	}
	return oracleNumber(text)
}

func oracleEqual(want, value any, addresses bool) bool {
	if number, ok := want.(json.Number); ok {
		other, ok := value.(json.Number)
		if !ok {
			return false
		}
		a, numeric := oracleNumber(number.String())
		if !numeric {
			return number == other && !strings.ContainsAny(other.String(), ".eE")
		}
		b, numeric := oracleEventNumber(other.String())
		return numeric && zeroIfNil(a).Cmp(zeroIfNil(b)) == 0
	}
	if text, ok := want.(string); ok && addresses {
		if a, ok := oracleAddress(text); ok {
			other, _ := value.(string)
			b, ok := oracleAddress(other)
			return ok && a == b
		}
	}
	return want == value
}

func zeroIfNil(r *big.Rat) *big.Rat {
	if r == nil {
		return new(big.Rat)
	}
	return r
}

func oracleInRange(terms []any, number json.Number) bool {
	n, ok := oracleEventNumber(number.String())
	if !ok {
		return false
	}
	for i := 0; i < len(terms); i += 2 {
		bound, _ := oracleNumber(terms[i+1].(json.Number).String())
		compared := zeroIfNil(n).Cmp(zeroIfNil(bound))
		switch terms[i] {
		case "=":
			ok = compared == 0
		case "<":
			ok = compared < 0
		case "<=":
			ok = compared <= 0
		case ">":
			ok = compared > 0
		case ">=":
			ok = compared >= 0
		}
		if !ok {
			return false
		}
	}
	return true
}

var (
	oracleIPv4    = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$`)
	oracleIPv6    = regexp.MustCompile(`^[0-9a-fA-F:]*:[0-9a-fA-F:]*$`)
	oracleZeros   = regexp.MustCompile(`(^|[.:])0+([0-9a-fA-F])`)
	oracleTooLong = regexp.MustCompile(`^.{16,}$`)
)

// oracleAddress reads an address with netip, which is strict about leading zeros, after taking those away.
func oracleAddress(text string) (netip.Addr, bool) {
	v4 := oracleIPv4.MatchString(text) && !oracleTooLong.MatchString(text)
	if !v4 && !oracleIPv6.MatchString(text) {
		return netip.Addr{}, false
	}
	for oracleZeros.MatchString(text) {
		shorter := oracleZeros.ReplaceAllString(text, "$1$2")
		if shorter == text {
			break
		}
		text = shorter
	}
	addr, err := netip.ParseAddr(text)
	return addr.Unmap(), err == nil
}

func oracleInBlock(block, text string) bool {
	ip, bits, _ := strings.Cut(block, "/")
	network, ok := oracleAddress(ip)
	addr, ok2 := oracleAddress(text)
	n, err := strconv.Atoi(bits)
	if !ok || !ok2 || err != nil || network.Is4() != addr.Is4() {
		return false
	}
	a, b := network.AsSlice(), addr.AsSlice()
	for ; n >= 8; n -= 8 {
		if a[0] != b[0] {
			return false
		}
		a, b = a[1:], b[1:]
	}
	return n == 0 || bytes.Equal([]byte{a[0] >> (8 - n)}, []byte{b[0] >> (8 - n)})
}
