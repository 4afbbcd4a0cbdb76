package event

import "math/bits"

const (
	eachByte = 0x0101010101010101
	highBits = 0x8080808080808080
)

// PlainRun returns how many bytes at the start of s stand for themselves inside
// a JSON string: all but the quote, the backslash and the control characters.
// It looks at eight bytes at a time, since the details of events are mostly such text.
func PlainRun[T string | []byte](s T) int {
	i := 0
	for ; len(s)-i >= 8; i += 8 {
		x := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, backslash := x^'"'*eachByte, x^'\\'*eachByte
		// A byte's high bit is set where the byte is below the one subtracted: exact for
		// the first such byte, and only that one counts.
		special := ((x - ' '*eachByte) | (quote - eachByte) | (backslash - eachByte)) &^ x & highBits
		if special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			return i
		}
	}
	return i
}
