package eventpattern

import (
	"bytes"
	"strconv"
)

// comparableNumber returns the double that a JSON number stands for, and whether it stands for it exactly:
// whether it is, in decimal, the shortest text of that double. Only such numbers can be compared
// (AWS: "Cannot compare number"); 300, 300.0 and 3.0e2 are one number, and so are 0 and -0.
func comparableNumber(text []byte) (float64, bool) {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return f, false
	}
	var digits, shortest decimal
	if !digits.parse(text) {
		return f, false
	}
	if digits.n == 0 {
		return 0, true
	}
	if digits.n <= 15 && digits.exponent > -290 && digits.exponent < 290 {
		return f, true // that many digits survive the way into a double and back
	}
	var buf [32]byte
	shortest.parse(strconv.AppendFloat(buf[:0], f, 'e', -1, 64))
	return f, digits == shortest
}

// eventNumber returns the double that a number in an event is compared as. AWS writes the fractions in an event anew as doubles
// before it matches them, so these can always be compared unless they are out of range; whole numbers keep their digits.
func eventNumber(text []byte) (float64, bool) {
	if isWhole(text) {
		return comparableNumber(text)
	}
	f, err := strconv.ParseFloat(string(text), 64)
	return f, err == nil
}

// isWhole reports whether a number is written without a fraction and an exponent.
func isWhole(text []byte) bool { return !bytes.ContainsAny(text, ".eE") }

// decimal is a number's significant digits and the power of ten of the first; its sign is left out, as no use needs it.
// Two decimals are equal exactly if the numbers' magnitudes are.
type decimal struct {
	digits   [17]byte // 17 are enough for every double
	n        int
	exponent int
}

// parse reads a JSON number; it returns false if it has more digits than any double needs.
func (d *decimal) parse(text []byte) bool {
	zeros, seenPoint := 0, false // zeros that count only if a digit follows
	d.exponent = -1
	for i, c := range text {
		switch {
		case c == '-':
		case c == '.':
			seenPoint = true
		case c == 'e' || c == 'E':
			d.exponent += parseExponent(text[i+1:])
			return true
		case c == '0' && d.n == 0:
			if seenPoint {
				d.exponent--
			}
		case c == '0':
			zeros++
			if !seenPoint {
				d.exponent++
			}
		default:
			if d.n+zeros >= len(d.digits) {
				return false
			}
			for ; zeros > 0; zeros-- {
				d.digits[d.n] = '0'
				d.n++
			}
			d.digits[d.n] = c
			d.n++
			if !seenPoint {
				d.exponent++
			}
		}
	}
	return true
}

// parseExponent reads a decimal exponent, holding it within bounds that no double reaches.
func parseExponent(text []byte) int {
	negative := false
	e := 0
	for _, c := range text {
		if c == '-' {
			negative = true
		}
		if isDigit(c) && e < 1_000_000 {
			e = e*10 + int(c-'0')
		}
	}
	if negative {
		return -e
	}
	return e
}
