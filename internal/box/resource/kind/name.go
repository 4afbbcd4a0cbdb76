package kind

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"github.com/rialto-bus/rialto/internal/box/resource"
)

// nameOf returns the property that names the resource. Without one it is made of the
// request's token, so that a repeat has the same: "Queue-4MZ7Q…".
func nameOf(r resource.Request, property, prefix string) string {
	if name := text(r.Desired[property]); name != "" {
		return name
	}
	return prefix + "-" + random(r.Token, prefix)
}

// randomLength is how many characters random has. AWS: the random end of generated names has as many.
const randomLength = 13

// random returns letters and digits that follow from the token and what they are for. Without
// a token they are random.
func random(token, purpose string) string {
	if token == "" {
		return rand.Text()[:randomLength]
	}
	sum := sha256.Sum256([]byte(purpose + "\x00" + token))
	return base32.StdEncoding.EncodeToString(sum[:])[:randomLength]
}

// lastPart is what follows the last colon or slash of an ARN.
func lastPart(arn, separator string) string {
	return arn[strings.LastIndex(arn, separator)+1:]
}
