package target

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxQuotedAnswer is how much of an answer a failure's message quotes, in bytes.
const maxQuotedAnswer = 512

// readAnswer reads at most limit bytes of an answer, as they are once unpacked: we
// say that we take gzip and deflate.
func readAnswer(resp *http.Response, limit int64) ([]byte, error) {
	body, err := unpacked(resp)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(body, limit))
}

func unpacked(resp *http.Response) (io.Reader, error) {
	switch strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding"))) {
	case "gzip", "x-gzip":
		return gzip.NewReader(resp.Body)
	case "deflate":
		return inflated(resp.Body)
	}
	return resp.Body, nil
}

// inflated reads deflate as RFC 9110 has it, within zlib, and as many send it.
func inflated(body io.Reader) (io.Reader, error) {
	var head [2]byte
	n, err := io.ReadFull(body, head[:])
	if err != nil && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	whole := io.MultiReader(bytes.NewReader(head[:n]), body)
	if n == 2 && head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
		return zlib.NewReader(whole)
	}
	return flate.NewReader(whole), nil
}

// quote returns the beginning of an answer as text that can be stored and shown
// anywhere: a dead-letter queue refuses control characters.
func quote(answer []byte) string {
	return strings.TrimSpace(printable(string(answer[:min(len(answer), maxQuotedAnswer)])))
}

// printable replaces what is not a character, or is one that SQS refuses.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r == 0xFFFE || r == 0xFFFF || unicode.IsControl(r):
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}
