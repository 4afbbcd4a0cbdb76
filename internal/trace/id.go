package trace

import (
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
)

// An event's id is written as its length and one more, then its bytes; a UUID in its
// usual form as 0 and 16 bytes.
const uuidLen = 36

// appendID appends the written form of an event's id.
func appendID(dst []byte, id string) []byte {
	if len(id) == uuidLen {
		if out, ok := appendUUID(append(dst, 0), id); ok {
			return out
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(id))+1)
	return append(dst, id...)
}

// nibbles are the values of lower-case hexadecimal digits and 0xFF for other bytes.
var nibbles = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xFF
	}
	for i := range byte(10) {
		t['0'+i] = i
	}
	for i := range byte(6) {
		t['a'+i] = 10 + i
	}
	return t
}()

// uuidDigits is where the pairs of digits of a UUID begin.
var uuidDigits = [16]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}

func appendUUID(dst []byte, id string) ([]byte, bool) {
	if id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return dst, false
	}
	var bad byte
	for _, i := range uuidDigits {
		high, low := nibbles[id[i]], nibbles[id[i+1]]
		bad |= high | low
		dst = append(dst, high<<4|low&0xF)
	}
	return dst, bad&0xF0 == 0
}

// idText returns the id of a written form.
func idText(written []byte) string {
	if len(written) == 17 && written[0] == 0 {
		var b [uuidLen]byte
		hex.Encode(b[0:8], written[1:5])
		hex.Encode(b[9:13], written[5:7])
		hex.Encode(b[14:18], written[7:9])
		hex.Encode(b[19:23], written[9:11])
		hex.Encode(b[24:36], written[11:17])
		b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
		return string(b[:])
	}
	_, n := binary.Uvarint(written)
	return string(written[max(n, 0):])
}

// hasher hashes the written forms of ids, differently in each process: who chooses
// ids cannot choose their hashes.
type hasher struct{ seed maphash.Seed }

func newHasher() hasher { return hasher{maphash.MakeSeed()} }

func (h hasher) hash(written []byte) uint64 { return maphash.Bytes(h.seed, written) }
