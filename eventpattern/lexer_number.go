package eventpattern

import (
	"fmt"
	"strings"
)

func (l *lexer) refusePlus() *SyntaxError {
	if l.pos >= len(l.source) {
		return l.fail("Unexpected end-of-input in a Number value")
	}
	return l.failAt("Unexpected character ('+' (code 43)) in numeric value: JSON spec does not allow numbers to have plus signs: "+
		"enable `JsonReadFeature.ALLOW_LEADING_PLUS_SIGN_FOR_NUMBERS` to allow", l.here(0))
}

// readNumber reads a number whose first byte c was read already.
func (l *lexer) readNumber(c byte) *SyntaxError {
	if c == '-' {
		if l.pos >= len(l.source) {
			return l.fail("Unexpected end-of-inputNo digit following minus sign")
		}
		c = l.source[l.pos]
		l.pos++
		if !isDigit(c) {
			return l.refuseAfterMinus(c)
		}
	}
	if c == '0' && l.pos < len(l.source) && isDigit(l.source[l.pos]) {
		return l.fail("Invalid numeric value: Leading zeroes not allowed")
	}
	l.skipDigits()
	mark := 0 // where AWS's parser says that something is wrong after the whole part: at its end, or at the very place if it is 0
	if l.pos < len(l.source) && l.source[l.pos] == '.' {
		l.pos++
		if c != '0' {
			mark = l.pos
		}
		if err := l.fraction(mark); err != nil {
			return err
		}
	}
	if l.pos < len(l.source) && (l.source[l.pos] == 'e' || l.source[l.pos] == 'E') {
		l.pos++
		if mark == 0 && c != '0' {
			mark = l.pos
		}
		if err := l.exponent(mark); err != nil {
			return err
		}
	}
	l.text = l.source[l.tokenFrom:l.pos]
	return l.endRootNumber()
}

// endRootNumber reads the white space that must follow a number which is the whole text.
func (l *lexer) endRootNumber() *SyntaxError {
	if len(l.scopes) > 0 || l.pos >= len(l.source) {
		return nil
	}
	l.pos++
	switch l.source[l.pos-1] {
	case ' ', '\t':
	case '\r':
		if strings.HasPrefix(l.source[l.pos:], "\n") {
			l.pos++
		}
		l.newLine()
	case '\n':
		l.newLine()
	default:
		return l.unexpected("Expected space separating root-level values")
	}
	return nil
}

func (l *lexer) fraction(mark int) *SyntaxError {
	const expectation = "Decimal point not followed by a digit"
	if l.pos >= len(l.source) {
		return l.unexpectedInNumber(expectation)
	}
	if !isDigit(l.source[l.pos]) {
		l.pos++
		return l.unexpectedAfter(mark, expectation)
	}
	l.skipDigits()
	return nil
}

func (l *lexer) exponent(mark int) *SyntaxError {
	if l.pos < len(l.source) && (l.source[l.pos] == '+' || l.source[l.pos] == '-') {
		l.pos++
	}
	if l.pos >= len(l.source) {
		return l.fail("Unexpected end-of-inputexpected a digit for number exponent")
	}
	if !isDigit(l.source[l.pos]) {
		l.pos++
		return l.unexpectedAfter(mark, "Exponent indicator not followed by a digit")
	}
	l.skipDigits()
	return nil
}

// unexpectedAfter is unexpectedInNumber reported at a mark, if there is one.
func (l *lexer) unexpectedAfter(mark int, expectation string) *SyntaxError {
	err := l.unexpectedInNumber(expectation)
	if mark == 0 {
		return err
	}
	return l.failAt(err.Reason, l.here(l.pos-mark+1))
}

// refuseAfterMinus reports that something else than a digit follows a minus sign.
func (l *lexer) refuseAfterMinus(c byte) *SyntaxError {
	rest := l.source[l.tokenFrom:]
	switch {
	case c == '.':
		return l.unexpected("expected a valid value " + validValues)
	case strings.HasPrefix(rest, "-IN"):
		return l.refuseLiteral("-INF")
	case strings.HasPrefix(rest, "-In"):
		return l.refuseLiteral("-Infinity")
	}
	return l.unexpectedInNumber("expected digit (0-9) to follow minus sign, for valid numeric value")
}

func (l *lexer) skipDigits() {
	for l.pos < len(l.source) && isDigit(l.source[l.pos]) {
		l.pos++
	}
}

func (l *lexer) unexpectedInNumber(expectation string) *SyntaxError {
	return l.failAt(fmt.Sprintf("Unexpected character (%s) in numeric value: %s", describeChar(l.lastRune()), expectation), l.here(1))
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
